"""The end: running calls finish, new ones are not taken, and nothing is left behind."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from book_db.book import Book
from book_db.books.catalogue import Catalogue
from book_db.events.outbox import OutboxNotifier
from book_db.store import Store
from book_runtime.broker.local import LocalBroker
from book_runtime.process import PortTaken
from books.v1.book_service_pb2 import GetBookRequest, WatchBooksRequest
from books.v1.book_service_pb2_grpc import BookServiceStub
from grpc_api.application import serving
from grpc_api.server import BOOK_SERVICE
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from support.waiting import PATIENCE, patience, patiently

if TYPE_CHECKING:
    from books.v1.book_service_pb2_grpc import BookServiceAsyncStub


class SlowCatalogue(Catalogue):
    """Answers when it is told to."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.database, store.cache, OutboxNotifier(store.database))
        self.asked = asyncio.Event()
        self.may_answer = asyncio.Event()

    async def get(self, book_id: int) -> Book:
        self.asked.set()
        await self.may_answer.wait()
        return await super().get(book_id)


@asynccontextmanager
async def running(store: Store, **options: Any) -> AsyncIterator[tuple[int, Callable[[], asyncio.Task[None]]]]:
    """A server's port, and what begins to stop it before the end of the block."""
    async with AsyncExitStack() as server:
        serve = serving(store, LocalBroker(), host="127.0.0.1", port=0, authenticate=False, **options)
        port = await server.enter_async_context(serve)
        yield port, lambda: asyncio.create_task(server.aclose())


@asynccontextmanager
async def a_stub(port: int) -> AsyncIterator["BookServiceAsyncStub"]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield BookServiceStub(channel)


async def told_to_go(watch: Any) -> None:
    """Wait until a stream is ended because the server stops: then it takes no calls any more."""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await patiently(watch.read(), "the stream ends")
    assert error.value.code() is grpc.StatusCode.UNAVAILABLE


def health_of(channel: grpc.aio.Channel, service: str) -> Any:
    """The stream of what is told of a service."""
    watch = channel.unary_stream(
        "/grpc.health.v1.Health/Watch", HealthCheckRequest.SerializeToString, HealthCheckResponse.FromString
    )
    return watch(HealthCheckRequest(service=service))


class TestDraining:
    async def test_a_running_call_is_finished_and_a_new_one_is_not_taken(self, store: Store, book: Book) -> None:
        catalogue = SlowCatalogue(store)
        async with (
            running(replace(store, catalogue=catalogue), drain_seconds=3_600) as (port, stop),
            a_stub(port) as stub,
            a_stub(port) as late,
        ):
            call = asyncio.ensure_future(stub.GetBook(GetBookRequest(id=book.id)))
            watch = stub.WatchBooks(WatchBooksRequest())
            await watch.read()
            await catalogue.asked.wait()
            stopping = stop()
            await told_to_go(watch)
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await late.GetBook(GetBookRequest(id=book.id))
            assert error.value.code() is grpc.StatusCode.UNAVAILABLE
            assert not stopping.done()
            catalogue.may_answer.set()
            assert (await call).book.title == book.title
            await patiently(stopping, "the server has stopped")

    async def test_a_call_that_hangs_is_given_up_after_the_time_for_that(self, store: Store, book: Book) -> None:
        catalogue = SlowCatalogue(store)
        slow = replace(store, catalogue=catalogue)
        async with (
            running(slow, drain_seconds=0.2) as (port, stop),
            running(slow, drain_seconds=PATIENCE) as (other_port, stop_other),
            a_stub(port) as stub,
            a_stub(other_port) as other_stub,
        ):
            call = asyncio.ensure_future(stub.GetBook(GetBookRequest(id=book.id)))
            await catalogue.asked.wait()
            catalogue.asked.clear()
            other_call = asyncio.ensure_future(other_stub.GetBook(GetBookRequest(id=book.id)))
            await catalogue.asked.wait()
            stopping_other = stop_other()
            await patiently(stop(), "the server has stopped")
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await call
            assert error.value.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
            assert not stopping_other.done()
            catalogue.may_answer.set()
            assert (await other_call).book.title == book.title
            await patiently(stopping_other, "the other server has stopped")

    async def test_streams_are_told_to_go_elsewhere_while_running_calls_are_finished(
        self, store: Store, book: Book
    ) -> None:
        catalogue = SlowCatalogue(store)
        async with running(replace(store, catalogue=catalogue)) as (port, stop), a_stub(port) as stub:
            call = asyncio.ensure_future(stub.GetBook(GetBookRequest(id=book.id)))
            watch = stub.WatchBooks(WatchBooksRequest())
            await watch.read()
            await catalogue.asked.wait()
            stopping = stop()
            await told_to_go(watch)
            assert not stopping.done()
            catalogue.may_answer.set()
            assert (await call).book.title == book.title
            await patiently(stopping, "the server has stopped")

    async def test_calls_are_taken_for_a_moment_after_health_has_said_that_it_ends(
        self, store: Store, book: Book, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The moment in which balancers and clients turn to other replicas."""
        moment, is_over, sleep = 3_600, asyncio.Event(), asyncio.sleep

        async def sleep_until_told(seconds: float) -> None:
            await (is_over.wait() if seconds == moment else sleep(seconds))

        monkeypatch.setattr(asyncio, "sleep", sleep_until_told)
        async with (
            running(store, notice_seconds=moment) as (port, stop),
            grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
            patience("the server has stopped"),
        ):
            stub: BookServiceAsyncStub = BookServiceStub(channel)
            watch = health_of(channel, BOOK_SERVICE)
            while (await watch.read()).status != HealthCheckResponse.SERVING:
                pass  # it has only just begun to look
            stopping = stop()
            assert (await watch.read()).status == HealthCheckResponse.NOT_SERVING
            assert (await stub.GetBook(GetBookRequest(id=book.id))).book.title == book.title
            is_over.set()
            await stopping
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await stub.GetBook(GetBookRequest(id=book.id))
            assert error.value.code() is grpc.StatusCode.UNAVAILABLE

    async def test_an_idle_server_stops_at_once(self, store: Store) -> None:
        async with patience("the server has stopped"), running(store, drain_seconds=3_600):
            pass


class TestAPortThatIsTaken:
    async def test_it_is_said_plainly(self, store: Store, port: int) -> None:
        with pytest.raises(PortTaken, match=f"Cannot listen on 127.0.0.1 port {port}: it is taken"):
            async with serving(store, LocalBroker(), host="127.0.0.1", port=port):
                pass

    async def test_an_address_of_another_machine_is_refused_too(self, store: Store) -> None:
        with pytest.raises(PortTaken, match="or the address is not ours"):
            async with serving(store, LocalBroker(), host="192.0.2.1", port=0):
                pass

    async def test_ipv6_is_spoken(self, store: Store, book: Book) -> None:
        async with (
            serving(store, LocalBroker(), host="::1", port=0, authenticate=False) as port,
            grpc.aio.insecure_channel(f"[::1]:{port}") as channel,
        ):
            stub: BookServiceAsyncStub = BookServiceStub(channel)
            assert (await stub.GetBook(GetBookRequest(id=book.id))).book.id == book.id
