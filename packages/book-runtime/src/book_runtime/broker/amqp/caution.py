"""Taking one message at a time when something about one of them ends the sessions."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import structlog

logger = structlog.get_logger(__name__)

_SHORT_SESSION_SECONDS: Final = 10.0
"""Seconds. Who ends sessions by what is delivered does it at once."""

_SHORT_SESSIONS_MAX: Final = 3


class Caution:
    """How many messages a consumer asks for: one, when sessions end soon after they have begun, again and again.

    A message that no session gets over is delivered until the broker sets it aside, and all that is delivered beside it
    would be set aside with it. One at a time it is alone. Caution is over when as many messages as are asked for
    otherwise were settled without such an end: another of its kind may stand among these.
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
        """Around what may end the session. What is raised in the block is its end."""
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
        """So many messages were. Says whether that was the end of caution."""
        if not self._left:
            return False
        self._left = max(0, self._left - count)
        if self._left:
            return False
        self._ends = 0
        self._log.info("sessions last, taking many messages at a time again")
        return True
