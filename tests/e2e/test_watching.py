"""WatchBooks over real processes: how long a change takes from the answered POST to those who watch."""

import asyncio
import json
import re
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc
import httpx
import pytest
from books.v1.book_service_pb2 import WatchBooksRequest
from books.v1.book_service_pb2_grpc import BookServiceStub
from support.people import Person
from support.services import Colophon
from support.waiting import PATIENCE, patiently
from support.workspace import Workspace

from .conftest import System

if TYPE_CHECKING:
    from books.v1.book_service_pb2_grpc import BookServiceAsyncStub

A_BOOK: Final = {"title": "Middlemarch", "author": "George Eliot", "publication_date": "1871-12-01"}

A_SECOND: Final = 200
WRITERS: Final = 16

WATCHERS: Final = 1_000
CONNECTIONS: Final = 10


@asynccontextmanager
async def a_stub(address: str) -> AsyncIterator["BookServiceAsyncStub"]:
    # Channels with the same options share one connection.
    async with grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        yield BookServiceStub(channel)


@asynccontextmanager
async def a_writer(port: int, token: str) -> AsyncIterator[Callable[[], Awaitable[int]]]:
    """Adds a book over a connection that stays open, and gives its id. Costs a tenth of a client's time: on a machine
    of two cores a client would take the time that is measured."""
    body = json.dumps(A_BOOK)
    request = (
        f"POST /api/v1/books HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def add() -> int:
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        assert head.startswith("HTTP/1.1 201 "), head
        length = re.search(r"^content-length: (\d+)", head, re.MULTILINE | re.IGNORECASE)
        assert length is not None
        return int(json.loads(await reader.readexactly(int(length[1])))["id"])

    yield add
    writer.close()
    await writer.wait_closed()


async def watch(stub: "BookServiceAsyncStub", person: Person, **request: Any) -> Any:
    """A call that has been told where it begins."""
    call = stub.WatchBooks(WatchBooksRequest(**request), metadata=[("authorization", f"Bearer {person.token}")])
    await call.read()
    return call


async def next_change(call: Any) -> Any:
    while not (response := await call.read()).HasField("event"):
        pass
    return response


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1_000:.1f} ms"


class TestAChange:
    @pytest.mark.parametrize("writes", [200, pytest.param(1_000, marks=pytest.mark.slow)])
    async def test_shows_on_watchers_as_soon_as_a_write_is_answered(
        self, system: System, person: Person, writes: int
    ) -> None:
        shown: dict[int, float] = {}
        sent: dict[int, float] = {}
        answered: dict[int, float] = {}

        async def see(call: Any) -> None:
            while len(shown) < writes:
                response = await next_change(call)
                shown[response.event.book.id] = time.perf_counter()

        async def write(began: float, first: int) -> None:
            """One of several writers who take turns."""
            async with a_writer(system.rest.port, person.token) as add:
                for number in range(first, writes, WRITERS):
                    await asyncio.sleep(began + number / A_SECOND - time.perf_counter())
                    sent_at = time.perf_counter()
                    book_id = await add()
                    sent[book_id], answered[book_id] = sent_at, time.perf_counter()

        async with a_stub(system.grpc.address) as stub:
            seeing = asyncio.create_task(see(await watch(stub, person)))
            began = time.perf_counter() + 0.1
            await asyncio.gather(*(write(began, first) for first in range(WRITERS)))
            took = time.perf_counter() - began
            await patiently(seeing, "all changes are shown")
        # A watcher may be told before the writer is answered.
        delays = sorted(max(0.0, shown[book_id] - at) for book_id, at in answered.items())
        assert len(delays) == writes
        median, p99 = statistics.median(delays), delays[int(len(delays) * 0.99)]
        print(
            f"{len(delays):,} writes at {len(delays) / took:.0f} a second, from the answered POST to the watcher's "
            f"message: median {milliseconds(median)}, p99 {milliseconds(p99)}, longest {milliseconds(delays[-1])}"
        )
        # To look at the outbox every second would take hundreds of times as long, at the log an hour.
        writing = statistics.median(answered[book_id] - at for book_id, at in sent.items())
        print(f"a write is answered after {milliseconds(writing)}")
        assert median < 40 * writing

    async def test_shows_on_a_thousand_watchers_of_one_process(self, system: System, person: Person) -> None:
        before = memory_of(system.grpc)
        async with AsyncExitStack() as stack:
            stubs = [await stack.enter_async_context(a_stub(system.grpc.address)) for _ in range(CONNECTIONS)]
            calls = await asyncio.gather(*(watch(stubs[place % CONNECTIONS], person) for place in range(WATCHERS)))
            each = (memory_of(system.grpc) - before) / WATCHERS
            spread: list[float] = []
            for _ in range(10):
                created = (await person.call("POST", "/books", json=A_BOOK)).json()
                answered = time.perf_counter()
                seen = await asyncio.gather(*(next_change(call) for call in calls))
                spread.append(time.perf_counter() - answered)
                assert {response.event.book.id for response in seen} == {created["id"]}
            after = (memory_of(system.grpc) - before) / WATCHERS
        print(
            f"{WATCHERS:,} watchers of one process: {each:.0f} KiB each, {after:.0f} when they have been told of 10 "
            f"changes; from the answered POST to the last of them {milliseconds(statistics.median(spread))}"
        )


class TestOneProcessForAll:
    @pytest.fixture
    def colophon(self, workspace: Workspace) -> Iterator[Colophon]:
        with Colophon(workspace) as colophon:
            yield colophon

    async def test_shows_changes_too(self, colophon: Colophon) -> None:
        async with (
            httpx.AsyncClient(base_url=colophon.url, timeout=PATIENCE) as client,
            a_stub(colophon.address) as stub,
        ):
            person = await Person.register(client)
            await person.sign_in()
            call = await watch(stub, person)
            created = (await person.call("POST", "/books", json=A_BOOK)).json()
            assert (await next_change(call)).event.book.id == created["id"]


def memory_of(service: Any) -> int:
    """What a process has in memory, in KiB."""
    status = Path(f"/proc/{service._process.pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1])
