"""What is asked for once is done once, though the service is killed while it does it."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest
from support.people import Person
from support.services import RestApi
from support.waiting import PATIENCE, until
from support.workspace import Workspace

from .conftest import Library

A_BOOK = {"title": "Middlemarch", "author": "George Eliot", "publication_date": "1871-12-01"}
A_KEY = {"Idempotency-Key": '"8e03978e-40d5-43dd-bc93-6894a57f9324"'}
MAX_CONCURRENT = 50


@pytest.fixture
def rest(workspace: Workspace, database_url: str, keys: dict[str, str]) -> Iterator[RestApi]:
    """The REST service, without a relay: every event stays in the outbox."""
    with RestApi(workspace, {"DATABASE_URL": database_url, **keys}) as service:
        yield service


def counted(database_url: str) -> tuple[int, int]:
    """Books and events."""
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT (SELECT count(*) FROM books), (SELECT count(*) FROM outbox)").fetchone()
        assert row
        return row[0], row[1]


def is_left_alone(database_url: str) -> bool:
    """Whether nobody else is connected, be it to finish what somebody asked for who was killed since."""
    others = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND backend_type = 'client backend'"
    )
    with psycopg.connect(database_url) as connection:
        return connection.execute(others).fetchone() == (0,)


class Crowd:
    """Many clients with one and the same request and one key. Each asks again until it has an answer."""

    def __init__(self, person: Person) -> None:
        self._person = person
        self._turn = asyncio.Semaphore(MAX_CONCURRENT)
        self.sent = 0
        self.answers: list[httpx.Response] = []

    async def ask(self) -> None:
        async with self._turn:
            while True:
                self.sent += 1
                try:
                    answer = await self._person.call("POST", "/books", json=A_BOOK, headers=A_KEY)
                except httpx.TransportError:
                    await asyncio.sleep(0.2)
                else:
                    self.answers.append(answer)
                    return

    @property
    def replays(self) -> int:
        return sum("idempotent-replayed" in answer.headers for answer in self.answers)


class TestIdenticalRequests:
    @pytest.mark.parametrize("requests", [200, pytest.param(1_000, marks=pytest.mark.slow)])
    async def test_make_one_book_though_the_service_is_killed_twice(
        self, rest: RestApi, person: Person, database_url: str, requests: int
    ) -> None:
        crowd = Crowd(person)
        with psycopg.connect(database_url) as other:
            # Killed in the middle of the write: PostgreSQL goes on with it, and nobody hears how it ended.
            other.execute("LOCK TABLE outbox")
            asking = [asyncio.create_task(crowd.ask()) for _ in range(requests)]
            with psycopg.connect(database_url, autocommit=True) as watching:
                waiting = "SELECT count(*) >= 2 FROM pg_locks WHERE NOT granted"
                await until(lambda: watching.execute(waiting).fetchone() == (True,), "writes wait for the lock")
            rest.kill()
        await asyncio.to_thread(rest.start)
        # And among the replays.
        await until(lambda: len(crowd.answers) >= requests // 3, "a third has an answer")
        rest.kill()
        await asyncio.to_thread(rest.start)
        await asyncio.gather(*asking)

        rows, events = counted(database_url)
        print(
            f"{requests:,} identical requests, the service killed twice: sent {crowd.sent:,} times, "
            f"{len(crowd.answers):,} answers, {crowd.replays:,} of them replays; {rows} row, {events} event"
        )
        assert (rows, events) == (1, 1)
        assert {answer.status_code for answer in crowd.answers} == {201}
        assert len({answer.content for answer in crowd.answers}) == 1
        assert requests - 1 <= crowd.replays <= len(crowd.answers) == requests < crowd.sent


class TestAnImport:
    @staticmethod
    @contextmanager
    def importing(rest: RestApi, person: Person, library: Library) -> Iterator[subprocess.Popen[str]]:
        command = (Path(sys.executable).with_name("colophon"), "import", library.file, "--url", rest.url)
        with subprocess.Popen(
            [*command, "--author", "first_author", "--date", "date", "--default-author", "Unknown"],
            env=os.environ | {"COLOPHON_EMAIL": person.email, "COLOPHON_PASSWORD": person.password},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    @staticmethod
    async def has_loaded_a_part(database_url: str, library: Library) -> None:
        await until(lambda: counted(database_url)[0] >= library.loaded // 4, "a quarter of the books is loaded")

    async def test_goes_on_when_the_service_is_killed_and_comes_back(
        self, rest: RestApi, person: Person, database_url: str, british_library: Library
    ) -> None:
        with self.importing(rest, person, british_library) as importing:
            await self.has_loaded_a_part(database_url, british_library)
            rest.kill()
            # It is patient for a quarter of a minute, in which a busy machine may start nothing.
            importing.send_signal(signal.SIGSTOP)
            await asyncio.to_thread(rest.start)
            importing.send_signal(signal.SIGCONT)
            report, _ = await asyncio.to_thread(importing.communicate, timeout=PATIENCE)
        assert importing.returncode == (1 if british_library.refused else 0), report
        assert f"{british_library.loaded:,} loaded" in report
        assert counted(database_url) == (british_library.loaded, british_library.loaded)

    async def test_that_is_killed_with_the_service_doubles_nothing_when_it_is_run_again(
        self, rest: RestApi, person: Person, database_url: str, british_library: Library
    ) -> None:
        with self.importing(rest, person, british_library):
            await self.has_loaded_a_part(database_url, british_library)
            rest.kill()
        await until(lambda: is_left_alone(database_url), "PostgreSQL has finished what it was asked for")
        before, _ = counted(database_url)
        await asyncio.to_thread(rest.start)
        with self.importing(rest, person, british_library) as again:
            report, _ = await asyncio.to_thread(again.communicate, timeout=PATIENCE)
        print(f"{before:,} books loaded before the kill; the second run:\n{report}")
        assert again.returncode == (1 if british_library.refused else 0), report
        assert f"{british_library.loaded:,} loaded" in report
        assert f"{before:,} of them by an earlier attempt, and not again" in report
        assert counted(database_url) == (british_library.loaded, british_library.loaded)
