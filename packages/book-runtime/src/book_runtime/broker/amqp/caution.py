"""Prefetches one message at a time when a message seems to end the sessions."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import structlog

logger = structlog.get_logger(__name__)

_SHORT_SESSION_SECONDS: Final = 10.0
"""A message that ends sessions does so at once."""

_SHORT_SESSIONS_MAX: Final = 3


class Caution:
    """How many messages a consumer asks for: one, when sessions repeatedly end soon after they have begun.

    A message that crashes each session is redelivered until the broker dead-letters it, and so would be all that are
    delivered with it. Prefetched one at a time, it is alone. Caution ends when a full prefetch of messages was settled
    without a crash: another message of this kind may be among them.
    """

    def __init__(self, queue: str, prefetch: int) -> None:
        self._prefetch = prefetch
        self._ends = 0
        self._left = 0
        self._log = logger.bind(queue=queue)

    @property
    def prefetch(self) -> int:
        """How many messages to ask for."""
        return 1 if self._left else self._prefetch

    @contextmanager
    def session(self) -> Iterator[None]:
        """Around the handling of a batch. An exception that leaves the block is the end of the session."""
        began = time.monotonic()
        try:
            yield
        except BaseException:
            self._ended(time.monotonic() - began)
            raise

    def _ended(self, seconds: float) -> None:
        self._ends = self._ends + 1 if seconds < _SHORT_SESSION_SECONDS else 0
        if self._ends < _SHORT_SESSIONS_MAX and not self._left:
            return
        if not self._left:
            self._log.warning("sessions end soon after deliveries, taking one message at a time", sessions=self._ends)
        self._left = self._prefetch

    def settled(self, count: int) -> bool:
        """So many messages were settled. Says whether that was the end of caution."""
        if not self._left:
            return False
        self._left = max(0, self._left - count)
        if self._left:
            return False
        self._ends = 0
        self._log.info("sessions last, taking many messages at a time again")
        return True
