"""The end of the log, which is read once for all who watch in this process."""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final

import structlog
from book_db.errors import DatabaseUnavailable
from book_db.events.log import EVENTS_RECORDED, EventFilter, EventLog
from book_db.postgres.local_bus import LocalBus

from grpc_api.watching.buffer import Buffer
from grpc_api.watching.changes import WatchMessage

_log = structlog.get_logger(__name__)

_POLL_SECONDS: Final = 1.0
"""For notifications that are lost."""

_BATCH_EVENTS: Final = 100
"""The event loop turns to other work after so many."""

_REMEMBERED_MAX_EVENTS: Final = 1_000
"""Fewer than may wait for one watcher, so that a new one has room for them."""

_CATCH_UP_SECONDS: Final = 1.0
"""The longest pause between two batches while most watchers are behind."""

_CATCH_UP_POLL_SECONDS: Final = 0.01


class Tail:
    """Follows the log while somebody watches, and hands what is new to those who have come as far as it has.

    It remembers the newest changes. A watcher that has read nearly to the end joins from this memory. If each had to
    read the log to its very end first, then under many watchers and quick changes none would ever catch up.
    """

    def __init__(self, log: EventLog, local_bus: LocalBus) -> None:
        self._log = log
        self._local_bus = local_bus
        self._watchers = 0
        self._position: int | None = None
        self._remembered: deque[WatchMessage] = deque()
        self._remembered_after = 0
        self._heard = 0
        self._woken = asyncio.Event()
        self._buffers: defaultdict[EventFilter, set[Buffer]] = defaultdict(set)
        self._is_stopping = False

    @property
    def position(self) -> int:
        """All up to here has been handed out. For the inside of a `session` block."""
        assert self._position is not None
        return self._position

    def remembers(self, position: int) -> bool:
        """Whether all that follows the position is at hand. It is, too, for one that the tail has not reached yet."""
        return position >= self._remembered_after

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Follows the log for the length of the block."""
        self._local_bus.subscribe(EVENTS_RECORDED, self._wake)
        task = asyncio.create_task(self._follow())
        try:
            yield
        finally:
            self._local_bus.unsubscribe(EVENTS_RECORDED, self._wake)
            # Not by cancellation: one that meets a connection in the making leaves the server with half of it.
            self._is_stopping = True
            self._woken.set()
            await task

    @asynccontextmanager
    async def session(self) -> AsyncIterator[None]:
        """A block in which the log is followed. When the last of them ends, the tail forgets its position.

        Raises DatabaseUnavailable when the end of the log is not known and cannot be asked for.
        """
        self._watchers += 1
        try:
            if self._position is None:
                newest = await self._log.newest()
                if self._position is None:
                    self._position = self._remembered_after = newest
                    # What was heard of before could not be read yet.
                    self._woken.set()
            yield
        finally:
            self._watchers -= 1
            if not self._watchers:
                self._position = None
                self._remembered.clear()

    @contextmanager
    def subscribe(self, event_filter: EventFilter, position: int, end: Callable[[Exception], None]) -> Iterator[Buffer]:
        """A buffer that gets the matching changes after a position which the tail remembers."""
        buffer = Buffer(position, end)
        if matching := _matching(event_filter, self._remembered):
            buffer.put(matching)
        self._buffers[event_filter].add(buffer)
        try:
            yield buffer
        finally:
            self._buffers[event_filter].remove(buffer)
            if not self._buffers[event_filter]:
                del self._buffers[event_filter]

    def _wake(self, newest: str) -> None:
        # A position that this process recorded comes twice: at once, and again from PostgreSQL.
        if newest.isdecimal():
            self._heard = int(newest)
            if self._position is not None and self._heard <= self._position:
                return
        self._woken.set()

    async def _follow(self) -> None:
        while not self._is_stopping:
            self._woken.clear()
            try:
                await self._read_on()
            except DatabaseUnavailable:
                pass  # It has said so itself, and watchers wait.
            except Exception as error:  # noqa: BLE001  # else they would wait for ever, and nobody know
                _log.exception("the log cannot be told")
                self._end_all(error)
            with suppress(TimeoutError):
                async with asyncio.timeout(_POLL_SECONDS):
                    await self._woken.wait()

    async def _read_on(self) -> None:
        while (position := self._position) is not None and not self._is_stopping:
            recorded = await self._log.newer(position, at_most=_BATCH_EVENTS)
            # Nobody watched for a moment, and the next watcher has begun at another position.
            if position != self._position:
                continue
            if not recorded:
                return
            self._hand_out([WatchMessage(*each) for each in recorded])
            await self._keep_pace()
            # More may have been recorded than was notified; only the log knows.
            if self._position == self._heard:
                return

    def _hand_out(self, changes: Sequence[WatchMessage]) -> None:
        for event_filter, buffers in self._buffers.items():
            if matching := _matching(event_filter, changes):
                for buffer in buffers:
                    buffer.put(matching)
        # In the same turn of the event loop: who joins has either been handed these or finds them remembered.
        self._position = changes[-1].position
        self._remembered.extend(changes)
        while len(self._remembered) > _REMEMBERED_MAX_EVENTS:
            self._remembered_after = self._remembered.popleft().position

    async def _keep_pace(self) -> None:
        """Pauses while most watchers are behind: then this process is slow, and not they."""
        left = _CATCH_UP_SECONDS
        while left > 0 and self._most_are_behind() and not self._is_stopping:
            await asyncio.sleep(_CATCH_UP_POLL_SECONDS)
            left -= _CATCH_UP_POLL_SECONDS

    def _most_are_behind(self) -> bool:
        lengths = [len(buffer) for buffers in self._buffers.values() for buffer in buffers]
        return sum(length >= _BATCH_EVENTS for length in lengths) * 2 > len(lengths)

    def _end_all(self, error: Exception) -> None:
        for buffers in self._buffers.values():
            for buffer in buffers:
                buffer.end(error)


def _matching(event_filter: EventFilter, changes: Sequence[WatchMessage] | deque[WatchMessage]) -> list[WatchMessage]:
    return [each for each in changes if event_filter.matches(each.event)]
