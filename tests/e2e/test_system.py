"""What holds for the system as a whole: separate processes, real servers, real books."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from book_contracts import Book, BookServiceStub, GetBookRequest, ListBooksRequest
from grpclib import GRPCError, Status
from grpclib.client import Channel
from support.people import Person, refresh
from support.proxy import Proxy
from support.rabbitmq import RabbitMQServer
from support.redis import RedisServer
from support.waiting import PATIENCE, until
from support.workspace import Workspace

from .conftest import Library, System, running_system

A_BOOK = {"title": "Middlemarch", "author": "George Eliot", "publication_date": "1871-12-01"}


@asynccontextmanager
async def calling(address: str, token: str) -> AsyncIterator[BookServiceStub]:
    host, _, port = address.partition(":")
    async with Channel(host, int(port)) as channel:
        yield BookServiceStub(channel, metadata={"authorization": f"Bearer {token}"})


_LOG = "SELECT kind, book_id, version, actor FROM event_log WHERE actor = %s ORDER BY position"


def logged(url: str, person: Person) -> list[tuple[Any, ...]]:
    """Kind, book, version and actor of each event of theirs in the log, in order."""
    with psycopg.connect(url) as connection:
        return connection.execute(_LOG, [str(person.id)]).fetchall()


async def all_is_logged(url: str, person: Person, count: int) -> list[tuple[Any, ...]]:
    """The same, when there are so many."""
    await until(lambda: len(logged(url, person)) >= count, f"{count} events are in the log")
    return logged(url, person)


async def all_is_printed(system: System, person: Person, count: int) -> list[str]:
    """The lines of the console on what a person did, when there are so many."""
    told = f"actor {person.id}"

    def printed() -> list[str]:
        return [line for line in system.grpc.events if told in line]

    await until(lambda: len(printed()) >= count, f"{count} events are on the console")
    return printed()


async def is_out(call: Awaitable[object]) -> bool:
    try:
        await call
    except GRPCError as refused:
        return refused.status is Status.UNAUTHENTICATED
    return False


async def all_over_rest(person: Person) -> list[int]:
    """The ids of all books, page after page."""
    ids: list[int] = []
    parameters: dict[str, Any] = {"page_size": 1_000}
    while True:
        page = (await person.call("GET", "/books", params=parameters)).json()
        ids += [book["id"] for book in page["books"]]
        if page["next_page_token"] is None:
            return ids
        parameters["page_token"] = page["next_page_token"]


async def all_over_grpc(address: str, token: str) -> list[Book]:
    """All books, page after page."""
    books: list[Book] = []
    page_token = ""
    async with calling(address, token) as service:
        while True:
            page = await service.list_books(ListBooksRequest(page_size=1_000, page_token=page_token))
            books += page.books
            page_token = page.next_page_token
            if not page_token:
                return books


class TestAChange:
    async def test_goes_all_the_way(self, system: System, person: Person) -> None:
        created = (await person.call("POST", "/books", json=A_BOOK)).json()
        path = f"/books/{created['id']}"
        changed = (await person.call("PATCH", path, json={"title": "Romola"})).json()
        async with calling(system.grpc.address, person.token) as service:
            book = (await service.get_book(GetBookRequest(id=created["id"]))).book
            assert book is not None
            assert (book.title, book.author, book.version) == ("Romola", "George Eliot", 2)
            assert book.update_time is not None
            assert book.update_time.isoformat() == changed["updated_at"].replace("Z", "+00:00")
            assert (await person.call("DELETE", path)).status_code == 204
            with pytest.raises(GRPCError) as refused:
                await service.get_book(GetBookRequest(id=created["id"]))
        assert refused.value.status is Status.NOT_FOUND

        lines = await all_is_printed(system, person, 3)
        actor = str(person.id)
        assert logged(system.database_url, person) == [
            ("created", created["id"], 1, actor),
            ("updated", created["id"], 2, actor),
            ("deleted", created["id"], 3, actor),
        ]
        for line, kind, version in zip(lines, ("created", "updated", "deleted"), (1, 2, 3), strict=True):
            for word in (f"book.{kind}", f"book {created['id']} v{version}", "George Eliot"):
                assert word in line

    async def test_is_logged_with_the_trace_of_its_request(self, system: System, person: Person) -> None:
        trace = "0af7651916cd43dd8448eb211c80319c"
        headers = {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
        assert (await person.call("POST", "/books", json=A_BOOK, headers=headers)).status_code == 201
        [line] = await all_is_printed(system, person, 1)
        assert trace in line

    async def test_waits_for_a_consumer_that_is_down(self, system: System, person: Person) -> None:
        book = (await person.call("POST", "/books", json=A_BOOK)).json()["id"]
        await all_is_logged(system.database_url, person, 1)
        assert system.grpc.terminate() == 0
        for _ in range(20):
            assert (await person.call("PATCH", f"/books/{book}", json={"title": "Romola"})).status_code == 200
        await asyncio.to_thread(system.grpc.start)
        events = await all_is_logged(system.database_url, person, 21)
        assert [(book_id, version) for _, book_id, version, _ in events] == [(book, each) for each in range(1, 22)]

    async def test_survives_processes_that_are_killed(self, system: System, person: Person) -> None:
        books = []
        for service in (system.relay, system.grpc, system.rest):
            answers = [await person.call("POST", "/books", json=A_BOOK) for _ in range(20)]
            books += [answer.json()["id"] for answer in answers]
            service.kill()
            await asyncio.to_thread(service.start)
        events = await all_is_logged(system.database_url, person, 60)
        assert sorted(book for _, book, _, _ in events) == books


class TestAUserWhoIsOut:
    async def test_is_out_on_both_services_at_once(self, system: System, person: Person) -> None:
        async with calling(system.grpc.address, person.token) as service:
            await service.list_books(ListBooksRequest())
            assert (await person.call("POST", "/auth/logout")).status_code == 204
            assert (await person.call("GET", "/books")).status_code == 401
            # The other process hears it from PostgreSQL, and would remember them for an hour.
            await until(lambda: is_out(service.list_books(ListBooksRequest())), "they are out on the other one")

    async def test_is_out_on_both_when_a_refresh_token_comes_again(self, system: System, person: Person) -> None:
        stolen = person.refresh_token
        await person.refresh()
        async with calling(system.grpc.address, person.token) as service:
            await service.list_books(ListBooksRequest())
            async with httpx.AsyncClient(base_url=system.rest.url, timeout=PATIENCE) as thief:
                assert (await refresh(thief, stolen)).status_code == 400
            assert (await person.call("GET", "/books")).status_code == 401
            await until(lambda: is_out(service.list_books(ListBooksRequest())), "they are out on the other one")


class TestAProgram:
    async def test_reads_on_both_services_until_its_token_is_removed(self, system: System, person: Person) -> None:
        new = {"name": "reader", "scopes": ["books:read"], "current_password": person.password}
        made = (await person.call("POST", "/users/me/tokens", json=new)).json()
        async with calling(system.grpc.address, made["token"]) as service:
            assert (await person.call("GET", "/books", token=made["token"])).status_code == 200
            await service.list_books(ListBooksRequest())
            assert (await person.call("DELETE", f"/users/me/tokens/{made['id']}")).status_code == 204
            assert (await person.call("GET", "/books", token=made["token"])).status_code == 401
            await until(lambda: is_out(service.list_books(ListBooksRequest())), "it is out on the other one")


class TestAnImport:
    @pytest.fixture
    async def way_to_the_broker(self, rabbitmq: RabbitMQServer) -> AsyncIterator[Proxy]:
        async with Proxy(rabbitmq.port) as proxy:
            yield proxy

    @pytest.fixture
    async def system(
        self,
        workspace: Workspace,
        database_url: str,
        own_redis: RedisServer,
        amqp_url: str,
        rabbitmq: RabbitMQServer,
        way_to_the_broker: Proxy,
        keys: dict[str, str],
    ) -> AsyncIterator[System]:
        broker = amqp_url.replace(f":{rabbitmq.port}", f":{way_to_the_broker.port}")
        stores = {"DATABASE_URL": database_url, "REDIS_URL": own_redis.url, "AMQP_URL": broker}
        with ExitStack() as stopping:
            # Not in this thread, where the proxy is.
            yield await asyncio.to_thread(stopping.enter_context, running_system(workspace, stores | keys))

    async def test_of_a_real_data_set_loses_nothing_with_the_broker_down(
        self, system: System, person: Person, way_to_the_broker: Proxy, british_library: Library
    ) -> None:
        way_to_the_broker.refuse()
        way_to_the_broker.drop()
        began = time.monotonic()
        importing = await asyncio.create_subprocess_exec(
            *(Path(sys.executable).with_name("colophon"), "import", british_library.file, "--url", system.rest.url),
            *("--author", "first_author", "--date", "date", "--default-author", "Unknown"),
            env=os.environ | {"COLOPHON_EMAIL": person.email, "COLOPHON_PASSWORD": person.password},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        report = (await importing.communicate())[0].decode()
        assert importing.returncode == (1 if british_library.refused else 0), report
        loaded = british_library.loaded
        assert f"{loaded:,} loaded" in report
        assert f"{british_library.refused:,} refused" in report
        assert logged(system.database_url, person) == []
        print(f"{loaded / (time.monotonic() - began):,.0f} books/s imported with the broker down")

        await way_to_the_broker.heal()
        began = time.monotonic()
        events = await all_is_logged(system.database_url, person, loaded)
        print(f"{loaded / (time.monotonic() - began):,.0f} events/s logged when it was back")

        ids = await all_over_rest(person)
        books = await all_over_grpc(system.grpc.address, person.token)
        assert len(ids) == loaded
        assert [book.id for book in books] == ids
        # One event each, in the order of the books, all of version 1 and by the one who imported.
        assert [book for _, book, _, _ in events] == ids
        assert {(kind, version, actor) for kind, _, version, actor in events} == {("created", 1, str(person.id))}
        assert len(await all_is_printed(system, person, loaded)) == loaded
