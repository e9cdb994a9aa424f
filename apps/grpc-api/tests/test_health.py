"""grpc.health.v1 follows the database, and only the database."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import grpc
import pytest
from book_db.settings import StoreSettings
from book_db.store import Store, open_store
from book_runtime.broker.amqp import AmqpConsumer
from book_runtime.settings import load
from book_runtime.tasks import background
from book_runtime.tokens import TokenVerifier
from grpc_api.application import serving
from grpc_api.consumer import BOOK_LOG
from grpc_api.health import Health
from grpc_api.server import BOOK_SERVICE
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from support.ports import free_port
from support.postgresql import PostgreSQLServer
from support.tokens import Signer
from support.waiting import PATIENCE, patience, patiently, until

SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = HealthCheckResponse.SERVICE_UNKNOWN


class Client:
    """Asks for health, without a token."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        forms = (HealthCheckRequest.SerializeToString, HealthCheckResponse.FromString)
        self._check = channel.unary_unary("/grpc.health.v1.Health/Check", *forms)
        self._watch = channel.unary_stream("/grpc.health.v1.Health/Watch", *forms)

    async def check(self, service: str = "") -> int:
        answer: HealthCheckResponse = await self._check(HealthCheckRequest(service=service))
        return answer.status

    async def watch(self, service: str = "") -> AsyncIterator[int]:
        async for answer in self._watch(HealthCheckRequest(service=service)):
            yield answer.status

    async def serves(self) -> bool:
        return await self.check() == SERVING


@pytest.fixture
def client(channel: grpc.aio.Channel) -> Client:
    return Client(channel)


class TestCheck:
    @pytest.mark.parametrize("service", ["", BOOK_SERVICE])
    async def test_the_server_and_its_service_serve(self, client: Client, service: str) -> None:
        await until(client.serves, "the server serves")
        assert await client.check(service) == SERVING

    async def test_a_service_that_is_not_here_is_not_found(self, client: Client) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await client.check("books.v2.BookService")
        assert error.value.code() is grpc.StatusCode.NOT_FOUND


class TestWatch:
    @pytest.fixture(autouse=True)
    def _patient_looks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("grpc_api.health._PING_SECONDS", 0.05)
        monkeypatch.setattr("grpc_api.health._PING_TIMEOUT_SECONDS", PATIENCE)

    async def test_a_service_that_is_not_here_is_unknown_and_may_come(self, client: Client) -> None:
        assert await anext(client.watch("books.v2.BookService")) == SERVICE_UNKNOWN

    async def test_watchers_see_the_database_go_and_come_back(
        self, own_postgresql: PostgreSQLServer, signer: Signer
    ) -> None:
        settings = load(StoreSettings, database_url=own_postgresql.url, redis_url=None)
        # The broker is away all the time, which is nothing that a reader would notice.
        consumer = AmqpConsumer(f"amqp://nobody:nothing@127.0.0.1:{free_port()}/", BOOK_LOG)
        async with (
            open_store(settings, TokenVerifier(signer.public_pem), name="tests") as store,
            serving(store, consumer, host="127.0.0.1", port=0) as port,
            grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
            patience("the watcher has been told of everything"),
        ):
            await until(Client(channel).serves, "the server serves")
            watching = Client(channel).watch(BOOK_SERVICE)
            assert await anext(watching) == SERVING
            await asyncio.to_thread(own_postgresql.stop)
            assert await anext(watching) == NOT_SERVING
            await asyncio.to_thread(own_postgresql.start)
            assert await anext(watching) == SERVING

    async def test_it_ends_when_the_server_drains(self, store: Store) -> None:
        consumer = AmqpConsumer(f"amqp://nobody:nothing@127.0.0.1:{free_port()}/", BOOK_LOG)
        told: list[int] = []

        async def collect(client: Client) -> None:
            async for status in client.watch():
                told.append(status)  # noqa: PERF401  # read while it grows

        async with AsyncExitStack() as stack, patience("the server has stopped"):
            async with serving(store, consumer, host="127.0.0.1", port=0, drain_seconds=3_600) as port:
                client = Client(await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}")))
                await until(client.serves, "the server serves")
                collecting = asyncio.create_task(collect(client))
                await until(lambda: told == [SERVING], "the watcher has been told that it does")
            await patiently(collecting, "the stream ends")
        assert told == [SERVING, NOT_SERVING]

    async def test_who_is_being_told_when_the_server_begins_to_drain_is_told_of_it_as_well(self, store: Store) -> None:
        health = Health([BOOK_SERVICE])
        async with background(health.watch(store.database)):
            watching = aiter(health.Watch(HealthCheckRequest(), None))
            while (await anext(watching)).status != SERVING:
                pass  # it has only just begun to look
            health.drain()  # the stream stands where it handed the answer out
            assert [each.status async for each in watching] == [NOT_SERVING]
