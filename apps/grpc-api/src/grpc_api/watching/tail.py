"""The end of the log, which is read once for all who watch in this process."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final

import structlog
from book_db.errors import DatabaseUnavailable
from book_db.event_log import EVENTS_RECORDED, EventLog, Interest
from book_db.notices import Notices

from grpc_api.watching.buffer import Buffer
from grpc_api.watching.changes import change_of

_log = structlog.get_logger(__name__)

_LOOK_EVERY: Final = 1.0
"""Seconds after which it looks by itself, should the bell have been lost."""

_AT_ONCE: Final = 100
"""Changes between which other work of the process has its turn."""


class Tail:
    """Follows the log and hands what is new to those who have come as far as it has."""

    def __init__(self, log: EventLog, notices: Notices) -> None:
        self._log = log
        self._notices = notices
        self._position = 0
        self._has_begun = asyncio.Event()
        self._woken = asyncio.Event()
        self._buffers: set[Buffer] = set()
        self._is_blind = False
        self._is_stopping = False

    @property
    def position(self) -> int:
        """All up to here has been handed out."""
        return self._position

    async def begun(self) -> None:
        """Until the tail has found the log's end. Waits as long as the database is away."""
        await self._has_begun.wait()

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Follows the log for the length of the block."""
        self._notices.listen(EVENTS_RECORDED, self._wake)
        task = asyncio.create_task(self._follow())
        try:
            yield
        finally:
            self._notices.leave(EVENTS_RECORDED, self._wake)
            # Not by cancellation: one that meets a connection in the making leaves the server with half of it.
            self._is_stopping = True
            self._woken.set()
            await task

    @contextmanager
    def handing_to(self, interest: Interest, position: int, end: Callable[[Exception], None]) -> Iterator[Buffer]:
        """A buffer that gets for the length of the block what is meant of all that follows the tail's position.

        ``position`` is where the watcher stands: the tail's, or beyond it when another replica is ahead of this one.
        """
        buffer = Buffer(interest, position, end)
        self._buffers.add(buffer)
        try:
            yield buffer
        finally:
            self._buffers.remove(buffer)

    def _wake(self, _payload: str) -> None:
        self._woken.set()

    async def _follow(self) -> None:
        while not self._is_stopping:
            self._woken.clear()
            try:
                await self._catch_up()
            except DatabaseUnavailable as error:
                self._say_that_it_is_blind(error)
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_EVERY):
                    await self._woken.wait()

    async def _catch_up(self) -> None:
        newest = await self._log.newest()
        while self._position < newest and self._buffers:
            stretch = await self._log.after(self._position, newest, at_most=_AT_ONCE)
            changes = [change_of(recorded) for recorded in stretch.recorded]
            for buffer in tuple(self._buffers):
                buffer.put(changes)
            # In the same turn of the event loop: who joins has either been handed these or reads them from the log.
            self._position = stretch.position
        self._position = max(self._position, newest)
        self._has_begun.set()
        if self._is_blind:
            _log.info("the log can be read again")
        self._is_blind = False

    def _say_that_it_is_blind(self, error: DatabaseUnavailable) -> None:
        if not self._is_blind:
            _log.warning("the log cannot be read, watchers wait", error=repr(error.__cause__))
        self._is_blind = True
