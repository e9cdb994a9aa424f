"""What holds for the system as a whole: separate processes, real servers, real books."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from book_contracts import Book, BookServiceStub, GetBookRequest, ListBooksRequest
from grpclib import GRPCError, Status
from grpclib.client import Channel
from support.people import Person, refresh
from support.rabbitmq import RabbitMQServer

A_BOOK = {"title": "Middlemarch", "author": "George Eliot", "publication_date": "1871-12-01"}
LOADED = 20_868


@asynccontextmanager
async def calling(address: str, token: str) -> AsyncIterator[BookServiceStub]:
    host, _, port = address.partition(":")
    async with Channel(host, int(port)) as channel:
        yield BookServiceStub(channel, metadata={"authorization": f"Bearer {token}"})


def logged(url: str) -> list[tuple[Any, ...]]:
    """Kind, book, version and actor of each event in the log, in order."""
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT kind, book_id, version, actor FROM event_log ORDER BY position").fetchall()


def how_many_logged(url: str) -> int:
    with psycopg.connect(url) as connection:
        [count] = connection.execute("SELECT count(*) FROM event_log").fetchone() or [0]
        return int(count)


async def until(condition: Callable[[], bool], within: float = 20) -> None:
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.02)


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
    async def test_goes_all_the_way(self, system: Any, person: Person) -> None:
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

        await until(lambda: len(system.grpc.events) == 3)
        actor = str(person.id)
        assert logged(system.database_url) == [
            ("created", created["id"], 1, actor),
            ("updated", created["id"], 2, actor),
            ("deleted", created["id"], 3, actor),
        ]
        for line, kind, version in zip(system.grpc.events, ("created", "updated", "deleted"), (1, 2, 3), strict=True):
            for word in (f"book.{kind}", f"book {created['id']} v{version}", actor, "George Eliot"):
                assert word in line

    async def test_is_logged_with_the_trace_of_its_request(self, system: Any, person: Person) -> None:
        trace = "0af7651916cd43dd8448eb211c80319c"
        async with httpx.AsyncClient(base_url=system.rest.url) as client:
            headers = {"authorization": f"Bearer {person.token}", "traceparent": f"00-{trace}-b7ad6b7169203331-01"}
            assert (await client.post("/api/v1/books", json=A_BOOK, headers=headers)).status_code == 201
        await until(lambda: len(system.grpc.events) == 1)
        assert trace in system.grpc.events[0]

    async def test_waits_for_a_consumer_that_is_down(self, system: Any, person: Person) -> None:
        await person.call("POST", "/books", json=A_BOOK)
        await until(lambda: how_many_logged(system.database_url) == 1)
        assert system.grpc.terminate() == 0
        for _ in range(20):
            assert (await person.call("PATCH", "/books/1", json={"title": "Romola"})).status_code == 200
        system.grpc.start()
        await until(lambda: how_many_logged(system.database_url) == 21)
        assert [(book, version) for _, book, version, _ in logged(system.database_url)] == [
            (1, version) for version in range(1, 22)
        ]

    async def test_survives_processes_that_are_killed(self, system: Any, person: Person) -> None:
        answered = 0
        for service in (system.relay, system.grpc, system.rest):
            for _ in range(20):
                answered += (await person.call("POST", "/books", json=A_BOOK)).status_code == 201
            service.kill()
            service.start()
        await until(lambda: how_many_logged(system.database_url) == 60)
        assert answered == 60
        assert sorted(book for _, book, _, _ in logged(system.database_url)) == list(range(1, 61))


class TestAUserWhoIsOut:
    async def test_is_out_on_both_services_at_once(self, system: Any, person: Person) -> None:
        await person.call("POST", "/books", json=A_BOOK)
        async with calling(system.grpc.address, person.token) as service:
            await service.get_book(GetBookRequest(id=1))
            assert (await person.call("POST", "/auth/logout")).status_code == 204
            assert (await person.call("GET", "/books")).status_code == 401
            # The other process hears it from PostgreSQL, within a fraction of the seconds for which it remembers.
            await asyncio.sleep(0.2)
            with pytest.raises(GRPCError) as refused:
                await service.get_book(GetBookRequest(id=1))
        assert refused.value.status is Status.UNAUTHENTICATED

    async def test_is_out_on_both_when_a_refresh_token_comes_again(self, system: Any, person: Person) -> None:
        stolen = person.refresh_token
        await person.refresh()
        async with calling(system.grpc.address, person.token) as service:
            await service.list_books(ListBooksRequest())
            async with httpx.AsyncClient(base_url=system.rest.url) as thief:
                assert (await refresh(thief, stolen)).status_code == 400
            assert (await person.call("GET", "/books")).status_code == 401
            await asyncio.sleep(0.2)
            with pytest.raises(GRPCError) as refused:
                await service.list_books(ListBooksRequest())
        assert refused.value.status is Status.UNAUTHENTICATED


class TestAProgram:
    async def test_reads_on_both_services_until_its_token_is_removed(self, system: Any, person: Person) -> None:
        new = {"name": "reader", "scopes": ["books:read"]}
        made = (await person.call("POST", "/users/me/tokens", json=new)).json()
        async with calling(system.grpc.address, made["token"]) as service:
            assert (await person.call("GET", "/books", token=made["token"])).status_code == 200
            await service.list_books(ListBooksRequest())
            assert (await person.call("DELETE", f"/users/me/tokens/{made['id']}")).status_code == 204
            assert (await person.call("GET", "/books", token=made["token"])).status_code == 401
            await asyncio.sleep(0.2)
            with pytest.raises(GRPCError) as refused:
                await service.list_books(ListBooksRequest())
        assert refused.value.status is Status.UNAUTHENTICATED


class TestAnImport:
    @pytest.fixture
    def broker_url(self, own_rabbitmq: RabbitMQServer) -> str:
        return own_rabbitmq.url

    async def test_of_a_real_data_set_loses_nothing_with_the_broker_down(
        self, system: Any, person: Person, own_rabbitmq: RabbitMQServer, british_library: Path
    ) -> None:
        await asyncio.to_thread(own_rabbitmq.stop)
        began = time.monotonic()
        importing = await asyncio.create_subprocess_exec(
            *(Path(sys.executable).with_name("colophon"), "import", british_library, "--url", system.rest.url),
            *("--author", "first_author", "--date", "date", "--default-author", "Unknown"),
            env=os.environ | {"COLOPHON_EMAIL": person.email, "COLOPHON_PASSWORD": person.password},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        report = (await importing.communicate())[0].decode()
        assert importing.returncode == 0, report
        assert "20,868 loaded" in report
        assert "124 refused" in report
        assert logged(system.database_url) == []
        print(f"{LOADED / (time.monotonic() - began):,.0f} books/s imported with the broker down")

        await asyncio.to_thread(own_rabbitmq.start)
        began = time.monotonic()
        await until(lambda: how_many_logged(system.database_url) >= LOADED, within=60)
        print(f"{LOADED / (time.monotonic() - began):,.0f} events/s logged when it was back")

        ids = await all_over_rest(person)
        books = await all_over_grpc(system.grpc.address, person.token)
        events = logged(system.database_url)
        assert len(ids) == LOADED
        assert [book.id for book in books] == ids
        # One event each, in the order of the books, all of version 1 and by the one who imported.
        assert [book for _, book, _, _ in events] == ids
        assert {(kind, version, actor) for kind, _, version, actor in events} == {("created", 1, str(person.id))}
        assert len(system.grpc.events) == LOADED
