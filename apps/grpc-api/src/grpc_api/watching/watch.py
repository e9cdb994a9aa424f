"""One watch: from where the caller stands to the end of the log, and on from there."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Final

from book_db.errors import DatabaseUnavailable
from book_db.events.log import EventFilter, EventLog, LogPage
from book_runtime.places import NoPlaceLeft, Places
from books.v1.book_service_pb2 import WatchBooksRequest
from prometheus_client import Counter, Gauge

from grpc_api.checks import Checks
from grpc_api.streams import caller_of_this_stream, end_of_this_stream
from grpc_api.watching.buffer import Buffer
from grpc_api.watching.changes import WatchMessage, reached
from grpc_api.watching.errors import PositionNotReached, TooManyWatchers
from grpc_api.watching.tail import Tail

_WATCHERS: Final = Gauge("colophon_watchers", "Callers that watch the catalogue")
_SENT: Final = Counter("colophon_watched_changes", "Changes that were sent to watchers, each counted for each of them")

_QUIET_SECONDS: Final = 5.0
"""Without a matching change for so long, the watcher is told the position that the log has reached."""

_CONCURRENT_READERS: Final = 3
"""Watchers that read the past at the same time: other calls need connections too."""

_RETRY_SECONDS: Final = 1.0

BOOKS_MAX: Final = 300


class Watches:
    """Everybody who watches in this process."""

    def __init__(self, log: EventLog, tail: Tail, most: int) -> None:
        self._log = log
        self._tail = tail
        self._places = Places(most)
        self._turns = asyncio.Semaphore(_CONCURRENT_READERS)

    async def changes(self, request: WatchBooksRequest) -> AsyncGenerator[bytes, None]:
        """The responses, as bytes, until the watcher has enough.

        Raises InvalidFields, TooManyWatchers, PositionNotReached and DatabaseUnavailable before the first response, and
        PositionSwept when some of what follows the position is no longer kept.
        """
        event_filter = _filter_of(request)
        with self._counted():
            async with self._tail.session():
                position = await self._begin(request.after if request.HasField("after") else None)
                yield reached(position)
                while not self._tail.remembers(position):
                    page = await self._past(position, event_filter)
                    for logged in page.events:
                        yield WatchMessage(*logged).response_for(caller_of_this_stream())
                        _SENT.inc()
                    position = page.position
                    if not page.events:
                        yield reached(position)
                # No await between the check and the subscription, so no change can come in between.
                with self._tail.subscribe(event_filter, position, end_of_this_stream()) as buffer:
                    while True:
                        yield await self._next(buffer)

    async def _begin(self, after: int | None) -> int:
        if after is None:
            return self._tail.position
        # Another replica may be ahead of this one; only the log itself knows.
        if after > self._tail.position and after > await self._log.newest():
            raise PositionNotReached(after)
        return after

    async def _past(self, position: int, event_filter: EventFilter) -> LogPage:
        """What is between the position and the tail. Waits as long as the database is away.

        Raises PositionSwept.
        """
        while True:
            with suppress(DatabaseUnavailable):
                async with self._turns:
                    return await self._log.after(position, self._tail.position, event_filter)
            await asyncio.sleep(_RETRY_SECONDS)

    async def _next(self, buffer: Buffer) -> bytes:
        """The next matching change, or the position that the log has reached when there is none for a while."""
        while True:
            change = await buffer.take(_QUIET_SECONDS)
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


def _filter_of(request: WatchBooksRequest) -> EventFilter:
    with Checks() as check:
        check.that(request.after >= 0, "after", "must not be negative")
        check.that(len(request.book_ids) <= BOOKS_MAX, "book_ids", f"must be {BOOKS_MAX} at most")
        for place, book_id in enumerate(request.book_ids[:BOOKS_MAX]):
            check.that(book_id >= 1, f"book_ids[{place}]", "must be 1 or more")
        check.that("\0" not in request.author, "author", "must not hold a NUL character")
    return EventFilter(frozenset(request.book_ids), request.author)
