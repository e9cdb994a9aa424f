"""A watch goes on over whatever breaks it. The service here is a real grpc.aio server that breaks as it is told."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import grpc
import pytest
from book_contracts.client import BookCatalogue, CatalogueClosed, Watch
from book_contracts.errors import CatalogueError, NotAllowed, NotSignedIn, ServiceFailed, Unavailable
from books.v1.book_event_pb2 import BOOK_EVENT_KIND_UPDATED, BookEvent
from books.v1.book_pb2 import Book
from books.v1.book_service_pb2 import WatchBooksRequest, WatchBooksResponse
from books.v1.book_service_pb2_grpc import BookServiceServicer, add_BookServiceServicer_to_server
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status
from support.waiting import patience, patiently, until

Code = grpc.StatusCode

STAY: Final = "stay"
Ending = Code | tuple[Code, str] | Literal["stay", "end"]
"""A bare code, one with a reason of the catalogue's, nothing more to come, or the end without an error."""
Script = tuple[list[WatchBooksResponse], Ending]
"""A stream: its answers, and how it ends."""


def change(position: int, kind: int = BOOK_EVENT_KIND_UPDATED) -> WatchBooksResponse:
    event = BookEvent(id=f"event {position}", book=Book(id=1, version=position))
    event.kind = kind  # type: ignore[assignment]  # also kinds of a newer contract
    return WatchBooksResponse(position=position, event=event)


def place(position: int) -> WatchBooksResponse:
    return WatchBooksResponse(position=position)


@dataclass
class Service(BookServiceServicer):
    """Answers the first call with its first stream, the second with the second, later ones with the last."""

    streams: list[Script]
    port: int = 0
    asked: list[int | None] = field(default_factory=list)
    """After which position, each time."""
    tokens: list[str] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """That a caller of a stream that stays has gone."""

    async def WatchBooks(  # noqa: N802  # the contract's
        self, request: WatchBooksRequest, context: Any
    ) -> AsyncIterator[WatchBooksResponse]:
        self.asked.append(request.after if request.HasField("after") else None)
        self.tokens.append(dict(context.invocation_metadata()).get("authorization", ""))
        answers, ending = self.streams[min(len(self.asked), len(self.streams)) - 1]
        for answer in answers:
            yield answer
        await self._end(ending, context)

    GetBook = BatchGetBooks = ListBooks = WatchBooks  # type: ignore[assignment]  # nobody asks for them

    async def _end(self, ending: Ending, context: Any) -> None:
        match ending:
            case "stay":
                try:
                    await asyncio.Event().wait()
                finally:
                    self.left.set()
            case Code():
                await context.abort(ending, "somebody on the way")
            case (Code(), str()):
                await context.abort_with_status(rpc_status.to_status(_status(*ending)))


def _status(code: Code, reason: str) -> Status:
    packed = AnyMessage()
    packed.Pack(ErrorInfo(reason=reason, domain="colophon"))
    number: int = code.value[0]
    return Status(code=number, message=reason, details=[packed])


@asynccontextmanager
async def serving(*streams: Script) -> AsyncIterator[Service]:
    server, service = grpc.aio.server(), Service([*streams])
    add_BookServiceServicer_to_server(service, server)
    service.port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield service
    finally:
        await server.stop(0)


@asynccontextmanager
async def watched(*streams: Script, after: int | None = 0, **options: Any) -> AsyncIterator[tuple[Watch, Service]]:
    async with (
        serving(*streams) as service,
        BookCatalogue(f"127.0.0.1:{service.port}", **options) as catalogue,
    ):
        yield catalogue.watch(after=after), service


async def positions(watch: Watch, count: int) -> list[int]:
    async with patience("all these changes have come"):
        return [(await anext(watch)).position for _ in range(count)]


