"""What is asked for once is done once, though the service is killed while it does it."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
from support.people import Person
from support.services import RestApi
from support.workspace import Workspace

A_BOOK = {"title": "Middlemarch", "author": "George Eliot", "publication_date": "1871-12-01"}
A_KEY = {"Idempotency-Key": '"8e03978e-40d5-43dd-bc93-6894a57f9324"'}
REQUESTS = 1_000
AT_ONCE = 50
LOADED = 20_868


@pytest.fixture
def rest(workspace: Workspace, database_url: str, keys: dict[str, str]) -> Iterator[RestApi]:
    """The REST service, without a relay: every event stays in the outbox."""
    with RestApi(workspace, {"DATABASE_URL": database_url, **keys}) as service:
        yield service


@pytest.fixture
async def person(rest: RestApi) -> AsyncIterator[Person]:
    async with httpx.AsyncClient(base_url=rest.url, timeout=30) as client:
        person = await Person.register(client)
        await person.sign_in()
        yield person


def counted(database_url: str) -> tuple[int, int]:
    """Books and events."""
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT (SELECT count(*) FROM books), (SELECT count(*) FROM outbox)").fetchone()
        assert row
        return row[0], row[1]


async def until(condition: Callable[[], bool], within: float = 20) -> None:
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.02)


class Crowd:
    """Many clients with one and the same request and one key. Each asks again until it has an answer."""

    def __init__(self, person: Person) -> None:
        self._person = person
        self._turn = asyncio.Semaphore(AT_ONCE)
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


class TestAThousandIdenticalRequests:
    async def test_make_one_book_though_the_service_is_killed_twice(
        self, rest: RestApi, person: Person, database_url: str
    ) -> None:
        crowd = Crowd(person)
        with psycopg.connect(database_url) as other:
            # Killed in the middle of the write: PostgreSQL goes on with it, and nobody hears how it ended.
            other.execute("LOCK TABLE outbox")
            asking = [asyncio.create_task(crowd.ask()) for _ in range(REQUESTS)]
            watching = psycopg.connect(database_url, autocommit=True)
            waiting = "SELECT count(*) >= 2 FROM pg_locks WHERE NOT granted"
            await until(lambda: watching.execute(waiting).fetchone() == (True,))
            watching.close()
            rest.kill()
        await asyncio.to_thread(rest.start)
        # And among the replays.
        await until(lambda: len(crowd.answers) >= REQUESTS // 3)
        rest.kill()
        await asyncio.to_thread(rest.start)
        await asyncio.gather(*asking)

        rows, events = counted(database_url)
        print(
            f"{REQUESTS:,} identical requests, the service killed twice: sent {crowd.sent:,} times, "
            f"{len(crowd.answers):,} answers, {crowd.replays:,} of them replays; {rows} row, {events} event"
        )
        assert (rows, events) == (1, 1)
        assert {answer.status_code for answer in crowd.answers} == {201}
        assert len({answer.content for answer in crowd.answers}) == 1
        assert REQUESTS - 1 <= crowd.replays <= len(crowd.answers) == REQUESTS < crowd.sent


class TestAnImport:
    @staticmethod
    def importing(rest: RestApi, person: Person, file: Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [
                *(Path(sys.executable).with_name("colophon"), "import", file, "--url", rest.url),
                *("--author", "first_author", "--date", "date", "--default-author", "Unknown"),
            ],
            env=os.environ | {"COLOPHON_EMAIL": person.email, "COLOPHON_PASSWORD": person.password},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    async def test_goes_on_when_the_service_is_killed_and_comes_back(
        self, rest: RestApi, person: Person, database_url: str, british_library: Path
    ) -> None:
        importing = self.importing(rest, person, british_library)
        await until(lambda: counted(database_url)[0] >= LOADED // 4)
        rest.kill()
        await asyncio.to_thread(rest.start)
        report, _ = await asyncio.to_thread(importing.communicate, timeout=60)
        assert importing.returncode == 0, report
        assert "20,868 loaded" in report
        assert counted(database_url) == (LOADED, LOADED)

    async def test_that_is_killed_with_the_service_doubles_nothing_when_it_is_run_again(
        self, rest: RestApi, person: Person, database_url: str, british_library: Path
    ) -> None:
        importing = self.importing(rest, person, british_library)
        await until(lambda: counted(database_url)[0] >= LOADED // 4)
        rest.kill()
        importing.kill()
        await asyncio.to_thread(importing.communicate)
        await asyncio.to_thread(rest.start)
        before, _ = counted(database_url)
        again = self.importing(rest, person, british_library)
        report, _ = await asyncio.to_thread(again.communicate, timeout=60)
        print(f"{before:,} books loaded before the kill; the second run:\n{report}")
        assert again.returncode == 0, report
        assert "20,868 loaded" in report
        assert f"{before:,} of them by an earlier attempt, and not again" in report
        assert counted(database_url) == (LOADED, LOADED)
