"""What holds for every stream, whatever it tells: whose it is, how it ends, and what is counted."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from book_db.accounts.authentication import Authenticator
from book_db.errors import DatabaseUnavailable
from book_db.store import Store
from book_runtime.tasks import background
from books.v1.book_service_pb2 import WatchBooksRequest, WatchBooksResponse
from books.v1.book_service_pb2_grpc import BookServiceStub
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from grpc_api.guard import Guard
from grpc_api.server import BOOK_SERVICE
from grpc_api.streams import Streams
from grpc_status import rpc_status
from prometheus_client import REGISTRY
from support.tokens import SignedIn, Signer
from support.waiting import patience, until

if TYPE_CHECKING:
    from books.v1.book_service_pb2_grpc import BookServiceAsyncStub

METHOD = f"/{BOOK_SERVICE}/WatchBooks"


class Counting:
    """Tells numbers, and notes when it is closed."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()
        self.error: Exception | None = None
        self.goes_on = True

    async def watch(self, request: WatchBooksRequest, _context: Any) -> AsyncGenerator[Any, None]:
        try:
            yield WatchBooksResponse(position=request.after)
            yield WatchBooksResponse(position=request.after + 1).SerializeToString()
            if self.error:
                raise self.error
            while self.goes_on:
                await asyncio.sleep(60)
        finally:
            self.closed.set()


@dataclass(frozen=True)
class Running:
    """A server of streams, and a client of it."""

    service: Counting
    streams: Streams
    channel: grpc.aio.Channel

    @property
    def stub(self) -> "BookServiceAsyncStub":
        return BookServiceStub(self.channel)


@asynccontextmanager
async def running(authenticator: Authenticator | None) -> AsyncIterator[Running]:
    service, streams = Counting(), Streams()
    server = grpc.aio.server()
    watch = grpc.unary_stream_rpc_method_handler(
        service.watch, WatchBooksRequest.FromString, WatchBooksResponse.SerializeToString
    )
    Guard(authenticator, streams).around(server).add_registered_method_handlers(BOOK_SERVICE, {"WatchBooks": watch})
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with background(streams.review(every=0.1)), grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Running(service, streams, channel)
    await server.stop(None)


@pytest.fixture
async def counting() -> AsyncIterator[Running]:
    """Without tokens."""
    async with running(None) as it:
        yield it


@pytest.fixture
async def guarded(store: Store) -> AsyncIterator[Running]:
    """Of which callers must be known."""
    async with running(store.authenticator) as it:
        yield it


async def end_of(call: Any) -> tuple[list[int], str, dict[type, Any]]:
    """What a stream has told, its code, and the details of its error."""
    told = []
    try:
        async with patience("the stream ends"):
            while (response := await call.read()) is not grpc.aio.EOF:
                told.append(response.position)
    except grpc.aio.AioRpcError as error:
        status: Any = rpc_status.from_call(error)  # type: ignore[arg-type]  # it has what is read of a call
        found = {kind: kind() for kind in (ErrorInfo, RetryInfo)}
        for detail in status.details if status else ():
            for message in found.values():
                detail.Unpack(message)
        return told, error.code().name, found
    return told, "OK", {}


async def end_by_time(begin: Callable[[int], Any]) -> str:
    """The code of a stream that may last so many seconds, as many as it takes to tell both numbers before."""
    for seconds in (1, 2, 4, 8, 16, 32, 64):
        told, code, _ = await end_of(begin(seconds))
        if told == [0, 1]:
            return code
    pytest.fail("not even in a minute were both told")


def ended(code: str) -> float:
    return REGISTRY.get_sample_value("colophon_grpc_streams_ended_total", {"method": METHOD, "code": code}) or 0


def opened() -> float:
    return REGISTRY.get_sample_value("colophon_grpc_streams", {"method": METHOD}) or 0


