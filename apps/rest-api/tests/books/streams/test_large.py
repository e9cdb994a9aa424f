"""Many books through a real process: how fast, in how much memory, and what is left when somebody goes."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psycopg
import pytest
from support.people import Person
from support.postgresql import PostgreSQLServer
from support.services import RestApi
from support.streams import EXPORT, IMPORT, NDJSON, report_of, send, volumes
from support.waiting import PATIENCE, until
from support.workspace import Workspace

MIB = 2**20

# Without the indexes that no export looks at, they are made in a third of the time.
_MAKE = """
    INSERT INTO books (title, author, publication_date, created_at, updated_at)
    SELECT 'The collected letters and papers, volume ' || n, 'Author ' || n %% 5000, DATE '1800-01-01' + n %% 80000,
        now() + n * interval '1 second', now() + n * interval '2 seconds'
    FROM generate_series(1, %s) AS n
"""

_CHANGE_MUCH = """
    WITH deleted AS (DELETE FROM books WHERE id > {last} - 1000 OR id = 5000 RETURNING id)
    INSERT INTO books (title, author, publication_date) SELECT 'New', 'Nobody', '2026-01-01' FROM deleted RETURNING id
"""


@dataclass
class Service:
    """rest-api on many books, in a process of its own."""

    process: RestApi
    database_url: str
    books: int

    @property
    def memory(self) -> int:
        """Bytes that are in memory now."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        [kibibytes] = re.findall(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
        return int(kibibytes) * 1_024

    def query(self, statement: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            return connection.execute(statement.encode()).fetchall()

    @property
    def exports(self) -> int:
        """How many are running in the database."""
        running = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'colophon-export'"
        [[count]] = self.query(running)
        assert isinstance(count, int)
        return count


@dataclass
class Growth:
    """What a process takes more than before."""

    service: Service
    before: int = 0
    most: int = 0
    _samples: int = field(default=0)

    def __post_init__(self) -> None:
        self.before = self.most = self.service.memory

    def look(self) -> None:
        self._samples += 1
        if self._samples % 20 == 0:
            self.most = max(self.most, self.service.memory)

    @property
    def mib(self) -> float:
        return (self.most - self.before) / MIB


@pytest.fixture(
    scope="module",
    # The fewest that are several times as large as what memory may grow by.
    params=[pytest.param(200_000, id="200,000"), pytest.param(1_000_000, id="1,000,000", marks=pytest.mark.slow)],
)
def service(
    request: pytest.FixtureRequest,
    workspace: Workspace,
    postgresql: PostgreSQLServer,
    migrated_template: str,
    private_key_file: Path,
) -> Iterator[Service]:
    name = postgresql.create_database(template=migrated_template)
    url = postgresql.url_of(name)
    with psycopg.connect(url, autocommit=True) as connection:
        for [index] in connection.execute("SELECT indexname FROM pg_indexes WHERE tablename = 'books'").fetchall():
            if index != "books_pkey":
                connection.execute(f"DROP INDEX {index}".encode())
        connection.execute(_MAKE, (request.param,))
    environment = {"DATABASE_URL": url, "JWT_PRIVATE_KEY_FILE": str(private_key_file)}
    with RestApi(workspace, environment) as process:
        yield Service(process, url, request.param)
    postgresql.drop_database(name)


@pytest.fixture
async def person(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    """Someone who is signed in."""
    async with httpx.AsyncClient(base_url=service.process.url, timeout=PATIENCE) as client:
        person = await Person.register(client)
        client.headers["Authorization"] = f"Bearer {await person.sign_in()}"
        yield client


class TestALargeExport:
    async def test_takes_constant_memory_and_shows_one_moment(
        self, service: Service, person: httpx.AsyncClient
    ) -> None:
        (await person.get(EXPORT, params={"published_to": "1800-01-02"})).raise_for_status()  # what is loaded once
        growth, size, books, first, last = Growth(service), 0, 0, b"", b""
        began = time.perf_counter()
        async with person.stream("GET", EXPORT) as answer:
            async for block in answer.aiter_raw():
                if not first:
                    first = block
                    # Others write meanwhile, before its eyes and behind its back.
                    service.query(_CHANGE_MUCH.format(last=service.books))
                books += block.count(b"\n")
                size += len(block)
                last = block
                growth.look()
        seconds = time.perf_counter() - began
        print(f"{books:,} rows, {size / 1e6:,.1f} MB in {seconds:.1f} s: {books / seconds:,.0f} rows/s")
        print(f"memory of rest-api: {growth.before / MIB:.0f} MiB before, {growth.mib:.1f} MiB more at the most")
        assert books == service.books
        assert first.startswith(b'{"id":1,')
        assert last.splitlines()[-1].startswith(b'{"id":%d,' % service.books)
        assert growth.mib < 16

    async def test_that_fails_midway_has_no_end(self, service: Service, person: httpx.AsyncClient) -> None:
        async def fetch() -> None:
            async with person.stream("GET", EXPORT) as answer:
                assert answer.status_code == 200
                async for _ in answer.aiter_raw():
                    service.query(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE application_name = 'colophon-export'"
                    )

        with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
            await fetch()
        await until(lambda: "an export broke off" in service.process.output, "the log tells of it")
        assert "Traceback" not in service.process.output

    async def test_whose_client_has_gone_ends_in_the_database_too(
        self, service: Service, person: httpx.AsyncClient
    ) -> None:
        async with person.stream("GET", EXPORT) as answer:
            async for _ in answer.aiter_raw():
                break
            assert service.exports == 1
            # The client takes nothing just now, and so the service takes nothing from the database.
            growth = Growth(service)
            await asyncio.sleep(0.5)
            assert service.memory - growth.before < 4 * MIB
        await until(lambda: service.exports == 0, "no export runs")


class TestALargeImport:
    async def test_takes_constant_memory(self, service: Service, person: httpx.AsyncClient) -> None:
        await send(person, volumes(1, 1_000))  # what is loaded once
        growth, lines = Growth(service), 30_000

        async def upload() -> AsyncIterator[bytes]:
            for first in range(1, lines, 100):
                yield volumes(first, first + 98) + b"no book\n"
                growth.look()

        began = time.perf_counter()
        answer = await send(person, upload())
        seconds = time.perf_counter() - began
        report, summary = report_of(answer)
        print(f"{lines:,} lines in {seconds:.1f} s: {lines / seconds:,.0f} lines/s")
        print(f"memory of rest-api: {growth.before / MIB:.0f} MiB before, {growth.mib:.1f} MiB more at the most")
        assert [line["line"] for line in report] == list(range(1, lines + 1))
        assert summary == {"created": lines * 99 // 100, "refused": lines // 100}
        assert growth.mib < 16

    async def test_that_breaks_off_leaves_what_was_loaded(self, service: Service, person: httpx.AsyncClient) -> None:
        loaded = "SELECT count(*) FROM books WHERE title LIKE 'Broken-off volume%'"

        async def upload() -> AsyncIterator[bytes]:
            yield volumes(1, 1_200).replace(b"Volume", b"Broken-off volume")
            await until(lambda: service.query(loaded) == [(1_000,)], "the first thousand are loaded")
            raise ConnectionAbortedError

        with pytest.raises(ConnectionAbortedError):
            await person.post(IMPORT, content=upload(), headers={"Content-Type": NDJSON})
        await until(lambda: "an upload broke off" in service.process.output, "the log tells of it")
        assert service.query(loaded) == [(1_000,)]
        assert "Traceback" not in service.process.output
