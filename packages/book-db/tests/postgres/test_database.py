"""What failures of PostgreSQL mean, and what is repeated after them."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, suppress
from datetime import UTC, date, datetime
from types import SimpleNamespace
from uuid import UUID

import psycopg
import pytest
from book_db import migrations
from book_db.book import BookPatch
from book_db.books.cache import NoCache
from book_db.books.catalogue import Catalogue
from book_db.errors import ConnectionLost, DatabaseOverloaded, DatabaseUnavailable, NotCommitted, SchemaNotThere
from book_db.events.outbox import OutboxNotifier
from book_db.postgres import database as database_module
from book_db.postgres.database import Database, outage_of, retry_write
from book_runtime import outage as outage_module
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, ProgrammingError
from structlog.testing import capture_logs
from structlog.typing import EventDict
from support.data_layer import Query, StatementsOf, a_draft
from support.ports import free_port
from support.postgresql import PostgreSQLServer
from support.waiting import patiently, until

OUT = "outage of PostgreSQL: what needs it waits or is refused"
OTHERS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'colophon'"


class TestADatabaseThatIsAway:
    async def test_a_refused_connection_committed_nothing(self) -> None:
        database = Database.open(f"postgresql://postgres:secret@127.0.0.1:{free_port()}/books")
        for block in (database.statement, database.transaction):
            with pytest.raises(NotCommitted):
                async with block():
                    pytest.fail("there is no connection")
        with pytest.raises(DatabaseUnavailable):
            await database.ping()
        await database.close()

    async def test_the_error_says_nothing_of_the_password(self) -> None:
        database = Database.open(f"postgresql://postgres:secret@127.0.0.1:{free_port()}/books")
        with pytest.raises(NotCommitted) as failure:
            await database.ping()
        assert "refused" in str(failure.value.__cause__)
        assert "secret" not in f"{failure.value} {failure.value.__cause__}"
        await database.close()


class TestAnOutage:
    @pytest.fixture
    def said(self) -> Iterator[list[EventDict]]:
        with capture_logs() as logs:
            yield logs

    @pytest.fixture
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
        """Of outages. It stands still until ``now`` is set."""
        clock: SimpleNamespace = SimpleNamespace(now=100.0)
        clock.monotonic = lambda: clock.now
        monkeypatch.setattr(outage_module, "time", clock)
        return clock

    async def test_is_said_once_by_all_pools_of_a_service(
        self, own_postgresql: PostgreSQLServer, said: list[EventDict], clock: SimpleNamespace
    ) -> None:
        """However many statements meet with it, and not before nothing has failed for a while that it is over."""
        url = own_postgresql.url
        one, other = (Database.open(url, outage=outage_of(url)) for _ in range(2))
        await one.ping()
        await asyncio.to_thread(own_postgresql.kill)
        for database in (one, other) * 3:
            with pytest.raises(DatabaseUnavailable):
                await database.ping()
        await asyncio.to_thread(own_postgresql.start)
        await one.ping()
        assert [(line["event"], line["log_level"]) for line in said] == [(OUT, "warning")]
        assert "refused" in said[0]["reason"]
        clock.now += database_module._QUIET_SECONDS
        await other.ping()
        assert [line["event"] for line in said] == [OUT, "outage of PostgreSQL is over"]
        await one.close()
        await other.close()

    async def test_is_not_logged_for_a_database_without_an_outage(self, said: list[EventDict]) -> None:
        database = Database.open(f"postgresql://postgres@127.0.0.1:{free_port()}/books")
        with pytest.raises(DatabaseUnavailable):
            await database.ping()
        assert said == []

    async def test_is_not_what_a_caller_asked_for_in_vain(self, database_url: str, said: list[EventDict]) -> None:
        database = Database.open(database_url, outage=outage_of(database_url))
        with pytest.raises(ProgrammingError):
            async with database.statement() as connection:
                await connection.execute(text("SELECT no_such_function()"))
        assert said == []
        await database.close()


class TestADatabaseThatIsNotSetUp:
    async def test_is_one_that_does_not_answer_just_now(self, empty_database_url: str, actor: UUID) -> None:
        database = Database.open(empty_database_url)
        notifier = OutboxNotifier(database)
        with pytest.raises(SchemaNotThere):
            await Catalogue(database, NoCache(), notifier).add(a_draft(), actor)
        await notifier.close()
        await database.close()


@pytest.fixture
async def own_database(own_postgresql: PostgreSQLServer) -> AsyncIterator[Database]:
    database = Database.open(own_postgresql.url)
    yield database
    await database.close()


class TestAServerThatRestarted:
    async def test_between_two_statements_is_not_noticed(
        self, own_database: Database, own_postgresql: PostgreSQLServer
    ) -> None:
        async def a_statement_on_each_of_five_connections() -> None:
            async with AsyncExitStack() as stack:
                for _ in range(5):
                    connection = await stack.enter_async_context(own_database.statement())
                    await connection.execute(text("SELECT 1"))

        await a_statement_on_each_of_five_connections()
        own_postgresql.stop()
        own_postgresql.start()
        await a_statement_on_each_of_five_connections()
        async with own_database.transaction() as connection:
            assert await connection.scalar(text("SELECT 1")) == 1

    async def test_is_away_meanwhile_and_there_again_afterwards(
        self, own_database: Database, own_postgresql: PostgreSQLServer
    ) -> None:
        await own_database.ping()
        own_postgresql.kill()
        with pytest.raises(NotCommitted):
            await own_database.ping()
        own_postgresql.start()
        await own_database.ping()


class TestAConnectionThatIsLost:
    async def test_in_the_middle_of_a_statement_leaves_it_open_whether_it_was_committed(
        self, own_database: Database, own_postgresql: PostgreSQLServer
    ) -> None:
        """The server is killed without a word, which may be after the commit."""
        statement = asyncio.create_task(self.sleep(own_database))
        with psycopg.connect(own_postgresql.url, autocommit=True) as connection:
            asleep = "SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
            await until(lambda: connection.execute(asleep).rowcount, "the statement runs")
        own_postgresql.kill()
        with pytest.raises(ConnectionLost):
            await patiently(statement, "the loss is noticed")

    async def sleep(self, database: Database) -> None:
        async with database.statement() as connection:
            await connection.execute(text("SELECT pg_sleep(30)"))

    async def test_by_an_order_of_the_server_committed_nothing(self, database: Database, query: Query) -> None:
        statement = asyncio.create_task(self.sleep(database))
        await until(lambda: query(f"{OTHERS} AND wait_event = 'PgSleep'"), "the statement runs, and is ended")
        with pytest.raises(NotCommitted):
            await patiently(statement, "the loss is noticed")

    async def test_a_read_is_repeated(
        self,
        catalogue: Catalogue,
        actor: UUID,
        query: Query,
        database: Database,
        statements_of: StatementsOf,
    ) -> None:
        book = await catalogue.add(a_draft(), actor)
        query("BEGIN")
        query("LOCK TABLE books IN ACCESS EXCLUSIVE MODE")
        with statements_of(database) as statements:
            reading = asyncio.create_task(catalogue.get(book.id))
            [[ended, _]] = await until(
                lambda: query("SELECT pid, pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted"),
                "the read waits for its lock, and is ended",
            )
            again = "SELECT 1 FROM pg_locks WHERE NOT granted AND pid <> %s"
            await until(lambda: query(again, (ended,)), "it waits once more")
            query("COMMIT")
            assert await reading == book
        assert len([statement for statement in statements if "FROM books" in statement]) == 2

    async def test_a_write_is_not_repeated(
        self,
        own_postgresql: PostgreSQLServer,
        migrated_on_own: str,
        actor: UUID,
        statements_of: StatementsOf,
    ) -> None:
        database = Database.open(migrated_on_own)
        notifier = OutboxNotifier(database)
        catalogue = Catalogue(database, NoCache(), notifier)
        book = await catalogue.add(a_draft(), actor)
        blocker = Database.open(migrated_on_own)
        async with blocker.statement() as connection:
            await connection.execute(text("BEGIN"))
            await connection.execute(text("SELECT * FROM books FOR UPDATE"))
            with statements_of(database) as statements:
                change = asyncio.create_task(catalogue.change(book.id, BookPatch.only(title="Emma"), actor))
                waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
                await until(lambda: connection.scalar(waiting), "the change waits for its lock")
                own_postgresql.kill()
                with pytest.raises(ConnectionLost):
                    await patiently(change, "the loss is noticed")
                assert len(statements) == 1
            await connection.invalidate()
        await notifier.close()
        await database.close()
        await blocker.close()

    @pytest.fixture
    def migrated_on_own(self, own_postgresql: PostgreSQLServer) -> str:
        migrations.upgrade(own_postgresql.url)
        return str(own_postgresql.url)


class TestADatabaseThatHasTooMuchToDo:
    @pytest.fixture
    async def impatient(self, database_url: str) -> AsyncIterator[Database]:
        database = Database.open(database_url, pool_size=1, statement_timeout=0.2)
        yield database
        await database.close()

    async def test_a_statement_that_takes_too_long_is_given_up(self, impatient: Database) -> None:
        async def sleep() -> None:
            async with impatient.statement() as connection:
                await connection.execute(text("SELECT pg_sleep(3600)"))

        with pytest.raises(DatabaseOverloaded):
            await patiently(sleep(), "it is given up")

    async def test_a_wait_for_a_connection_that_takes_too_long_is_given_up(self, impatient: Database) -> None:
        async with impatient.statement():
            with pytest.raises(DatabaseOverloaded, match="too much to do just now"):
                await patiently(impatient.ping(), "it is given up")

        async def answers() -> bool:
            with suppress(DatabaseOverloaded):  # as it may be on a slow machine
                await impatient.ping()
                return True
            return False

        await until(answers, "a statement has its turn")

    async def test_neither_is_repeated(
        self,
        impatient: Database,
        catalogue: Catalogue,
        notifier: OutboxNotifier,
        actor: UUID,
        statements_of: StatementsOf,
        query: Query,
    ) -> None:
        book = await catalogue.add(a_draft(), actor)
        hurried = Catalogue(impatient, NoCache(), notifier)
        query("BEGIN")
        query("LOCK TABLE books IN ACCESS EXCLUSIVE MODE")
        with statements_of(impatient) as statements:
            for call in (hurried.get(book.id), hurried.page(), hurried.remove(book.id, actor)):
                with pytest.raises(DatabaseOverloaded):
                    await call
        assert len(statements) == 3


class TestAConflictOfTransactions:
    async def test_a_deadlock_is_repeated(self, database: Database, catalogue: Catalogue, actor: UUID) -> None:
        """Each of two locks one book, and then wants the other's."""
        one, other = await catalogue.add_many([a_draft()] * 2, actor)
        attempts = 0
        both_hold_one = asyncio.Barrier(2)

        @retry_write
        async def lock(first: int, second: int) -> None:
            nonlocal attempts
            attempts += 1
            async with database.transaction() as connection:
                await connection.execute(text("SET LOCAL deadlock_timeout = '50ms'"))
                statement = text("UPDATE books SET title = 'Emma' WHERE id = :book_id")
                await connection.execute(statement, {"book_id": first})
                if attempts <= 2:
                    await both_hold_one.wait()
                await connection.execute(statement, {"book_id": second})

        await asyncio.gather(lock(one.id, other.id), lock(other.id, one.id))
        assert attempts == 3

    async def test_a_serialization_failure_is_repeated(
        self, database: Database, catalogue: Catalogue, actor: UUID, query: Query
    ) -> None:
        await catalogue.add(a_draft(title="1"), actor)
        attempts = 0

        @retry_write
        async def count() -> None:
            nonlocal attempts
            attempts += 1
            async with database.transaction() as connection:
                await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
                number = int(await connection.scalar(text("SELECT title FROM books")) or 0)
                if attempts == 1:
                    query("UPDATE books SET title = '10'")
                await connection.execute(text("UPDATE books SET title = :title"), {"title": str(number + 1)})

        await count()
        assert attempts == 2
        assert query("SELECT title FROM books") == [("11",)]


