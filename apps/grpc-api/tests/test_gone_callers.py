"""A caller who goes while an answer waits for it to read is nobody's failure: cancelled, and no error in the log.

The caller speaks HTTP/2 itself, so that it can refuse to read: a server sends no more than the window of the stream.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Final, Self

import pytest
from book_db.book import Book
from book_db.store import Store
from books.v1.book_service_pb2 import BatchGetBooksRequest, WatchBooksRequest
from google.protobuf.message import Message
from grpc_api import sending
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, ResponseReceived
from h2.settings import SettingCodes
from prometheus_client import REGISTRY
from structlog.testing import capture_logs
from support.data_layer import an_event
from support.tokens import SignedIn
from support.waiting import patience, until

PLENTY: Final = 65_535
"""Bytes. What is recorded below is more."""


class Unread:
    """A call whose answer is read up to so many bytes."""

    def __init__(self, port: int, caller: SignedIn, method: str, request: Message, window: int) -> None:
        self._port = port
        self._headers = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", f"/books.v1.BookService/{method}"),
            (":authority", "127.0.0.1"),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            *caller.metadata,
        ]
        body = request.SerializeToString()
        self._body = b"\0" + len(body).to_bytes(4, "big") + body
        self._window = window
        self._http = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))

    async def begin(self, *more: tuple[str, str]) -> Self:
        """Calls, and returns when the answer has begun and the rest of it waits."""
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._http.initiate_connection()
        self._http.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: self._window})
        self._http.send_headers(1, [*self._headers, *more])
        self._http.send_data(1, self._body, end_stream=True)
        has_begun, read = False, 0
        async with patience("the answer has begun"):
            while not has_begun or read < self._window:
                for event in await self._events():
                    has_begun |= isinstance(event, ResponseReceived)
                    read += len(event.data) if isinstance(event, DataReceived) else 0
        return self

    async def _events(self) -> list[Any]:
        """The next ones; what they ask for is sent."""
        await self._send()
        received = await self._reader.read(65_536)
        assert received, "the service has closed the connection"
        events: list[Any] = self._http.receive_data(received)
        await self._send()
        return events

    async def _send(self) -> None:
        self._writer.write(self._http.data_to_send())
        await self._writer.drain()

    async def cancel(self) -> None:
        self._http.reset_stream(1, ErrorCodes.CANCEL)
        await self._send()

    async def hang_up(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.hang_up()


Leave = Callable[[Unread], Any]

WAYS_TO_LEAVE = [pytest.param(Unread.cancel, id="cancels"), pytest.param(Unread.hang_up, id="hangs-up")]


def ended(code: str) -> float:
    labels = {"method": "/books.v1.BookService/WatchBooks", "code": code}
    return REGISTRY.get_sample_value("colophon_grpc_streams_ended_total", labels) or 0


def calls_that_run() -> int:
    """How many calls grpcio's server has a task for."""
    return sum("_handle_exceptions" in getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks())


@pytest.fixture
def complaints(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
    """What is logged of trouble, by us and by grpcio."""
    with capture_logs() as ours:
        yield lambda: [
            *(
                f"{line['event']} {line.get('exc_info')!r}"
                for line in ours
                if line["log_level"] in ("warning", "error")
            ),
            *(record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING),
        ]


@pytest.fixture
def watching(port: int, caller: SignedIn, store: Store) -> Callable[[int], Any]:
    """A watch from the beginning, with more to tell than is read."""

    @asynccontextmanager
    async def watching(window: int) -> AsyncIterator[Unread]:
        events = [an_event(1, version, title="M" * 2_000) for version in range(2, 102)]
        await store.event_log.record(events)
        async with Unread(port, caller, "WatchBooks", WatchBooksRequest(after=0), window) as call:
            yield call

    return watching


class TestACallerWhoIsGone:
    @pytest.mark.parametrize("leave", WAYS_TO_LEAVE)
    @pytest.mark.parametrize(
        "window", [pytest.param(0, id="before-the-first-response"), pytest.param(PLENTY, id="in-the-middle")]
    )
    async def test_has_cancelled_its_stream(
        self, watching: Any, complaints: Callable[[], list[str]], window: int, leave: Leave
    ) -> None:
        before = ended("CANCELLED")
        async with watching(window) as call:
            await call.begin()
            await leave(call)
            await until(lambda: ended("CANCELLED") == before + 1, "its end is counted")
            await until(lambda: calls_that_run() == 0, "nothing of the call is left")
        assert complaints() == []

    @pytest.mark.parametrize(
        "window", [pytest.param(0, id="before-the-first-response"), pytest.param(PLENTY, id="in-the-middle")]
    )
    async def test_may_have_set_a_deadline(
        self, watching: Any, complaints: Callable[[], list[str]], window: int
    ) -> None:
        before = ended("DEADLINE_EXCEEDED")
        async with watching(window) as call:
            await call.begin(("grpc-timeout", "1S"))
            await until(lambda: ended("DEADLINE_EXCEEDED") == before + 1, "its end is counted")
            await until(lambda: calls_that_run() == 0, "nothing of the call is left")
        assert complaints() == []

    @pytest.mark.parametrize("leave", WAYS_TO_LEAVE)
    async def test_is_not_told_why_its_stream_has_ended(
        self,
        watching: Any,
        complaints: Callable[[], list[str]],
        leave: Leave,
        store: Store,
        caller: SignedIn,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        before, is_being_told = ended("UNAUTHENTICATED"), asyncio.Event()

        async def end_with(status: Any, context: Any) -> None:
            is_being_told.set()
            await sending.end_with(status, context)

        monkeypatch.setattr("grpc_api.guard.end_with", end_with)
        async with watching(PLENTY) as call:
            await call.begin()
            await store.sessions.end(caller.session_id)
            async with patience("the stream is being ended"):
                await is_being_told.wait()
            await leave(call)
            await until(lambda: calls_that_run() == 0, "nothing of the call is left")
        assert ended("UNAUTHENTICATED") == before + 1
        assert complaints() == []

    @pytest.mark.parametrize("leave", WAYS_TO_LEAVE)
    async def test_does_not_take_an_answer(
        self, port: int, caller: SignedIn, book: Book, complaints: Callable[[], list[str]], leave: Leave
    ) -> None:
        async with Unread(port, caller, "BatchGetBooks", BatchGetBooksRequest(ids=[book.id]), 0) as call:
            await call.begin()
            await leave(call)
            await until(lambda: calls_that_run() == 0, "nothing of the call is left")
        assert complaints() == []
