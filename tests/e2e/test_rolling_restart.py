"""Two replicas of grpc-api are restarted in turn, and a client with round robin does not notice."""

import asyncio
import json
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from book_contracts.client import BookCatalogue
from book_contracts.errors import CatalogueError
from books.v1.book_service_pb2 import GetBookRequest
from books.v1.book_service_pb2_grpc import BookServiceStub
from support.people import Person
from support.services import GrpcApi
from support.workspace import Workspace

if TYPE_CHECKING:
    from books.v1.book_service_pb2_grpc import BookServiceAsyncStub

SERVICE = "books.v1.BookService"
CALLERS = 6
"""Of each client."""
ROUNDS = int(os.environ.get("RESTART_ROUNDS", "1"))


@pytest.fixture
def second(system: Any, workspace: Workspace) -> Iterator[GrpcApi]:
    """Another replica, on the same servers."""
    environment = {name: value for name, value in system.grpc.environment.items() if name != "GRPC_PORT"}
    with ExitStack() as stopping:
        replica = GrpcApi(workspace, environment)
        replica.launch()
        stopping.callback(replica.kill)
        replica.wait_until_it_answers()
        yield replica


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


class TestARollingRestart:
    async def test_fails_no_call(self, system: Any, second: GrpcApi, person: Person) -> None:
        book = (
            await person.call(
                "POST", "/books", json={"title": "Emma", "author": "Jane Austen", "publication_date": "1815-12-23"}
            )
        ).json()
        address = f"ipv4:{system.grpc.address},{second.address}"
        ours, plain = Load("BookCatalogue"), Load("grpc.aio without repeats")
        async with (
            BookCatalogue(address, token=person.token) as catalogue,
            a_channel_that_repeats_nothing(address) as channel,
        ):
            stub: BookServiceAsyncStub = BookServiceStub(channel)
            request, metadata = GetBookRequest(id=book["id"]), [("authorization", f"Bearer {person.token}")]
            async with (
                ours.of(lambda: catalogue.get(book["id"])),
                plain.of(lambda: stub.GetBook(request, metadata=metadata, timeout=5)),
            ):
                for replica in (system.grpc, second) * ROUNDS:
                    await asyncio.sleep(2.5)
                    calls = ours.calls
                    assert await asyncio.to_thread(replica.terminate) == 0
                    await asyncio.to_thread(replica.launch)
                    await asyncio.to_thread(replica.wait_until_it_answers)
                    assert ours.calls > calls, "the other one answers meanwhile"
                await asyncio.sleep(1)
        print(f"over {2 * ROUNDS} restarts", ours, plain, sep="\n")
        assert not ours.failures
        assert not plain.failures
