"""Two replicas of grpc-api are restarted in turn, and a client with round robin does not notice."""

import asyncio
import json
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from itertools import cycle, islice
from typing import TYPE_CHECKING

import grpc
import psutil  # type: ignore[import-untyped]  # psutil ships no types
import pytest
from book_contracts.client import BookCatalogue
from book_contracts.errors import CatalogueError
from books.v1.book_service_pb2 import GetBookRequest
from books.v1.book_service_pb2_grpc import BookServiceStub
from support.people import Person
from support.services import GrpcApi, RestApi
from support.waiting import PATIENCE, until
from support.workspace import Workspace

if TYPE_CHECKING:
    from books.v1.book_service_pb2_grpc import BookServiceAsyncStub

SERVICE = "books.v1.BookService"
CALLERS = 6
"""Of each client."""
RESTARTS = 2 * int(os.environ.get("RESTART_ROUNDS", "1"))


@pytest.fixture(scope="module")
def rest(workspace: Workspace, stores: dict[str, str], keys: dict[str, str]) -> Iterator[RestApi]:
    with RestApi(workspace, stores | keys) as rest:
        yield rest


@pytest.fixture(scope="module")
def replicas(workspace: Workspace, stores: dict[str, str], keys: dict[str, str]) -> Iterator[list[GrpcApi]]:
    """Two, which give clients on a busy machine time to turn to the other one."""
    with ExitStack() as stopping:
        replicas = [GrpcApi(workspace, stores | keys | {"NOTICE_SECONDS": "2"}) for _ in range(2)]
        for replica in replicas:
            replica.launch()
            stopping.callback(replica.kill)
        for replica in replicas:
            replica.wait_until_it_answers()
        yield replicas


class Load:
    """Callers who read one book again and again."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.calls = 0
        self.failures: Counter[str] = Counter()

    def __str__(self) -> str:
        return f"{self.name}: {self.calls:,} calls, {self.failures.total()} failed {dict(self.failures) or ''}"

    @asynccontextmanager
    async def of(self, call: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
        callers = [asyncio.create_task(self._repeat(call)) for _ in range(CALLERS)]
        try:
            yield
        finally:
            for caller in callers:
                caller.cancel()
            await asyncio.gather(*callers, return_exceptions=True)

    async def _repeat(self, call: Callable[[], Awaitable[object]]) -> None:
        while True:
            try:
                await call()
            except (CatalogueError, grpc.aio.AioRpcError) as error:
                self.failures[repr(error)] += 1
            self.calls += 1
            await asyncio.sleep(0.01)


def a_channel_that_repeats_nothing(address: str) -> grpc.aio.Channel:
    """Its own round robin, and health that it asks for, are all that keeps calls from a replica that stops."""
    config = {"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": SERVICE}}
    options = [
        ("grpc.service_config", json.dumps(config)),
        ("grpc.enable_retries", 0),
        ("grpc.enable_http_proxy", 0),
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 1_000),
    ]
    return grpc.aio.insecure_channel(address, options)


def are_connected(clients: int, replica: GrpcApi) -> bool:
    to_it = [one for one in psutil.Process().net_connections("tcp") if one.raddr[1:] == (replica.port,)]
    return [one.status for one in to_it] == ["ESTABLISHED"] * clients


class TestARollingRestart:
    @pytest.mark.parametrize("restarts", [1, pytest.param(RESTARTS, marks=pytest.mark.slow)])
    async def test_fails_no_call(self, replicas: list[GrpcApi], person: Person, restarts: int) -> None:
        emma = {"title": "Emma", "author": "Jane Austen", "publication_date": "1815-12-23"}
        book_id = (await person.call("POST", "/books", json=emma)).json()["id"]
        address = "ipv4:" + ",".join(replica.address for replica in replicas)
        ours, plain = Load("BookCatalogue"), Load("grpc.aio without repeats")
        async with (
            BookCatalogue(address, token=person.token) as catalogue,
            a_channel_that_repeats_nothing(address) as channel,
        ):
            stub: BookServiceAsyncStub = BookServiceStub(channel)
            request, metadata = GetBookRequest(id=book_id), [("authorization", f"Bearer {person.token}")]
            async with (
                ours.of(lambda: catalogue.get(book_id)),
                plain.of(lambda: stub.GetBook(request, metadata=metadata, timeout=PATIENCE)),
            ):
                for replica in islice(cycle(replicas), restarts):
                    await self.all_call_both(replicas)
                    calls = ours.calls
                    assert await asyncio.to_thread(replica.terminate) == 0
                    await asyncio.to_thread(replica.start)
                    assert ours.calls > calls, "the other one answers meanwhile"
                await self.all_call_both(replicas)
        print(f"over {restarts} restarts", ours, plain, sep="\n")
        assert not ours.failures
        assert not plain.failures

    @staticmethod
    async def all_call_both(replicas: list[GrpcApi]) -> None:
        for replica in replicas:
            await until(partial(are_connected, 2, replica), "both clients are connected to both replicas")