class TestAStream:
    async def test_messages_and_bytes_that_are_messages_already_arrive_alike(self, counting: Running) -> None:
        counting.service.goes_on = False
        assert await end_of(counting.stub.WatchBooks(WatchBooksRequest(after=6))) == ([6, 7], "OK", {})

    async def test_its_handler_is_closed_when_the_caller_goes(self, counting: Running) -> None:
        before = ended("CANCELLED")
        call = counting.stub.WatchBooks(WatchBooksRequest())
        await call.read()
        assert opened() == 1
        call.cancel()
        await counting.service.closed.wait()
        assert (opened(), ended("CANCELLED")) == (0, before + 1)

    async def test_it_ends_at_its_deadline(self, counting: Running) -> None:
        before = 0.0

        def begin(seconds: int) -> Any:
            nonlocal before
            before = ended("DEADLINE_EXCEEDED")
            return counting.stub.WatchBooks(WatchBooksRequest(), timeout=seconds / 4)

        assert await end_by_time(begin) == "DEADLINE_EXCEEDED"
        await until(lambda: ended("DEADLINE_EXCEEDED") == before + 1, "its end is counted")
        assert counting.service.closed.is_set()

    async def test_an_error_on_the_way_is_translated_as_any_other(self, counting: Running) -> None:
        counting.service.error = DatabaseUnavailable()
        told, code, details = await end_of(counting.stub.WatchBooks(WatchBooksRequest()))
        assert (told, code) == ([0, 1], "UNAVAILABLE")
        assert details[ErrorInfo].reason == "DATABASE_UNAVAILABLE"

    async def test_a_request_that_cannot_be_decoded_is_refused(self, counting: Running) -> None:
        watch: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = counting.channel.unary_stream(METHOD)
        told, code, details = await end_of(watch(b"\xff\xff\xff"))
        assert (told, code, details[ErrorInfo].reason) == ([], "INVALID_ARGUMENT", "UNDECODABLE_REQUEST")


class TestWhoseItIs:
    async def test_nobody_begins_one_without_a_token(self, guarded: Running) -> None:
        told, code, details = await end_of(guarded.stub.WatchBooks(WatchBooksRequest()))
        assert (told, code) == ([], "UNAUTHENTICATED")
        assert details[ErrorInfo].reason == "ACCESS_TOKEN_MISSING"

    async def test_it_ends_when_the_session_does(self, guarded: Running, store: Store, caller: SignedIn) -> None:
        call = guarded.stub.WatchBooks(WatchBooksRequest(), metadata=caller.metadata)
        for _ in range(2):
            await call.read()
        await store.sessions.end(caller.session_id)
        told, code, details = await end_of(call)
        assert (told, code) == ([], "UNAUTHENTICATED")
        assert details[ErrorInfo].reason == "ACCESS_TOKEN_INVALID"
        assert guarded.service.closed.is_set()

    async def test_it_ends_when_the_token_expires(self, guarded: Running, caller: SignedIn, signer: Signer) -> None:
        def begin(seconds: int) -> Any:
            token = signer.sign(caller.user_id, caller.session_id, seconds=seconds)
            return guarded.stub.WatchBooks(WatchBooksRequest(), metadata=[("authorization", f"Bearer {token}")])

        assert await end_by_time(begin) == "UNAUTHENTICATED"

    async def test_that_the_database_cannot_be_asked_ends_no_stream_that_has_begun(self) -> None:
        streams, asked = Streams(), 0

        async def authenticate() -> None:
            nonlocal asked
            asked += 1
            if asked > 1:
                raise DatabaseUnavailable

        async with streams.open(authenticate), background(streams.review(every=0.01)):
            await until(lambda: asked > 2, "the caller was authenticated again and again")


class TestTheEnd:
    async def test_every_stream_is_told_that_the_service_stops_and_when_to_come_back(self, counting: Running) -> None:
        calls = [counting.stub.WatchBooks(WatchBooksRequest()) for _ in range(20)]
        for call in calls:
            await call.read()
        counting.streams.stop()
        ends = await asyncio.gather(*map(end_of, calls))
        assert {code for _, code, _ in ends} == {"UNAVAILABLE"}
        assert {details[ErrorInfo].reason for _, _, details in ends} == {"STOPPING"}
        # Not all at once.
        delays = {details[RetryInfo].retry_delay.ToMilliseconds() for _, _, details in ends}
        assert len(delays) > 1
        assert max(delays) < 1_000

    async def test_one_that_begins_then_is_told_so_too(self, counting: Running) -> None:
        counting.streams.stop()
        told, code, details = await end_of(counting.stub.WatchBooks(WatchBooksRequest()))
        assert (told, code, details[ErrorInfo].reason) == ([], "UNAVAILABLE", "STOPPING")
