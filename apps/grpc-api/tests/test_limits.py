"""What one message, one connection, one caller and all of them together may take, tried with real clients."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from book_db.book import Book
from book_db.books.catalogue import Catalogue
from book_db.events.outbox import OutboxNotifier
from book_db.store import Store
from book_runtime.broker.local import LocalBroker
from books.v1.book_service_pb2 import GetBookRequest, WatchBooksRequest
from books.v1.book_service_pb2_grpc import BookServiceStub
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from grpc_api.application import serving
from grpc_api.limits import Limits
from grpc_status import rpc_status
from support.proxy import Proxy
from support.waiting import patience, until

if TYPE_CHECKING:
    from books.v1.book_service_pb2_grpc import BookServiceAsyncStub

Serving = Callable[..., AbstractAsyncContextManager[int]]


class SlowCatalogue(Catalogue):
    """Answers when it is told to, and knows how many have waited together."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.database, store.cache, OutboxNotifier(store.database))
        self.may_answer = asyncio.Event()
        self.waiting = 0
        self.most_waiting = 0

    async def get(self, book_id: int) -> Book:
        self.waiting += 1
        self.most_waiting = max(self.waiting, self.most_waiting)
        try:
            await self.may_answer.wait()
            return await super().get(book_id)
        finally:
            self.waiting -= 1

    async def has(self, waiting: int) -> None:
        """Until so many calls wait."""
        await until(lambda: self.waiting == waiting, f"{waiting} calls wait")


@pytest.fixture
def slow(store: Store) -> SlowCatalogue:
    return SlowCatalogue(store)


@pytest.fixture
def limited(store: Store, slow: SlowCatalogue) -> Serving:
    """`async with limited(calls=2) as port:` with the slow catalogue, and without tokens."""

    def limited(**limits: Any) -> AbstractAsyncContextManager[int]:
        return serving(
            replace(store, catalogue=slow),
            LocalBroker(),
            host="127.0.0.1",
            port=0,
            authenticate=False,
            drain_seconds=0,
            limits=Limits(**limits),
        )

    return limited


@asynccontextmanager
async def connected(port: int, *options: tuple[str, int]) -> AsyncIterator["BookServiceAsyncStub"]:
    """A stub on a connection of its own."""
    alone = ("grpc.use_local_subchannel_pool", 1)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=[alone, *options]) as channel:
        yield BookServiceStub(channel)


async def read_on(stream: Any) -> None:
    """Until the stream ends."""
    while await stream.read() is not grpc.aio.EOF:
        pass


class Counting(Proxy):
    """A network that knows how many connections went through it."""

    count = 0

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self.count += 1
        return await super().connect()


class TestCallsInHand:
    async def test_one_too_many_is_refused_and_told_when_to_come_again(
        self, limited: Serving, slow: SlowCatalogue, book: Book
    ) -> None:
        async with limited(calls=2) as port, connected(port) as stub:
            running = [asyncio.ensure_future(stub.GetBook(GetBookRequest(id=book.id))) for _ in range(2)]
            await slow.has(waiting=2)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.GetBook(GetBookRequest(id=book.id))
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            info, again = ErrorInfo(), RetryInfo()
            details = rpc_status.from_call(caught.value).details  # type: ignore[arg-type]  # it has what is read of a call
            assert [details[0].Unpack(info), details[1].Unpack(again)] == [True, True]
            assert info.reason == "TOO_MANY_CALLS"
            assert 0 <= again.retry_delay.ToMilliseconds() < 1_000
            slow.may_answer.set()
            await asyncio.gather(*running)
            assert (await stub.GetBook(GetBookRequest(id=book.id))).book.id == book.id

    async def test_those_that_were_given_up_do_not_count(
        self, limited: Serving, slow: SlowCatalogue, book: Book
    ) -> None:
        async with limited(calls=1) as port, connected(port) as stub:
            for _ in range(5):
                call = stub.GetBook(GetBookRequest(id=book.id))
                await slow.has(waiting=1)
                call.cancel()
                await slow.has(waiting=0)

    async def test_watchers_do_not_count(self, limited: Serving, slow: SlowCatalogue, book: Book) -> None:
        slow.may_answer.set()
        async with limited(calls=1) as port, connected(port) as stub:
            for watch in [stub.WatchBooks(WatchBooksRequest()) for _ in range(3)]:
                await watch.read()
            assert (await stub.GetBook(GetBookRequest(id=book.id))).book.id == book.id


class TestOneConnection:
    async def test_has_no_more_than_a_thousand_calls(self, limited: Serving, slow: SlowCatalogue, book: Book) -> None:
        async with limited(calls=5_000) as port, connected(port) as stub:
            calls = [asyncio.ensure_future(stub.GetBook(GetBookRequest(id=book.id))) for _ in range(1_100)]
            await slow.has(waiting=1_000)
            await asyncio.sleep(0.2)
            assert slow.most_waiting == 1_000
            slow.may_answer.set()
            # Those that came before the client knew of the limit were refused, as calls that may be repeated.
            ends = await asyncio.gather(*calls, return_exceptions=True)
            codes = {end.code().name for end in ends if isinstance(end, grpc.aio.AioRpcError)}
            assert codes <= {"UNAVAILABLE"}

    async def test_is_ended_in_good_order_when_it_is_old(
        self, limited: Serving, slow: SlowCatalogue, book: Book
    ) -> None:
        slow.may_answer.set()
        async with (
            limited(connection_seconds=1) as port,
            Counting(port) as network,
            connected(network.port) as stub,
            patience("the client has made a new connection"),
        ):
            while network.count < 2:
                await stub.GetBook(GetBookRequest(id=book.id))


class TestMetadata:
    @pytest.mark.parametrize(
        ("size", "code"), [(8_000, "NOT_FOUND"), (15_000, "NOT_FOUND"), (17_000, "RESOURCE_EXHAUSTED")]
    )
    async def test_may_have_16_kib(self, limited: Serving, slow: SlowCatalogue, size: int, code: str) -> None:
        slow.may_answer.set()
        async with limited() as port, connected(port) as stub:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.GetBook(GetBookRequest(id=1), metadata=[("x", "x" * size)])
            assert caught.value.code().name == code


class TestSignsOfLife:
    async def test_a_client_that_asks_for_too_many_is_sent_away(self, limited: Serving) -> None:
        often = (
            ("grpc.keepalive_time_ms", 1_000),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.max_pings_without_data", 0),
        )
        async with limited() as port, connected(port, *often) as stub, patience("the client is sent away"):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await read_on(stub.WatchBooks(WatchBooksRequest()))
            assert (caught.value.code().name, caught.value.details()) == ("UNAVAILABLE", "Too many pings")

    async def test_a_client_that_has_died_in_silence_is_found(self, limited: Serving, slow: SlowCatalogue) -> None:
        async with limited(keepalive_seconds=1.5) as port, Proxy(port) as network, connected(network.port) as stub:
            call = asyncio.ensure_future(stub.GetBook(GetBookRequest(id=1)))
            await slow.has(waiting=1)
            network.black_hole()
            await slow.has(waiting=0)
            network.drop()
            with pytest.raises(grpc.aio.AioRpcError):
                await call
