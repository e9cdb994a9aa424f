"""One watch: from where the caller stands to the end of the log, and on from there."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Final

from book_db.errors import DatabaseUnavailable
from book_db.events.log import EventLog, Interest, Stretch
from book_runtime.places import NoPlaceLeft, Places
from books.v1.book_service_pb2 import WatchBooksRequest
from prometheus_client import Counter, Gauge

from grpc_api.checks import Checks
from grpc_api.streams import caller_of_this_stream, end_of_this_stream
from grpc_api.watching.buffer import Buffer
from grpc_api.watching.changes import Change, reached
from grpc_api.watching.errors import PositionNotReached, TooManyWatchers
from grpc_api.watching.tail import Tail

_WATCHERS: Final = Gauge("colophon_watchers", "Callers that watch the catalogue")
_SENT: Final = Counter("colophon_watched_changes", "Changes that were sent to watchers, each counted for each of them")

_QUIET: Final = 5.0
"""Seconds without a change that is meant after which the watcher is told how far the log has come meanwhile."""

_READERS: Final = 3
"""Watchers that read what was at the same time: the others who call need connections too."""

_LOOK_AGAIN_AFTER: Final = 1.0

BOOKS_MAX: Final = 300


class Watches:
    """Everybody who watches in this process."""

    def __init__(self, log: EventLog, tail: Tail, most: int) -> None:
        self._log = log
        self._tail = tail
        self._places = Places(most)
        self._turns = asyncio.Semaphore(_READERS)

    async def changes(self, request: WatchBooksRequest) -> AsyncGenerator[bytes, None]:
        """The responses, as bytes, until the watcher has enough.

        Raises InvalidFields, TooManyWatchers, PositionNotReached and DatabaseUnavailable before the first response, and
        PositionSwept when some of what follows the position is no longer kept.
        """
        interest = _interest(request)
        with self._counted():
            async with self._tail.watched():
                position = await self._begin(request.after if request.HasField("after") else None)
                yield reached(position)
                while not self._tail.remembers(position):
                    stretch = await self._past(position, interest)
                    for recorded in stretch.recorded:
                        yield Change(*recorded).response_for(caller_of_this_stream())
                        _SENT.inc()
                    position = stretch.position
                    if not stretch.recorded:
                        yield reached(position)
                # Nothing is awaited between being near enough and joining, so nothing can come in between.
                with self._tail.handing_to(interest, position, end_of_this_stream()) as buffer:
                    while True:
                        yield await self._next(buffer)

    async def _begin(self, after: int | None) -> int:
        if after is None:
            return self._tail.position
        # Another replica may be ahead of this one; only the log itself knows.
        if after > self._tail.position and after > await self._log.newest():
            raise PositionNotReached(after)
        return after

    async def _past(self, position: int, interest: Interest) -> Stretch:
        """What follows the position and was before the tail. Waits as long as the database is away.

        Raises PositionSwept.
        """
        while True:
            with suppress(DatabaseUnavailable):
                async with self._turns:
                    return await self._log.after(position, self._tail.position, interest)
            await asyncio.sleep(_LOOK_AGAIN_AFTER)

    async def _next(self, buffer: Buffer) -> bytes:
        """The next change; when there is none for a while, how far the log has come with what is not meant."""
        while True:
            change = await buffer.take(_QUIET)
            if change is not None:
                buffer.position = change.position
                _SENT.inc()
                return change.response_for(caller_of_this_stream())
            if self._tail.position > buffer.position:
                buffer.position = self._tail.position
                return reached(buffer.position)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        caller = caller_of_this_stream()
        with ExitStack() as place:
            try:
                place.enter_context(self._places.taken_by(caller and caller.user_id))
            except NoPlaceLeft as full:
                raise TooManyWatchers(full.most, own=full.own) from full
            _WATCHERS.inc()
            place.callback(_WATCHERS.dec)
            yield


def _interest(request: WatchBooksRequest) -> Interest:
    with Checks() as check:
        check.that(request.after >= 0, "after", "must not be negative")
        check.that(len(request.book_ids) <= BOOKS_MAX, "book_ids", f"must be {BOOKS_MAX} at most")
        for place, book_id in enumerate(request.book_ids[:BOOKS_MAX]):
            check.that(book_id >= 1, f"book_ids[{place}]", "must be 1 or more")
        check.that("\0" not in request.author, "author", "must not hold a NUL character")
    return Interest(frozenset(request.book_ids), request.author)
