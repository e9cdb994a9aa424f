"""What waits for one watcher."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from book_db.event_log import Interest
from prometheus_client import Counter

from grpc_api.watching.changes import Change
from grpc_api.watching.errors import WatcherTooSlow

WAITING_MAX: Final = 1_000
"""Changes that may wait for one watcher. All watchers share them: what each has of its own is their list."""

_CUT_OFF: Final = Counter("colophon_watchers_cut_off", "Watchers that read too slowly")


class Buffer:
    """The changes that one watcher means and has not been sent. Ends its stream when they become too many."""

    def __init__(self, interest: Interest, position: int, end: Callable[[Exception], None]) -> None:
        """`position` is that of the last change that the watcher knows."""
        self.position = position
        self._interest = interest
        self._end = end
        self._waiting: list[Change] = []
        self._arrived = asyncio.Event()

    def put(self, changes: Sequence[Change]) -> None:
        """Takes what is meant of the changes, which follow those before."""
        meant = [each for each in changes if each.position > self.position and self._interest.covers(each.entry)]
        if len(self._waiting) + len(meant) > WAITING_MAX:
            self._cut_off()
        elif meant:
            self._waiting += meant
            self._arrived.set()

    async def take(self, patience: float) -> list[Change]:
        """All that waits, as soon as there is something; nothing when nothing came for so many seconds."""
        try:
            async with asyncio.timeout(patience):
                await self._arrived.wait()
        except TimeoutError:
            return []
        self._arrived.clear()
        taken, self._waiting = self._waiting, []
        return taken

    def _cut_off(self) -> None:
        # The watcher may hang in the middle of a response that nobody reads, so it is ended from here.
        self._waiting.clear()
        self._arrived.clear()
        _CUT_OFF.inc()
        self._end(WatcherTooSlow(self.position))
