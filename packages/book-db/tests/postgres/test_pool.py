"""A task that is cancelled leaves nothing behind: no statement that goes on, and no connection that is lost."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import pytest
from book_db.errors import DatabaseOverloaded, NotCommitted
from book_db.postgres.database import Database
from sqlalchemy import text
from support.data_layer import Query
from support.waiting import patience, patiently, until

SIZE = 3
"""Of the pool."""

AN_HOUR = 3_600
"""Seconds. What ends in a test that takes so long was cancelled."""

OURS = "SELECT pid, state FROM pg_stat_activity WHERE application_name = 'leases'"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database.open(database_url, pool_size=SIZE, statement_timeout=AN_HOUR, name="leases")
    yield database
    await database.close()


async def sleep(database: Database) -> None:
    async with database.statement() as connection:
        await connection.execute(text(f"SELECT pg_sleep({AN_HOUR})"))


async def use_all(database: Database) -> None:
    """All connections that there may be, at the same time."""
    async with patience("there are so many"), AsyncExitStack() as stack:
        for _ in range(SIZE):
            connection = await stack.enter_async_context(database.statement())
            await connection.execute(text("SELECT 1"))


async def cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await patiently(task, "the task has ended")


@contextmanager
def stopped(process: int) -> Iterator[None]:
    """In the block it does nothing."""
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def is_usable(database: Database, query: Query) -> bool:
    """Whether every connection that the server knows of is in a pool, and idle."""
    pool: Any = database.engine.sync_engine.pool
    return [state for _, state in query(OURS)] == ["idle"] * (pool.checkedin() + database.pool.idle)


def busy(query: Query) -> list[object]:
    return [state for _, state in query(OURS) if state != "idle"]


class TestATaskThatIsCancelled:
    async def test_in_a_statement_has_it_cancelled_on_the_server_and_the_connection_goes_on(
        self, database: Database, query: Query
    ) -> None:
        await database.ping()
        [(connection, _)] = query(OURS)
        sleeping = asyncio.create_task(sleep(database))
        await until(lambda: busy(query) == ["active"], "the statement runs")
        await cancelled(sleeping)
        assert query(OURS) == [(connection, "idle")]
        await database.ping()

    async def test_before_the_server_has_read_the_statement_has_it_cancelled_all_the_same(
        self, database: Database, query: Query
    ) -> None:
        """A request to cancel that overtakes its statement is passed over by the server."""
        await database.ping()
        [(connection, _)] = query(OURS)
        with stopped(connection):
            sleeping = asyncio.create_task(sleep(database))
            await asyncio.sleep(0.1)
            sleeping.cancel()
            # The request has arrived, which shows nowhere, and the server reads on.
            await asyncio.sleep(0.1)
        await patiently(asyncio.wait([sleeping]), "the task has ended")
        await until(lambda: query(OURS) == [(connection, "idle")], "the statement has ended")
        await database.ping()

    async def test_in_a_transaction_has_it_rolled_back(self, database: Database, query: Query) -> None:
        async def write() -> None:
            async with database.transaction() as connection:
                await connection.execute(text("CREATE TABLE half_done ()"))
                await connection.execute(text(f"SELECT pg_sleep({AN_HOUR})"))

        writing = asyncio.create_task(write())
        await until(lambda: busy(query) == ["active"], "the statement runs")
        await cancelled(writing)
        # It comes back behind the back of who was cancelled.
        await until(lambda: busy(query) == [], "the connection is back")
        assert query("SELECT to_regclass('half_done')") == [(None,)]

    async def test_between_two_statements_of_a_transaction_has_it_rolled_back(
        self, database: Database, query: Query
    ) -> None:
        async def think() -> None:
            async with database.transaction() as connection:
                await connection.execute(text("SELECT 1"))
                await asyncio.Event().wait()

        thinking = asyncio.create_task(think())
        await until(lambda: busy(query) == ["idle in transaction"], "the first statement is done")
        await cancelled(thinking)
        await until(lambda: busy(query) == [], "the connection is back")

    async def test_while_it_waits_for_a_connection_takes_none(self, database: Database) -> None:
        async with AsyncExitStack() as holding:
            for _ in range(SIZE):
                await holding.enter_async_context(database.statement())
            waiting = [asyncio.create_task(database.ping()) for _ in range(50)]
            await until(lambda: len(database.pool._slots._waiters or ()) == 50, "all wait for a connection")
            for task in waiting[:-1]:
                await cancelled(task)
        await patiently(waiting[-1], "the last one has its turn")

    @pytest.mark.parametrize("delay", [0, 0.001, 0.002, 0.004, 0.008])
    async def test_while_its_connection_is_made_leaves_it_to_the_next(
        self, database: Database, query: Query, delay: float
    ) -> None:
        """Wherever the making of it stands by then."""
        task = asyncio.create_task(database.ping())
        await asyncio.sleep(delay)
        task.cancel()
        await asyncio.wait([task])
        await database.ping()
        await until(lambda: is_usable(database, query), "the pool is whole")


class TestAConnectionThatIsKept:
    async def test_serves_one_statement_after_the_other(self, database: Database, query: Query) -> None:
        for _ in range(5):
            await database.ping()
        assert database.pool.idle == 1
        assert len(query(OURS)) == 1

    async def test_makes_room_for_a_transaction(self, database: Database, query: Query) -> None:
        """Where every connection that there may be is idle in the pool."""
        for _ in range(2):
            await use_all(database)
            async with patience("all are in transactions"), AsyncExitStack() as stack:
                for _ in range(SIZE):
                    connection = await stack.enter_async_context(database.transaction())
                    await connection.execute(text("SELECT 1"))
            assert len(query(OURS)) == SIZE
        assert is_usable(database, query)

    async def test_stays_where_it_is_while_the_pool_has_one_for_a_transaction(self, database: Database) -> None:
        await use_all(database)
        async with database.transaction() as connection:
            await connection.execute(text("SELECT 1"))
        async with database.transaction() as connection:
            await connection.execute(text("SELECT 1"))
        assert database.pool.idle == SIZE - 1

    @pytest.mark.parametrize("statement_first", [pytest.param(True, id="a-statement-first"), False])
    async def test_that_is_lost_below_the_driver_is_reported_as_lost(
        self,
        database: Database,
        query: Query,
        statement_first: bool,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """SQLAlchemy, which has begun a transaction by its own account with the statement, has not seen it go."""
        if statement_first:
            await database.ping()
        sleeping = asyncio.create_task(database.fetch("SELECT pg_sleep(3600)", {}))
        await until(lambda: busy(query) == ["active"], "the statement runs")
        query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'leases'")
        with pytest.raises(NotCommitted):
            await patiently(sleeping, "the loss is noticed")
        await database.ping()
        await until(lambda: is_usable(database, query), "the pool is whole")
        assert caplog.records == []

    async def test_that_is_lost_over_a_cancellation_does_not_hide_it(self, database: Database, query: Query) -> None:
        await database.ping()
        [(connection, _)] = query(OURS)
        sleeping = asyncio.create_task(database.fetch("SELECT pg_sleep(3600)", {}))
        await until(lambda: busy(query) == ["active"], "the statement runs")
        with stopped(connection):
            sleeping.cancel()
            await asyncio.sleep(0.2)
            sleeping.cancel()  # psycopg waits no longer for the end of the statement, and closes the connection
            await patiently(asyncio.wait([sleeping]), "the task has ended")
        assert sleeping.cancelled()
        await database.ping()

    async def test_is_left_when_the_server_has_closed_it(self, database: Database, query: Query) -> None:
        await database.ping()
        query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'leases'")
        await until(lambda: query(OURS) == [], "the server has closed it")
        await database.ping()
        assert is_usable(database, query)

    async def test_is_not_one_that_its_borrower_has_thrown_away(self, database: Database, query: Query) -> None:
        async with database.statement() as connection:
            await connection.invalidate()
        assert database.pool.idle == 0
        await database.ping()
        await until(lambda: is_usable(database, query), "the pool is whole")

    async def test_is_not_one_that_was_left_in_a_transaction(self, database: Database, query: Query) -> None:
        async with database.statement() as connection:
            await connection.execute(text("BEGIN"))
        assert database.pool.idle == 0
        assert busy(query) == []

    async def test_goes_on_after_a_statement_straight_from_the_driver_was_cancelled(
        self, database: Database, query: Query
    ) -> None:
        await database.ping()
        [(connection, _)] = query(OURS)
        sleeping = asyncio.create_task(database.fetch("SELECT pg_sleep(3600)", {}))
        await until(lambda: busy(query) == ["active"], "the statement runs")
        await cancelled(sleeping)
        assert query(OURS) == [(connection, "idle")]
        assert database.pool.idle == 1


class TestClosing:
    @pytest.mark.parametrize("delay", [0, 0.001, 0.002, 0.004, 0.008])
    async def test_leaves_no_connection_that_was_in_the_making(
        self, database: Database, query: Query, delay: float
    ) -> None:
        task = asyncio.create_task(database.ping())
        await asyncio.sleep(delay)
        task.cancel()
        await asyncio.wait([task])
        await database.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await until(lambda: query(OURS) == [], "every connection is closed")

    async def test_closes_connections_that_are_released_afterwards(self, database: Database, query: Query) -> None:
        async with database.statement():
            await database.close()
        assert database.pool.idle == 0
        await until(lambda: query(OURS) == [], "every connection is closed")


class TestAHundredTasksThatAreCancelled:
    async def test_one_after_the_other_leave_the_pool_whole(self, database: Database, query: Query) -> None:
        for turn in range(100):
            task = asyncio.create_task(sleep(database))
            await asyncio.sleep(0.002 * (turn % 4))
            await cancelled(task)
        await until(lambda: is_usable(database, query), "the pool is whole")
        await use_all(database)
        assert len(query(OURS)) == SIZE

    async def test_at_once_leave_the_pool_whole(self, database: Database, query: Query) -> None:
        tasks = [asyncio.create_task(sleep(database)) for _ in range(100)]
        await until(lambda: busy(query) == ["active"] * SIZE, "as many run as may")
        for task in tasks:
            task.cancel()
        await patiently(asyncio.wait(tasks), "all have ended")
        assert all(task.cancelled() for task in tasks)
        await until(lambda: is_usable(database, query), "the pool is whole")
        await use_all(database)
        assert len(query(OURS)) == SIZE


class TestAPoolThatIsTaken:
    async def test_is_said_to_be_overloaded_when_patience_is_over(self, database_url: str) -> None:
        database = Database.open(database_url, pool_size=1, statement_timeout=0.3)
        async with database.statement():
            with pytest.raises(DatabaseOverloaded):
                await patiently(database.ping(), "patience is over")
        await database.pool.release(await database.pool.acquire(autocommit=True))
        await database.close()
