"""Reads from a replica, on two real servers of which one follows the other."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import LiteralString
from uuid import UUID

import psycopg
import pytest
from book_db.book import BookPatch
from book_db.books.cache import NoCache
from book_db.books.catalogue import Catalogue
from book_db.errors import BookNotFound, DatabaseOverloaded, DatabaseUnavailable
from book_db.events.outbox import OutboxNotifier
from book_db.migrations import upgrade
from book_db.postgres import replica as replica_module
from book_db.postgres.connector import REPLICA
from book_db.postgres.database import Database
from book_db.postgres.replica import ReplicaReads
from book_db.settings import StoreSettings
from book_db.store import open_store
from book_runtime.settings import load
from book_runtime.tokens import TokenVerifier
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from prometheus_client import REGISTRY
from structlog.testing import capture_logs
from support.data_layer import StatementsOf, a_draft, statements_sent_to
from support.ports import free_port
from support.postgresql import PostgreSQLReplica, PostgreSQLServer
from support.proxy import Proxy
from support.waiting import patiently, until
from support.workspace import Workspace

OTHER_HISTORY = "it follows another database, or not yet the one that was promoted"
IS_REPLICA = "SELECT pg_is_in_recovery()"

AN_HOUR = 3_600
"""Seconds, in which no test ends by itself."""

HELD = (
    "SELECT pg_is_in_recovery() FROM pg_advisory_xact_lock(0)",
    "SELECT pg_is_in_recovery() FROM pg_advisory_xact_lock(1)",
)
"""Statements that wait on the replica as long as somebody holds these locks there, and on the primary do not."""


def _available() -> float | None:
    return REGISTRY.get_sample_value("colophon_replica_available", {"replica": "postgresql"})


def _reads(server: str) -> float:
    return REGISTRY.get_sample_value("colophon_replica_reads_total", {"answered_by": server}) or 0


@contextmanager
def a_primary(workspace: Workspace) -> Iterator[PostgreSQLServer]:
    """One that keeps a write-ahead log for others to follow, who try again at once when they have lost it."""
    # Whatever the others have not read yet must be there: a checkpoint, as every new database takes, throws it away.
    with PostgreSQLServer(workspace, settings=("full_page_writes=off", "wal_keep_size=1GB")) as server:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET wal_retrieve_retry_interval = '50ms'")
        upgrade(server.url)
        yield server


@pytest.fixture(scope="module")
def primary(workspace: Workspace) -> Iterator[PostgreSQLServer]:
    with a_primary(workspace) as server:
        yield server


@pytest.fixture(scope="module")
def follower(primary: PostgreSQLServer) -> Iterator[PostgreSQLReplica]:
    with primary.replica() as server:
        yield server


@pytest.fixture
def another(workspace: Workspace) -> Iterator[PostgreSQLServer]:
    """A primary that is a stranger to the other one."""
    with a_primary(workspace) as server:
        yield server


@pytest.fixture
def follower_of_another(another: PostgreSQLServer) -> Iterator[PostgreSQLReplica]:
    with another.replica() as server:
        yield server


@pytest.fixture
def name(primary: PostgreSQLServer) -> Iterator[str]:
    """That of a database of the test's own, on both servers soon."""
    name = primary.create_database(template="postgres")
    yield name
    primary.drop_database(name)


