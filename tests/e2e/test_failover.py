"""`colophon run` while PostgreSQL fails over, behind a proxy and with two hosts in its address."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import grpc
import httpx
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from support.people import Person
from support.postgresql import PostgreSQLReplica, PostgreSQLServer
from support.proxy import Proxy
from support.services import Colophon
from support.waiting import PATIENCE, until
from support.workspace import Workspace

A_BOOK = {"title": "Middlemarch", "author": "George Eliot", "publication_date": "1871-12-01"}


@pytest.fixture(scope="class")
def primary(workspace: Workspace) -> Iterator[PostgreSQLServer]:
    with PostgreSQLServer(workspace, settings=("full_page_writes=off", "wal_keep_size=1GB")) as server:
        yield server


@pytest.fixture(scope="class")
def standby(primary: PostgreSQLServer) -> Iterator[PostgreSQLReplica]:
    with primary.replica() as server:
        yield server


@asynccontextmanager
async def a_colophon(workspace: Workspace, url: str) -> AsyncIterator[Colophon]:
    """Started beside the event loop, in which the proxy is that it starts with."""
    colophon = Colophon(workspace, {"DATABASE_URL": url, "NOTICE_SECONDS": "0"})
    try:
        await asyncio.to_thread(colophon.start)
        yield colophon
    finally:
        colophon.dispose()


@asynccontextmanager
async def somebody_of(colophon: Colophon) -> AsyncIterator[Person]:
    async with httpx.AsyncClient(base_url=colophon.url, timeout=PATIENCE) as client:
        person = await Person.register(client)
        await person.sign_in()
        yield person


async def is_ready(colophon: Colophon) -> bool:
    async with httpx.AsyncClient(base_url=colophon.url, timeout=PATIENCE) as client:
        return (await client.get("/healthz/ready")).status_code == 200


async def writes(person: Person) -> int:
    """The id of a new book, or 0."""
    answer = await person.call("POST", "/books", json=A_BOOK)
    assert answer.status_code in (201, 503), answer.text
    return int(answer.json().get("id", 0))


async def is_told_to_come_back(person: Person) -> None:
    answer = await person.call("POST", "/books", json=A_BOOK)
    assert (answer.status_code, answer.headers.get("retry-after")) == (503, "1"), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


class TestAFailoverBehindAProxy:
    async def test_is_waited_out(
        self, workspace: Workspace, primary: PostgreSQLServer, standby: PostgreSQLReplica
    ) -> None:
        async with Proxy(primary.port) as proxy:
            url = primary.url.replace(f":{primary.port}/", f":{proxy.port}/")
            async with a_colophon(workspace, url) as colophon, somebody_of(colophon) as person:
                assert await writes(person)
                proxy.lead_to(standby.port)
                proxy.drop()
                await until(lambda: is_not_ready(colophon), "it is not ready")
                await until(lambda: does_not_serve(colophon), "gRPC does not serve")
                await is_told_to_come_back(person)
                primary.stop()
                standby.promote()
                await until(lambda: is_ready(colophon), "it is ready again")
                await serves_as_before(colophon, person)


class TestAFailoverBetweenTwoHosts:
    async def test_is_waited_out(
        self, workspace: Workspace, primary: PostgreSQLServer, standby: PostgreSQLReplica
    ) -> None:
        url = primary.url.replace(f"127.0.0.1:{primary.port}", f"127.0.0.1:{primary.port},127.0.0.1:{standby.port}")
        async with a_colophon(workspace, url) as colophon, somebody_of(colophon) as person:
            assert await writes(person)
            primary.stop()
            await until(lambda: is_not_ready(colophon), "it is not ready")
            await until(lambda: does_not_serve(colophon), "gRPC does not serve")
            await is_told_to_come_back(person)
            standby.promote()
            await until(lambda: is_ready(colophon), "it is ready again")
            await serves_as_before(colophon, person)


async def is_not_ready(colophon: Colophon) -> bool:
    return not await is_ready(colophon)


async def does_not_serve(colophon: Colophon) -> bool:
    return await health_of(colophon) == HealthCheckResponse.NOT_SERVING


async def serves(colophon: Colophon) -> bool:
    return await health_of(colophon) == HealthCheckResponse.SERVING


async def health_of(colophon: Colophon) -> int:
    async with grpc.aio.insecure_channel(colophon.address) as channel:
        answer: HealthCheckResponse = await HealthStub(channel).Check(HealthCheckRequest())  # type: ignore[attr-defined]  # not in its stubs
        return answer.status


async def serves_as_before(colophon: Colophon, person: Person) -> None:
    """Writes, tells of them, and hears who has signed out."""
    await until(lambda: serves(colophon), "gRPC serves")
    book_id = await until(lambda: writes(person), "it is written")
    await until(lambda: f"book.created  book {book_id} v1" in colophon.output, "the event is told")
    again = "outage of PostgreSQL's notifications is over"
    await until(lambda: again in colophon.output, "the listener is back")
    assert (await person.call("GET", f"/books/{book_id}")).status_code == 200
    assert colophon.is_running
    assert "Traceback" not in colophon.output
    assert await asyncio.to_thread(colophon.terminate) == 0
