"""What waits for one watcher."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from prometheus_client import Counter

from grpc_api.watching.changes import WatchMessage
from grpc_api.watching.errors import WatcherTooSlow

WAITING_MAX: Final = 10_000
WAITING_BYTES_MAX: Final = 2 * 2**20
"""What may wait for one watcher. All share the changes themselves: what each has of its own is a list of them."""

_CUT_OFF: Final = Counter("colophon_watchers_cut_off", "Watchers that read too slowly")


class Buffer:
    """The changes that wait to be sent to one watcher. Ends its stream when they become too many."""

    def __init__(self, position: int, end: Callable[[Exception], None]) -> None:
        """`position` is that of the last response that the watcher was sent."""
        self.position = position
        self.end = end
        self._waiting: deque[WatchMessage] = deque()
        self._bytes = 0
        self._arrived = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, changes: Sequence[WatchMessage]) -> None:
        """Takes the next changes. Those that the watcher knows already are skipped."""
        if changes[0].position <= self.position:
            changes = [each for each in changes if each.position > self.position]
        self._waiting.extend(changes)
        self._bytes += sum(len(each.response) for each in changes)
        if len(self._waiting) > WAITING_MAX or self._bytes > WAITING_BYTES_MAX:
            self._cut_off()
        self._arrived.set()

    async def take(self, seconds: float) -> WatchMessage | None:
        """The next change, as soon as there is one; None when none came for so many seconds."""
        if not self._waiting:
            self._arrived.clear()
            # One may have come in the very turn in which the time ran out.
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._arrived.wait()
        if not self._waiting:
            return None
        change = self._waiting.popleft()
        self._bytes -= len(change.response)
        return change

    def _cut_off(self) -> None:
        # The watcher may hang in the middle of a response that nobody reads, so it is ended from here.
        self._waiting.clear()
        self._bytes = 0
        _CUT_OFF.inc()
        self.end(WatcherTooSlow(self.position))