class TestWhatBreaksAStream:
    @pytest.mark.parametrize(
        "ending",
        [
            pytest.param(Code.UNAVAILABLE, id="the-connection"),
            pytest.param((Code.UNAVAILABLE, "STOPPING"), id="a-stop"),
            pytest.param((Code.RESOURCE_EXHAUSTED, "WATCHER_TOO_SLOW"), id="slowness"),
            pytest.param(Code.RESOURCE_EXHAUSTED, id="enhance-your-calm"),
            pytest.param(Code.INTERNAL, id="a-proxy-that-resets"),
            pytest.param(Code.CANCELLED, id="a-proxy-that-cancels"),
            pytest.param(Code.DEADLINE_EXCEEDED, id="a-proxy-s-deadline"),
            pytest.param("end", id="an-end-without-an-error"),
        ],
    )
    async def test_it_goes_on_after_the_last_change(self, ending: Ending) -> None:
        async with watched(([place(0), change(1), change(2)], ending), ([place(2), change(3)], STAY)) as (
            watch,
            service,
        ):
            assert await positions(watch, 3) == [1, 2, 3]
            assert service.asked == [0, 2]

    async def test_it_goes_on_after_a_place_where_nothing_happened(self) -> None:
        streams: list[Script] = [([place(7), place(40)], Code.UNAVAILABLE), ([place(40), change(41)], STAY)]
        async with watched(*streams, after=None) as (watch, service):
            assert await positions(watch, 1) == [41]
            assert service.asked == [None, 40]

    async def test_what_comes_twice_is_given_once(self) -> None:
        streams: list[Script] = [([change(1), change(2)], Code.UNAVAILABLE), ([change(1), change(2), change(3)], STAY)]
        async with watched(*streams) as (watch, _):
            assert await positions(watch, 3) == [1, 2, 3]

    async def test_it_waits_for_a_service_that_stays_away(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("book_contracts.client.watching._RETRY_SECONDS", 0.02)
        away: list[Script] = [([], Code.UNAVAILABLE)] * 4
        # Longer than a call may take: that bounds the first answer alone.
        async with watched(([change(1)], Code.UNAVAILABLE), *away, ([change(2)], STAY), timeout=0.1) as (
            watch,
            service,
        ):
            assert await positions(watch, 2) == [1, 2]
            assert service.asked == [0, 1, 1, 1, 1, 1]

    @pytest.mark.parametrize(
        ("ending", "kind"),
        [
            pytest.param((Code.PERMISSION_DENIED, "INSUFFICIENT_SCOPE"), NotAllowed, id="a-scope"),
            pytest.param((Code.INTERNAL, "INTERNAL"), ServiceFailed, id="a-fault"),
            pytest.param(Code.UNIMPLEMENTED, CatalogueError, id="an-older-service"),
        ],
    )
    async def test_what_repeating_does_not_mend_is_raised(self, ending: Ending, kind: type[CatalogueError]) -> None:
        async with watched(([change(1)], ending)) as (watch, service):
            assert await positions(watch, 1) == [1]
            with pytest.raises(kind):
                await anext(watch)
            assert len(service.asked) == 1


class TestBeginning:
    async def test_nobody_there_is_told_within_the_time_of_a_call(self) -> None:
        async with serving() as service:
            port = service.port
        async with BookCatalogue(f"127.0.0.1:{port}", timeout=1) as catalogue:
            with pytest.raises(Unavailable):
                await patiently(anext(catalogue.watch()), "it says so")

    async def test_a_service_that_comes_up_meanwhile_is_waited_for(self) -> None:
        async with watched(([], Code.UNAVAILABLE), ([], Code.UNAVAILABLE), ([change(1)], STAY)) as (watch, _):
            assert await positions(watch, 1) == [1]


class TestPositions:
    async def test_one_is_told_when_its_change_is_done_with(self) -> None:
        async with watched(([place(0), change(1), change(5)], STAY)) as (watch, _):
            assert watch.position == 0
            assert (await positions(watch, 1), watch.position) == ([1], 0)
            assert (await positions(watch, 1), watch.position) == ([5], 1)

    async def test_it_rises_while_nothing_happens(self) -> None:
        async with watched(([place(3), place(9)], STAY), after=None) as (watch, _):
            assert watch.position is None
            waiting = asyncio.ensure_future(anext(watch))
            await until(lambda: watch.position == 9, "the position has risen")
            waiting.cancel()
            await asyncio.wait([waiting])

    async def test_kinds_of_a_newer_contract_are_passed_over(self) -> None:
        async with watched(([change(1, kind=0), change(2, kind=77), change(3)], STAY)) as (watch, _):
            assert await positions(watch, 1) == [3]


def one_after_the_other(*tokens: str) -> Callable[[], str]:
    """The last one again and again."""
    left = [*tokens]
    return lambda: left.pop(0) if len(left) > 1 else left[0]


class TestTokens:
    async def test_one_that_expires_is_replaced(self) -> None:
        refused = Code.UNAUTHENTICATED, "ACCESS_TOKEN_INVALID"
        token = one_after_the_other("old", "new")
        async with watched(([change(1)], refused), ([change(2)], STAY), token=token) as (watch, service):
            assert await positions(watch, 2) == [1, 2]
            assert service.tokens == ["Bearer old", "Bearer new"]
            assert service.asked == [0, 1]

    async def test_two_that_are_refused_in_a_row_are_enough(self) -> None:
        token = one_after_the_other("old", "new", "newer", "newest")
        async with watched(([], (Code.UNAUTHENTICATED, "ACCESS_TOKEN_INVALID")), token=token) as (watch, service):
            with pytest.raises(NotSignedIn):
                await positions(watch, 1)
            assert len(service.asked) == 2

    async def test_one_that_nothing_can_replace_is_refused_at_once(self) -> None:
        async with watched(([], (Code.UNAUTHENTICATED, "ACCESS_TOKEN_INVALID")), token="fixed") as (watch, service):
            with pytest.raises(NotSignedIn) as error:
                await positions(watch, 1)
            assert error.value.reason == "ACCESS_TOKEN_INVALID"
            assert len(service.asked) == 1

    async def test_while_none_can_be_had_it_waits(self) -> None:
        class Moody:
            failures = 2

            async def token(self) -> str:
                return "token"

            async def renewed(self, refused: str) -> str:
                self.failures -= 1
                if self.failures >= 0:
                    raise Unavailable
                return "another"

        refused = Code.UNAUTHENTICATED, "ACCESS_TOKEN_INVALID"
        async with watched(([change(1)], refused), ([change(2)], STAY), token=Moody()) as (watch, _):
            assert await positions(watch, 2) == [1, 2]


class TestEnding:
    async def test_a_timeout_around_a_step_loses_nothing(self) -> None:
        async with watched(([place(0), change(1)], STAY), ([place(1), change(2)], STAY)) as (watch, service):
            assert await positions(watch, 1) == [1]
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(watch), 0.2)
            assert await positions(watch, 1) == [2]
            assert service.asked == [0, 1]

    async def test_leaving_the_loop_ends_the_call(self) -> None:
        async with watched(([change(1)], STAY)) as (watch, service):
            async for _ in watch:
                break
            del watch
            gc.collect()
            await patiently(service.left.wait(), "the service is left")

    async def test_it_can_be_ended_early(self) -> None:
        async with watched(([change(1)], STAY)) as (watch, service):
            assert await positions(watch, 1) == [1]
            await watch.aclose()
            await patiently(service.left.wait(), "the service is left")

    async def test_closing_the_catalogue_ends_it_with_an_error(self) -> None:
        async with serving(([place(0)], STAY)) as service:
            async with BookCatalogue(f"127.0.0.1:{service.port}") as catalogue:
                waiting = asyncio.ensure_future(anext(catalogue.watch(after=0)))
                await until(lambda: service.asked, "the call has come")
            with pytest.raises(CatalogueClosed):
                await patiently(waiting, "it ends")
