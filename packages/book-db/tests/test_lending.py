"""A task that is cancelled leaves nothing behind: no statement that goes on, and no connection that is lost."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from book_db.database import Database
from book_db.errors import DatabaseOverloaded, NotCommitted
from sqlalchemy import text
from support.data_layer import Eventually, Query

SIZE = 3
"""Of the pool."""

OURS = "SELECT pid, state FROM pg_stat_activity WHERE application_name = 'lending'"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database.open(database_url, pool_size=SIZE, statement_timeout=20, name="lending")
    yield database
    await database.close()


async def sleep(database: Database, seconds: float = 20) -> None:
    async with database.statement() as connection:
        await connection.execute(text(f"SELECT pg_sleep({seconds})"))


async def cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 5)


def is_whole(database: Database, query: Query) -> bool:
    """Whether every connection that the server knows of is in the pool or kept for the next statement, and idle."""
    pool: Any = database.engine.sync_engine.pool
    return [state for _, state in query(OURS)] == ["idle"] * (pool.checkedin() + database.lender.kept)


def busy(query: Query) -> list[object]:
    return [state for _, state in query(OURS) if state != "idle"]


class TestATaskThatIsCancelled:
    async def test_in_a_statement_has_it_cancelled_on_the_server_and_the_connection_goes_on(
        self, database: Database, query: Query, eventually: Eventually
    ) -> None:
        await database.ping()
        [(connection, _)] = query(OURS)
        sleeping = asyncio.create_task(sleep(database))
        await eventually(lambda: busy(query) == ["active"])
        await cancelled(sleeping)
        assert query(OURS) == [(connection, "idle")]
        await database.ping()

    async def test_before_the_server_has_read_the_statement_has_it_cancelled_all_the_same(
        self, database: Database, query: Query, eventually: Eventually
    ) -> None:
        """A request to cancel that overtakes its statement is passed over by the server."""
        await database.ping()
        [(connection, _)] = query(OURS)
        os.kill(connection, signal.SIGSTOP)
        sleeping = asyncio.create_task(sleep(database))
        await asyncio.sleep(0.1)
        sleeping.cancel()
        # The request has arrived, which shows nowhere, and the server reads on.
        await asyncio.sleep(0.1)
        os.kill(connection, signal.SIGCONT)
        await asyncio.wait_for(asyncio.wait([sleeping]), 4)
        await eventually(lambda: query(OURS) == [(connection, "idle")])
        await database.ping()

    async def test_in_a_transaction_has_it_rolled_back(
        self, database: Database, query: Query, eventually: Eventually
    ) -> None:
        async def write() -> None:
            async with database.transaction() as connection:
                await connection.execute(text("CREATE TABLE half_done ()"))
                await connection.execute(text("SELECT pg_sleep(20)"))

        writing = asyncio.create_task(write())
        await eventually(lambda: busy(query) == ["active"])
        await cancelled(writing)
        # It comes back behind the back of who was cancelled.
        await eventually(lambda: busy(query) == [])
        assert query("SELECT to_regclass('half_done')") == [(None,)]

    async def test_between_two_statements_of_a_transaction_has_it_rolled_back(
        self, database: Database, query: Query, eventually: Eventually
    ) -> None:
        async def think() -> None:
            async with database.transaction() as connection:
                await connection.execute(text("SELECT 1"))
                await asyncio.sleep(20)

        thinking = asyncio.create_task(think())
        await eventually(lambda: busy(query) == ["idle in transaction"])
        await cancelled(thinking)
        await eventually(lambda: busy(query) == [])

    async def test_while_it_waits_for_its_turn_takes_the_turn_of_nobody(self, database: Database) -> None:
        holding = [asyncio.create_task(sleep(database, 0.5)) for _ in range(SIZE)]
        await asyncio.sleep(0.1)
        waiting = [asyncio.create_task(database.ping()) for _ in range(50)]
        await asyncio.sleep(0.1)
        for task in waiting[:-1]:
            await cancelled(task)
        await asyncio.wait_for(waiting[-1], 5)
        await asyncio.gather(*holding)

    @pytest.mark.parametrize("delay", [0, 0.001, 0.002, 0.004, 0.008])
    async def test_while_its_connection_is_made_leaves_it_to_the_next(
        self, database: Database, query: Query, eventually: Eventually, delay: float
    ) -> None:
        """Wherever the making of it stands by then."""
        task = asyncio.create_task(database.ping())
        await asyncio.sleep(delay)
        task.cancel()
        await asyncio.wait([task])
        await database.ping()
        await eventually(lambda: is_whole(database, query))


class TestAConnectionThatIsKept:
    async def test_serves_one_statement_after_the_other(self, database: Database, query: Query) -> None:
        for _ in range(5):
            await database.ping()
        assert database.lender.kept == 1
        assert len(query(OURS)) == 1

    async def test_makes_room_for_a_transaction(self, database: Database, query: Query) -> None:
        """Where every connection that there may be is kept."""
        for _ in range(2):
            await asyncio.gather(*(sleep(database, 0.1) for _ in range(SIZE)))
            async with asyncio.timeout(5), AsyncExitStack() as stack:
                for _ in range(SIZE):
                    connection = await stack.enter_async_context(database.transaction())
                    await connection.execute(text("SELECT 1"))
            assert len(query(OURS)) == SIZE
        assert is_whole(database, query)

    async def test_stays_where_it_is_while_the_pool_has_one_for_a_transaction(self, database: Database) -> None:
        await asyncio.gather(*(sleep(database, 0.1) for _ in range(SIZE)))
        async with database.transaction() as connection:
            await connection.execute(text("SELECT 1"))
        async with database.transaction() as connection:
            await connection.execute(text("SELECT 1"))
        assert database.lender.kept == SIZE - 1

    @pytest.mark.parametrize("statement_first", [pytest.param(True, id="a-statement-first"), False])
    async def test_that_is_lost_straight_under_the_driver_is_told_of_as_always(
        self,
        database: Database,
        query: Query,
        eventually: Eventually,
        statement_first: bool,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """SQLAlchemy, which has begun a transaction by its own account with the statement, has not seen it go."""
        if statement_first:
            await database.ping()
        sleeping = asyncio.create_task(database.fetch("SELECT pg_sleep(20)", {}))
        await eventually(lambda: busy(query) == ["active"])
        query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'lending'")
        with pytest.raises(NotCommitted):
            await sleeping
        await database.ping()
        assert is_whole(database, query)
        assert caplog.records == []

    async def test_that_is_lost_over_a_cancellation_does_not_hide_it(
        self, database: Database, query: Query, eventually: Eventually
    ) -> None:
        await database.ping()
        [(connection, _)] = query(OURS)
        sleeping = asyncio.create_task(database.fetch("SELECT pg_sleep(20)", {}))
        await eventually(lambda: busy(query) == ["active"])
        os.kill(connection, signal.SIGSTOP)
        sleeping.cancel()
        await asyncio.sleep(0.2)
        sleeping.cancel()  # psycopg waits no longer for the end of the statement, and closes the connection
        await asyncio.wait([sleeping], timeout=10)
        os.kill(connection, signal.SIGCONT)
        assert sleeping.cancelled()
        await database.ping()

    async def test_is_left_when_the_server_has_closed_it(
        self, database: Database, query: Query, eventually: Eventually
    ) -> None:
        await database.ping()
        query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'lending'")
        await eventually(lambda: query(OURS) == [])
        await database.ping()
        assert is_whole(database, query)

    async def test_is_not_one_that_its_borrower_has_thrown_away(self, database: Database, query: Query) -> None:
        async with database.statement() as connection:
            await connection.invalidate()
        assert database.lender.kept == 0
        await database.ping()
        assert is_whole(database, query)

    async def test_is_not_one_that_was_left_in_a_transaction(self, database: Database, query: Query) -> None:
        async with database.statement() as connection:
            await connection.execute(text("BEGIN"))
        assert database.lender.kept == 0
        assert busy(query) == []

    async def test_goes_on_after_a_statement_straight_from_the_driver_was_cancelled(
        self, database: Database, query: Query, eventually: Eventually
    ) -> None:
        await database.ping()
        [(connection, _)] = query(OURS)
        sleeping = asyncio.create_task(database.fetch("SELECT pg_sleep(20)", {}))
        await eventually(lambda: busy(query) == ["active"])
        await cancelled(sleeping)
        assert query(OURS) == [(connection, "idle")]
        assert database.lender.kept == 1


class TestClosing:
    @pytest.mark.parametrize("delay", [0, 0.001, 0.002, 0.004, 0.008])
    async def test_leaves_no_connection_that_was_in_the_making(
        self, database: Database, query: Query, eventually: Eventually, delay: float
    ) -> None:
        task = asyncio.create_task(database.ping())
        await asyncio.sleep(delay)
        task.cancel()
        await asyncio.wait([task])
        await database.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await eventually(lambda: query(OURS) == [])

    async def test_closes_what_comes_back_afterwards(
        self, database: Database, query: Query, eventually: Eventually
    ) -> None:
        async with database.statement():
            await database.close()
        assert database.lender.kept == 0
        await eventually(lambda: query(OURS) == [])


class TestAHundredTasksThatAreCancelled:
    async def test_one_after_the_other_leave_the_pool_whole(
        self, database: Database, query: Query, eventually: Eventually
    ) -> None:
        for turn in range(100):
            task = asyncio.create_task(sleep(database))
            await asyncio.sleep(0.002 * (turn % 4))
            await cancelled(task)
        await eventually(lambda: is_whole(database, query))
        await asyncio.gather(*(sleep(database, 0.1) for _ in range(SIZE)))
        assert len(query(OURS)) == SIZE

    async def test_at_once_leave_the_pool_whole(self, database: Database, query: Query, eventually: Eventually) -> None:
        tasks = [asyncio.create_task(sleep(database)) for _ in range(100)]
        await eventually(lambda: busy(query) == ["active"] * SIZE)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert all(task.cancelled() for task in tasks)
        await eventually(lambda: is_whole(database, query))
        await asyncio.gather(*(sleep(database, 0.1) for _ in range(SIZE)))
        assert len(query(OURS)) == SIZE


class TestAPoolThatIsTaken:
    async def test_is_said_to_be_overloaded_when_patience_is_over(self, database_url: str) -> None:
        database = Database.open(database_url, pool_size=1, statement_timeout=0.3)
        async with database.statement():
            with pytest.raises(DatabaseOverloaded):
                await database.ping()
        await database.ping()
        await database.close()
