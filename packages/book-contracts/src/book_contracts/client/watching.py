"""Changes as they happen, over connections that come and go."""

import asyncio
import logging
import random
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self

from books.v1.book_service_pb2 import WatchBooksResponse

from book_contracts import Book, BookEventKind, WatchBooksRequest
from book_contracts.client.connection import WATCH, Connection, Stream
from book_contracts.client.reading import book_of, time_of
from book_contracts.errors import CatalogueError, NotSignedIn

_log = logging.getLogger(__name__)

_RETRY_SECONDS: Final = 0.1
_RETRY_MAX_SECONDS: Final = 5.0

_KINDS: Final = frozenset(kind.value for kind in BookEventKind if kind is not BookEventKind.UNSPECIFIED)
_PASSING: Final = ("UNAVAILABLE", "RESOURCE_EXHAUSTED")
_PASSING_WITHOUT_A_REASON: Final = ("CANCELLED", "DEADLINE_EXCEEDED", "INTERNAL", "UNKNOWN")
"""What a stream ends with when something on the way breaks it: https://grpc.github.io/grpc/core/md_doc_statuscodes.html."""


@dataclass(frozen=True, slots=True)
class BookChanged:
    """One change of one book."""

    position: int
    """Where in the order of all changes it is: what to give to `watch(after=...)` to go on after it."""
    id: str
    """The event's own id, a UUID."""
    kind: BookEventKind
    """What was done."""
    time: datetime
    """When it was done, in UTC, to the microsecond."""
    actor: str
    """Who did it: the id of the user, a UUID. Empty for readers, who are told only of themselves."""
    book: Book
    """The book as it is after the change; after a deletion as it was last, with the version that the deletion took."""


class Watch:
    """The changes of some books, from `BookCatalogue.watch`: to be iterated over, in one task at a time.

    It never ends by itself. A stream that breaks is begun anew after the last change that was given out, so each change
    comes once. Only for the very first answer it waits no longer than a call may take. Raises CatalogueError for what
    repeating cannot mend. A timeout around one step loses nothing: the next step goes on.
    """

    def __init__(self, connection: Connection, request: WatchBooksRequest) -> None:
        self._connection = connection
        self._request = request
        self._stream: Stream[WatchBooksResponse] | None = None
        self._token: str | None = None
        self._refusal: NotSignedIn | None = None
        self._pauses = _Pauses(connection.timeout)
        self._after = request.after
        self._position = request.after

    @property
    def position(self) -> int | None:
        """Up to where everything has been given out and the loop has come back for more.

        To be kept, and given to `watch(after=...)` later. Also rises while nothing happens to the books that are meant.
        None until the service has told where the stream begins.
        """
        return self._position

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> BookChanged:
        # The loop has come back: it has done with the change that it was given last.
        self._position = self._after
        while True:
            answer = await self._next_answer()
            is_new = self._after is None or answer.position > self._after
            if is_new:
                self._after = answer.position
            # The contract asks readers to pass over the kinds of a newer one.
            if is_new and answer.event.kind in _KINDS:
                return _change_of(answer)
            self._position = self._after

    async def aclose(self) -> None:
        """Ends the stream now; otherwise it ends with the last reference to this watch, or with the catalogue."""
        self._drop()

    async def _next_answer(self) -> WatchBooksResponse:
        while True:
            try:
                return await self._answer()
            except CatalogueError as error:
                await self._get_over(error)

    async def _answer(self) -> WatchBooksResponse:
        try:
            stream = self._stream or await self._begin()
            answer = await stream.next()
        except BaseException:
            # Of whatever kind: with the step that is cancelled, gRPC cancels the call.
            self._drop()
            raise
        self._refusal = None
        self._pauses.begin_anew()
        return answer

    async def _begin(self) -> Stream[WatchBooksResponse]:
        if self._refusal is not None and await self._connection.renewed(self._token) is None:
            raise self._refusal
        self._request.after = self._after
        self._stream = await self._connection.stream(WATCH, self._request)
        self._token = self._stream.token
        return self._stream

    async def _get_over(self, error: CatalogueError) -> None:
        """Returns when it is time to begin anew, and raises the error when that would not help."""
        if isinstance(error, NotSignedIn) and self._refusal is None and self._token is not None:
            self._refusal = error
            return
        pause = self._pauses.next(error.retry_after or 0)
        if pause is None or not _passes(error):
            raise error
        _log.info("the watch goes on after position %s in %.1f s: %s %s", self._after, pause, error.code, error)
        await asyncio.sleep(pause)

    def _drop(self) -> None:
        if self._stream is not None:
            self._stream.cancel()
            self._stream = None


class _Pauses:
    """Twice as long from one failure to the next, less a part that is left to chance."""

    def __init__(self, patience: float) -> None:
        """`patience` is how many seconds the first answer of all may take."""
        self._patience = patience
        self._began: float | None = None
        self._was_answered = False
        self._failures = 0

    def begin_anew(self) -> None:
        self._was_answered = True
        self._failures = 0

    def next(self, at_least: float) -> float | None:
        """Seconds, or None when the first answer has been waited for long enough."""
        now = time.monotonic()
        if self._began is None:
            self._began = now
        # 2.0 ** 6 is over the longest pause; a number of failures without bound would overflow in the end.
        grown = min(_RETRY_SECONDS * 2.0 ** min(self._failures, 6), _RETRY_MAX_SECONDS)
        pause = max(at_least, grown * random.uniform(0.5, 1))  # noqa: S311  # no secret
        self._failures += 1
        too_long = not self._was_answered and now + pause > self._began + self._patience
        return None if too_long else pause


def _passes(error: CatalogueError) -> bool:
    return error.code in _PASSING or (not error.reason and error.code in _PASSING_WITHOUT_A_REASON)


def _change_of(answer: WatchBooksResponse) -> BookChanged:
    event = answer.event
    return BookChanged(
        position=answer.position,
        id=event.id,
        kind=BookEventKind(event.kind),
        time=time_of(event.time),
        actor=event.actor,
        book=book_of(event.book),
    )