@pytest.fixture
async def database(primary: PostgreSQLServer, name: str) -> AsyncIterator[Database]:
    database = Database.open(primary.url_of(name))
    yield database
    await database.close()


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks at the replica twenty times a second; and however busy the machine is, it comes as far in time."""
    monkeypatch.setattr(replica_module, "_PROBE_SECONDS", 0.05)
    monkeypatch.setattr(replica_module, "_PROBE_TIMEOUT_SECONDS", AN_HOUR)
    monkeypatch.setattr(replica_module, "_CATCH_UP_SECONDS", AN_HOUR)


async def until_it_is_read() -> None:
    await until(lambda: _available() == 1, "the replica is read")


async def until_it_is_left() -> None:
    await until(lambda: _available() == 0, "the replica is left")


async def until_it_was_looked_at(database: Database) -> None:
    """From now on, from the beginning to the end."""
    with statements_sent_to(database) as statements:
        await until(lambda: statements.count(replica_module._FLUSHED) > 2, "the replica was looked at")


@pytest.fixture
async def reads(
    database: Database, follower: PostgreSQLReplica, name: str, quickly: None
) -> AsyncIterator[ReplicaReads]:
    """When the replica is read."""
    async with ReplicaReads.open(follower.url_of(name), database, statement_timeout=AN_HOUR) as reads:
        await until_it_is_read()
        yield reads


@pytest.fixture
def holder(reads: ReplicaReads, follower: PostgreSQLReplica, name: str) -> Iterator[psycopg.Connection]:
    """On the replica, where it holds the locks."""
    with psycopg.connect(follower.url_of(name), autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(0), pg_advisory_lock(1)")
        yield connection


def waiting(holder: psycopg.Connection) -> list[tuple[int, int]]:
    """Those who wait for a lock: their backends, and for which."""
    return holder.execute(
        "SELECT pid, CAST(objid AS integer) FROM pg_locks WHERE NOT granted ORDER BY objid"
    ).fetchall()


@asynccontextmanager
async def a_catalogue(database: Database, reads: ReplicaReads) -> AsyncIterator[Catalogue]:
    notifier = OutboxNotifier(database)
    yield Catalogue(database, NoCache(), notifier, reads)
    await notifier.close()


@pytest.fixture
async def catalogue(database: Database, reads: ReplicaReads) -> AsyncIterator[Catalogue]:
    async with a_catalogue(database, reads) as catalogue:
        yield catalogue


async def is_by_replica(reads: ReplicaReads) -> bool:
    [[answer]] = await reads.fetch(IS_REPLICA, {})
    return bool(answer)


class TestAReplicaThatFollows:
    async def test_is_read(self, reads: ReplicaReads) -> None:
        before = _reads("replica")
        assert await is_by_replica(reads)
        assert _reads("replica") == before + 1

    async def test_answers_with_what_was_just_written(self, catalogue: Catalogue, actor: UUID) -> None:
        by_replica = _reads("replica")
        book = await catalogue.add(a_draft(), actor)
        for number in range(200):
            book = await catalogue.change(book.id, BookPatch.only(title=f"Draft {number}"), actor)
            assert await catalogue.get(book.id) == book
            [listed] = (await catalogue.page()).books
            assert listed == book
        assert await catalogue.count() == 1
        await catalogue.remove(book.id, actor)
        with pytest.raises(BookNotFound):
            await catalogue.get(book.id)
        assert _reads("replica") - by_replica > 100

    async def test_shows_each_reader_every_answered_write(self, catalogue: Catalogue, actor: UUID) -> None:
        """Many read while one writes: what was answered before a read began is in what it reads."""
        book = await catalogue.add(a_draft(), actor)
        known = book.version

        async def write() -> None:
            nonlocal known
            for number in range(100):
                changed = await catalogue.change(book.id, BookPatch.only(title=f"Draft {number}"), actor)
                known = changed.version

        async def read(writing: asyncio.Task[None]) -> None:
            while not writing.done():
                at_least = known
                assert (await catalogue.get(book.id)).version >= at_least

        async with asyncio.TaskGroup() as tasks:
            writing = tasks.create_task(write())
            for _ in range(8):
                tasks.create_task(read(writing))
        assert known == 101

    async def test_spares_the_primary_all_but_its_position(
        self, database: Database, catalogue: Catalogue, actor: UUID, statements_of: StatementsOf
    ) -> None:
        books = await catalogue.add_many([a_draft()] * 20, actor)
        with statements_of(database) as statements:
            for book in books:
                assert await catalogue.get(book.id) == book
            assert (await catalogue.page()).books == books
        assert set(statements) == {replica_module._FLUSHED}

    async def test_that_is_behind_leaves_the_answer_to_the_primary(
        self,
        catalogue: Catalogue,
        reads: ReplicaReads,
        follower: PostgreSQLReplica,
        actor: UUID,
    ) -> None:
        book = await catalogue.add(a_draft(), actor)
        with capture_logs() as logs:
            with follower.falling_behind(), pytest.MonkeyPatch.context() as briefly:
                briefly.setattr(replica_module, "_CATCH_UP_SECONDS", 0.02)
                for number in range(3):
                    book = await catalogue.change(book.id, BookPatch.only(title=f"Draft {number}"), actor)
                    assert await catalogue.get(book.id) == book
                await until_it_is_left()
                assert not await is_by_replica(reads)
            await until_it_is_read()
        assert await is_by_replica(reads)
        assert await catalogue.get(book.id) == book
        assert [(entry["event"], entry.get("reason")) for entry in logs] == [
            ("outage of the replica of PostgreSQL: the primary is read", "it is behind"),
            ("outage of the replica of PostgreSQL is over", None),
        ]


class TestAReplicaThatIsAway:
    async def test_is_not_waited_for_at_the_start(self, database: Database, name: str) -> None:
        url = f"postgresql://postgres:secret@127.0.0.1:{free_port()}/{name}"
        with capture_logs() as logs:
            async with ReplicaReads.open(url, database) as reads:
                assert not await is_by_replica(reads)
                await until(lambda: logs, "it is noticed")
                assert not await is_by_replica(reads)
        [complaint] = logs
        assert complaint["event"] == "outage of the replica of PostgreSQL: the primary is read"
        assert "secret" not in str(complaint)

    async def test_that_hangs_is_left_with_all_that_it_was_asked(
        self, database: Database, follower: PostgreSQLReplica, name: str, quickly: None
    ) -> None:
        async with Proxy(follower.port) as network:
            url = follower.url_of(name).replace(f":{follower.port}/", f":{network.port}/")
            async with ReplicaReads.open(url, database) as reads:
                await until_it_is_read()
                assert await is_by_replica(reads)
                with pytest.MonkeyPatch.context() as briefly:
                    briefly.setattr(replica_module, "_PROBE_TIMEOUT_SECONDS", 0.3)
                    await until_it_was_looked_at(database)
                    network.black_hole()
                    asking = [asyncio.create_task(is_by_replica(reads)) for _ in range(3)]
                    assert await patiently(asyncio.gather(*asking), "it is left") == [False] * 3
                assert await patiently(is_by_replica(reads), "the primary is asked") is False
                await network.heal()
                await until_it_is_read()
                assert await is_by_replica(reads)

    async def test_is_left_when_it_never_was_one(
        self, database: Database, primary: PostgreSQLServer, name: str, quickly: None
    ) -> None:
        with capture_logs() as logs:
            async with ReplicaReads.open(primary.url_of(name), database) as reads:
                await until(lambda: logs, "it is noticed")
                assert not await is_by_replica(reads)
        assert [entry["reason"] for entry in logs] == ["it is no replica"]


class TestAReplicaThatEnds:
    @pytest.fixture
    def follower(self, primary: PostgreSQLServer) -> Iterator[PostgreSQLReplica]:
        """For one test alone."""
        with primary.replica() as server:
            yield server

    async def test_that_is_killed_is_not_missed(
        self,
        reads: ReplicaReads,
        catalogue: Catalogue,
        follower: PostgreSQLReplica,
        holder: psycopg.Connection,
        actor: UUID,
    ) -> None:
        book = await catalogue.add(a_draft(), actor)
        asking = [asyncio.create_task(reads.fetch(HELD[0], {})) for _ in range(3)]
        await until(lambda: len(waiting(holder)) == 3, "the replica is asked")
        follower.kill()
        assert await patiently(asyncio.gather(*asking), "they are answered") == [[(False,)]] * 3
        for _ in range(5):
            assert await catalogue.get(book.id) == book
        assert not await is_by_replica(reads)
        await until_it_is_left()
        follower.start()
        await until_it_is_read()
        assert await is_by_replica(reads)

    async def test_that_was_promoted_is_a_replica_no_more(
        self, reads: ReplicaReads, catalogue: Catalogue, follower: PostgreSQLReplica, actor: UUID
    ) -> None:
        follower.promote()
        await until_it_is_left()
        book = await catalogue.add(a_draft(), actor)
        assert await catalogue.get(book.id) == book
        assert not await is_by_replica(reads)


class TestAServerOfAnotherHistory:
    """Its position may be as far, and says nothing."""

    async def test_a_replica_of_another_database_is_not_read(
        self,
        primary: PostgreSQLServer,
        another: PostgreSQLServer,
        follower_of_another: PostgreSQLReplica,
        database: Database,
        quickly: None,
        actor: UUID,
    ) -> None:
        with psycopg.connect(another.url, autocommit=True) as ahead, psycopg.connect(primary.url) as ours:
            while _flushed(ahead) < _flushed(ours) + 10_000_000:
                ahead.execute("SELECT pg_logical_emit_message(false, 'more', repeat('x', 10000000))")
        with capture_logs() as logs:
            async with (
                ReplicaReads.open(follower_of_another.url, database) as reads,
                a_catalogue(database, reads) as books,
            ):
                await until(lambda: logs, "it is noticed")
                book = await books.add(a_draft(), actor)
                assert await books.get(book.id) == book
                assert not await is_by_replica(reads)
        assert [entry["reason"] for entry in logs] == [OTHER_HISTORY]

    async def test_one_that_is_ahead_of_the_promoted_one_is_not_read(
        self, workspace: Workspace, quickly: None, actor: UUID
    ) -> None:
        with a_primary(workspace) as first, first.replica() as heir, first.replica() as left:
            with psycopg.connect(first.url, autocommit=True) as old, psycopg.connect(heir.url) as new:
                await until(lambda: _replayed(new) >= _flushed(old), "it has come as far")
            heir.stop()
            with psycopg.connect(first.url, autocommit=True) as old, psycopg.connect(left.url) as new:
                old.execute("SELECT pg_logical_emit_message(false, 'lost', repeat('x', 1000000))")
                await until(lambda: _replayed(new) >= _flushed(old), "it has come as far")
            first.kill()
            heir.start()
            heir.promote()
            database = Database.open(heir.url)
            try:
                with capture_logs() as logs:
                    async with ReplicaReads.open(left.url, database) as reads, a_catalogue(database, reads) as books:
                        await until(lambda: logs, "it is noticed")
                        book = await books.add(a_draft(), actor)
                        assert await books.get(book.id) == book
                        assert not await is_by_replica(reads)
            finally:
                await database.close()
        assert [entry["reason"] for entry in logs] == [OTHER_HISTORY]


def _flushed(connection: psycopg.Connection) -> int:
    return _number(connection, "SELECT pg_current_wal_flush_lsn() - '0/0'")


def _replayed(connection: psycopg.Connection) -> int:
    return _number(connection, "SELECT pg_last_wal_replay_lsn() - '0/0'")


def _number(connection: psycopg.Connection, query: LiteralString) -> int:
    row = connection.execute(query).fetchone()
    assert row
    return int(row[0])


class TestAReplicaThatAnswersWrongly:
    async def test_one_whose_tables_may_not_be_read_is_left(
        self,
        primary: PostgreSQLServer,
        follower: PostgreSQLReplica,
        database: Database,
        name: str,
        quickly: None,
    ) -> None:
        with psycopg.connect(primary.url, autocommit=True) as connection:
            connection.execute("CREATE ROLE stranger LOGIN PASSWORD 'secret'")
        with psycopg.connect(follower.url, autocommit=True) as connection:
            role = "SELECT FROM pg_roles WHERE rolname = 'stranger'"
            await until(lambda: connection.execute(role).rowcount, "the replica knows the role")
        url = f"postgresql://stranger:secret@127.0.0.1:{follower.port}/{name}"
        with capture_logs() as logs:
            async with ReplicaReads.open(url, database) as reads, a_catalogue(database, reads) as books:
                await until(lambda: logs, "it is noticed")
                assert (await books.page()).books == []
        [complaint] = logs
        assert "permission denied" in complaint["reason"]

    async def test_a_statement_that_fails_only_there_goes_to_the_primary_and_other_reads_stay(
        self, reads: ReplicaReads, holder: psycopg.Connection
    ) -> None:
        """Such as one that kept the replica from following."""
        with capture_logs() as logs:
            ended, beside = (asyncio.create_task(reads.fetch(statement, {})) for statement in HELD)
            await until(lambda: len(waiting(holder)) == 2, "the replica is asked both")
            [(backend, _), _] = waiting(holder)
            holder.execute("SELECT pg_terminate_backend(%s)", (backend,))
            assert await patiently(ended, "the primary has answered") == [(False,)]
            assert not beside.done()
            holder.execute("SELECT pg_advisory_unlock_all()")
            assert await patiently(beside, "the replica has answered") == [(True,)]
        assert logs == []
        assert await is_by_replica(reads)

    async def test_a_statement_that_is_wrong_is_an_error(self, reads: ReplicaReads) -> None:
        with pytest.raises(psycopg.errors.DivisionByZero):
            await reads.fetch("SELECT 1 / 0", {})
        assert await is_by_replica(reads)


class TestAReader:
    async def test_that_gives_up_leaves_no_statement_behind(
        self, reads: ReplicaReads, holder: psycopg.Connection
    ) -> None:
        reading = asyncio.create_task(reads.fetch(HELD[0], {}))
        await until(lambda: waiting(holder), "the replica is asked")
        reading.cancel()
        await until(lambda: not waiting(holder), "the statement has ended")
        assert await is_by_replica(reads)

    async def test_is_told_of_a_statement_that_takes_too_long_and_the_primary_is_spared_it(
        self,
        database: Database,
        follower: PostgreSQLReplica,
        name: str,
        quickly: None,
        monkeypatch: pytest.MonkeyPatch,
        statements_of: StatementsOf,
    ) -> None:
        url = follower.url_of(name)
        patient = Database.open(url, target=REPLICA)
        async with ReplicaReads.open(url, database, statement_timeout=0.3) as reads:
            # Those who read have little time, and not who looks, which might take longer on a machine that is busy.
            monkeypatch.setattr(reads, "_probe_pool", patient)
            await until_it_is_read()
            with statements_of(database) as statements, pytest.raises(DatabaseOverloaded):
                await patiently(reads.fetch("SELECT pg_sleep(3600)", {}), "it is told")
            assert set(statements) == {replica_module._FLUSHED}
            assert _available() == 1
        await patient.close()

    async def test_is_told_that_the_primary_is_away(
        self, another: PostgreSQLServer, follower_of_another: PostgreSQLReplica, quickly: None
    ) -> None:
        """Nobody knows then what was written last."""
        database = Database.open(another.url)
        async with ReplicaReads.open(follower_of_another.url, database) as reads:
            await until_it_is_read()
            assert await is_by_replica(reads)
            another.kill()
            with pytest.raises(DatabaseUnavailable):
                await reads.fetch(IS_REPLICA, {})
            another.start()
            # Until the replica has found the primary again, it is behind.
            await until(lambda: is_by_replica(reads), "the replica is read again")
        await database.close()

    async def test_that_takes_all_connections_does_not_make_the_replica_look_dead(
        self, database: Database, follower: PostgreSQLReplica, name: str, quickly: None, holder: psycopg.Connection
    ) -> None:
        async with ReplicaReads.open(follower.url_of(name), database, pool_size=1) as reads:
            await until_it_is_read()
            reading = asyncio.create_task(reads.fetch(HELD[0], {}))
            await until(lambda: waiting(holder), "the replica is asked")
            await until_it_was_looked_at(database)
            assert _available() == 1
            holder.execute("SELECT pg_advisory_unlock_all()")
            assert await patiently(reading, "the replica has answered") == [(True,)]


class TestTheEnd:
    async def test_waits_for_what_was_asked_of_the_primary(
        self, database: Database, follower: PostgreSQLReplica, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked = asyncio.Event()

        async def ask(_reads: ReplicaReads, _keys: object) -> None:
            asked.set()
            try:
                await asyncio.Event().wait()
            finally:
                for _ in range(100):  # as with a statement, which is over when PostgreSQL says so
                    await asyncio.sleep(0)

        monkeypatch.setattr(ReplicaReads, "_primary_position", ask)
        before = asyncio.all_tasks()
        async with ReplicaReads.open(follower.url_of(name), database):
            await patiently(asked.wait(), "the primary is asked for its position")
        assert asyncio.all_tasks() == before


class TestAStoreWithAReplica:
    async def test_reads_books_there_and_leaves_no_task_behind(
        self, primary: PostgreSQLServer, follower: PostgreSQLReplica, name: str, quickly: None
    ) -> None:
        before = asyncio.all_tasks()
        key = Ed25519PrivateKey.generate().public_key()
        verifier = TokenVerifier(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        settings = load(StoreSettings, database_url=primary.url_of(name), database_replica_url=follower.url_of(name))
        async with open_store(settings, verifier, name="a-test") as store:
            await until_it_is_read()
            by_replica = _reads("replica")
            assert (await store.catalogue.page()).books == []
            with pytest.raises(BookNotFound):
                await store.catalogue.get(1)
            assert _reads("replica") == by_replica + 2
        assert asyncio.all_tasks() == before
        for server in (primary, follower):
            with psycopg.connect(server.url_of(name), autocommit=True) as connection:
                await until(partial(_is_left_alone, connection), "every connection is closed")


def _is_left_alone(connection: psycopg.Connection) -> bool:
    return not connection.execute("SELECT FROM pg_stat_activity WHERE application_name = 'a-test'").rowcount