class TestATransaction:
    async def test_commits_at_the_end_of_the_block(self, database: Database, query: Query) -> None:
        async with database.transaction() as connection:
            await connection.execute(text("CREATE TABLE shelves ()"))
            assert query("SELECT to_regclass('shelves')") == [(None,)]
        assert query("SELECT to_regclass('shelves')::text") == [("shelves",)]

    async def test_that_raises_commits_nothing(self, database: Database, query: Query) -> None:
        async def fail() -> None:
            async with database.transaction() as connection:
                await connection.execute(text("CREATE TABLE shelves ()"))
                raise KeyError

        with pytest.raises(KeyError):
            await fail()
        assert query("SELECT to_regclass('shelves')") == [(None,)]

    async def test_what_is_wrong_with_a_statement_comes_through(self, database: Database) -> None:
        """Not every failure is one of the database's."""
        with pytest.raises(DBAPIError, match="division by zero"):
            async with database.statement() as connection:
                await connection.execute(text("SELECT 1/0"))


class TestFetch:
    async def test_gives_the_rows_in_the_types_of_python(self, database: Database) -> None:
        query = "SELECT %(number)s::bigint, %(day)s::date, NULL, '2026-11-23 12:00:00.000001+02'::timestamptz"
        [row] = await database.fetch(query, {"number": 2**40, "day": date(1871, 12, 1)})
        assert row == (2**40, date(1871, 12, 1), None, datetime(2026, 11, 23, 10, 0, 0, 1, UTC))

    async def test_is_a_transaction_of_its_own(self, database: Database, query: Query) -> None:
        await database.fetch("SELECT setval('books_id_seq', 41)", {})
        assert query("SELECT last_value FROM books_id_seq") == [(41,)]

    async def test_what_is_wrong_with_a_statement_comes_through_and_the_connection_goes_on(
        self, database: Database
    ) -> None:
        [[before]] = await database.fetch("SELECT pg_backend_pid()", {})
        with pytest.raises(psycopg.errors.DivisionByZero):
            await database.fetch("SELECT 1/%(nothing)s::int", {"nothing": 0})
        assert await database.fetch("SELECT pg_backend_pid()", {}) == [(before,)]

    async def test_a_table_that_is_not_there_is_a_database_that_is_not_set_up(self, database: Database) -> None:
        with pytest.raises(SchemaNotThere):
            await database.fetch("SELECT * FROM shelves", {})

    @pytest.mark.parametrize(("prepared", "statements"), [(True, 1), (False, 0)])
    async def test_what_is_sent_often_is_prepared_where_one_plan_will_do(
        self, database: Database, prepared: bool, statements: int
    ) -> None:
        for number in range(10):
            await database.fetch("SELECT %(number)s::bigint + 41", {"number": number}, prepared=prepared)
        found = await database.fetch("SELECT 1 FROM pg_prepared_statements WHERE statement LIKE '%%+ 41'", {})
        assert len(found) == statements


class TestAConnection:
    async def test_counts_time_in_utc_and_bears_its_name(self, database_url: str) -> None:
        database = Database.open(database_url, name="a-service")
        async with database.statement() as connection:
            settings = "SELECT current_setting(setting) FROM unnest(ARRAY['timezone', 'application_name']) setting"
            assert list((await connection.scalars(text(settings))).all()) == ["UTC", "a-service"]
        await database.close()

    @pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg", "postgres"])
    async def test_is_had_by_every_form_of_the_address(self, database_url: str, scheme: str) -> None:
        database = Database.open(database_url.replace("postgresql", scheme, 1))
        await database.ping()
        await database.close()
