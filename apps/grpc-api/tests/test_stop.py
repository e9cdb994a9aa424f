"""The end: running calls finish, new ones are not taken, and nothing is left behind."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from book_db.books.catalogue import Catalogue
from book_db.books.model import Book
from book_db.outbox import OutboxBell
from book_db.store import Store
from book_runtime.broker.local import LocalBroker
from book_runtime.process import PortTaken
from books.v1.book_service_pb2 import GetBookRequest, WatchBooksRequest
from books.v1.book_service_pb2_grpc import BookServiceStub
from grpc_api.application import serving
from grpc_api.server import BOOK_SERVICE
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

if TYPE_CHECKING:
    from books.v1.book_service_pb2_grpc import BookServiceAsyncStub


class SlowCatalogue(Catalogue):
    """Answers when it is told to."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.database, store.cache, OutboxBell(store.database))
        self.asked = asyncio.Event()
        self.may_answer = asyncio.Event()

    async def get(self, book_id: int) -> Book:
        self.asked.set()
        await self.may_answer.wait()
        return await super().get(book_id)


@asynccontextmanager
async def a_stub(port: int) -> AsyncIterator["BookServiceAsyncStub"]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield BookServiceStub(channel)


def health_of(channel: grpc.aio.Channel, service: str) -> Any:
    """The stream of what is told of a service."""
    watch = channel.unary_stream(
        "/grpc.health.v1.Health/Watch", HealthCheckRequest.SerializeToString, HealthCheckResponse.FromString
    )
    return watch(HealthCheckRequest(service=service))


class TestDraining:
    async def test_a_running_call_is_finished_and_a_new_one_is_not_taken(self, store: Store, book: Book) -> None:
        catalogue = SlowCatalogue(store)
        server = serving(
            replace(store, catalogue=catalogue), LocalBroker(), host="127.0.0.1", port=0, authenticate=False
        )
        port = await server.__aenter__()
        async with a_stub(port) as stub, a_stub(port) as late:
            call = asyncio.ensure_future(stub.GetBook(GetBookRequest(id=book.id)))
            await catalogue.asked.wait()
            stopping = asyncio.create_task(server.__aexit__(None, None, None))
            await asyncio.sleep(0.1)
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await late.GetBook(GetBookRequest(id=book.id))
            assert error.value.code() is grpc.StatusCode.UNAVAILABLE
            assert not stopping.done()
            catalogue.may_answer.set()
            assert (await call).book.title == book.title
            await asyncio.wait_for(stopping, 2)

    async def test_a_call_that_hangs_is_given_up(self, store: Store, book: Book) -> None:
        catalogue = SlowCatalogue(store)
        async with serving(
            replace(store, catalogue=catalogue),
            LocalBroker(),
            host="127.0.0.1",
            port=0,
            authenticate=False,
            drain_seconds=0.2,
        ) as port:
            channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
            stub: BookServiceAsyncStub = BookServiceStub(channel)
            call = asyncio.ensure_future(stub.GetBook(GetBookRequest(id=book.id)))
            await catalogue.asked.wait()
            began = time.monotonic()
        assert time.monotonic() - began < 2
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await call
        assert error.value.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
        await channel.close()

    async def test_streams_are_told_to_go_elsewhere_while_running_calls_are_finished(
        self, store: Store, book: Book
    ) -> None:
        catalogue = SlowCatalogue(store)
        server = serving(
            replace(store, catalogue=catalogue), LocalBroker(), host="127.0.0.1", port=0, authenticate=False
        )
        port = await server.__aenter__()
        async with a_stub(port) as stub, asyncio.timeout(10):
            call = asyncio.ensure_future(stub.GetBook(GetBookRequest(id=book.id)))
            watch = stub.WatchBooks(WatchBooksRequest())
            await watch.read()
            await catalogue.asked.wait()
            stopping = asyncio.create_task(server.__aexit__(None, None, None))
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await watch.read()
            assert (error.value.code(), stopping.done()) == (grpc.StatusCode.UNAVAILABLE, False)
            catalogue.may_answer.set()
            assert (await call).book.title == book.title
            await stopping

    async def test_calls_are_taken_for_a_moment_after_health_has_said_that_it_ends(
        self, store: Store, book: Book
    ) -> None:
        """The moment in which balancers and clients turn to other replicas."""
        server = serving(store, LocalBroker(), host="127.0.0.1", port=0, authenticate=False, notice_seconds=1)
        port = await server.__aenter__()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel, asyncio.timeout(10):
            stub: BookServiceAsyncStub = BookServiceStub(channel)
            watch = health_of(channel, BOOK_SERVICE)
            while (await watch.read()).status != HealthCheckResponse.SERVING:
                pass  # it has only just begun to look
            stopping = asyncio.create_task(server.__aexit__(None, None, None))
            assert (await watch.read()).status == HealthCheckResponse.NOT_SERVING
            assert (await stub.GetBook(GetBookRequest(id=book.id))).book.title == book.title
            await stopping
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await stub.GetBook(GetBookRequest(id=book.id))
            assert error.value.code() is grpc.StatusCode.UNAVAILABLE

    async def test_an_idle_server_stops_at_once(self, store: Store) -> None:
        async with serving(store, LocalBroker(), host="127.0.0.1", port=0):
            began = time.monotonic()
        assert time.monotonic() - began < 2


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
