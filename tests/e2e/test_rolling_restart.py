"""Two replicas of grpc-api are restarted in turn, and a client with round robin does not notice."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import pytest
from book_contracts.client import BookCatalogue
from book_contracts.errors import CatalogueError
from support.people import Person
from support.services import GrpcApi
from support.workspace import Workspace

CALLERS = 8
ROUNDS = 1


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

    def __init__(self) -> None:
        self.calls = 0
        self.failures: Counter[str] = Counter()

    @asynccontextmanager
    async def on(self, catalogue: BookCatalogue, book_id: int) -> AsyncIterator[None]:
        callers = [asyncio.create_task(self._call(catalogue, book_id)) for _ in range(CALLERS)]
        try:
            yield
        finally:
            for caller in callers:
                caller.cancel()
            await asyncio.gather(*callers, return_exceptions=True)

    async def _call(self, catalogue: BookCatalogue, book_id: int) -> None:
        while True:
            try:
                await catalogue.get(book_id)
            except CatalogueError as error:
                self.failures[f"{error.code} {error}"] += 1
            self.calls += 1
            await asyncio.sleep(0.005)


class TestARollingRestart:
    async def test_fails_no_call(self, system: Any, second: GrpcApi, person: Person) -> None:
        book = (
            await person.call(
                "POST", "/books", json={"title": "Emma", "author": "Jane Austen", "publication_date": "1815-12-23"}
            )
        ).json()
        load, address = Load(), f"ipv4:{system.grpc.address},{second.address}"
        async with BookCatalogue(address, token=person.token) as catalogue, load.on(catalogue, book["id"]):
            for replica in (system.grpc, second) * ROUNDS:
                await asyncio.sleep(2.5)
                calls = load.calls
                assert await asyncio.to_thread(replica.terminate) == 0
                await asyncio.to_thread(replica.launch)
                await asyncio.to_thread(replica.wait_until_it_answers)
                assert load.calls > calls, "the other one answers meanwhile"
            await asyncio.sleep(1)
        print(f"{load.calls:,} calls over {2 * ROUNDS} restarts, {load.failures.total()} failed {dict(load.failures)}")
        assert not load.failures
