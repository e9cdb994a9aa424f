"""Connections for a while, each of which comes back whole, whatever becomes of those who borrow it."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from psycopg.pq import TransactionStatus
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from book_db.errors import DatabaseOverloaded

T = TypeVar("T")

_USABLE: Final = (TransactionStatus.IDLE, TransactionStatus.INTRANS, TransactionStatus.INERROR)


class Lender:
    """Lends the connections of a pool, as many at once as there are.

    A borrower may be cancelled at any moment. One that waits for its turn leaves the queue. One that waits for a
    connection in the making leaves it to the pool: SQLAlchemy and the server would be left with half of it. One that
    waits for a statement has it cancelled on the server, by psycopg.
    """

    def __init__(self, at_once: int, patience: float) -> None:
        """``patience`` is how long, in seconds, a borrower waits for its turn."""
        self._turns = asyncio.Semaphore(at_once)
        self._patience = patience
        self._tasks: set[asyncio.Task[Any]] = set()

    @asynccontextmanager
    async def lend(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        """A connection for the length of the block. Raises DatabaseOverloaded when none becomes free in time."""
        await self._wait_for_a_turn()
        connection = await self._connected(engine.connect())
        try:
            yield connection
        finally:
            await asyncio.shield(self._closing(connection))

    async def close(self) -> None:
        """Until all that was left to the pool is in it. One that is closed earlier would not close those."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _wait_for_a_turn(self) -> None:
        try:
            async with asyncio.timeout(self._patience):
                await self._turns.acquire()
        except TimeoutError as error:
            raise DatabaseOverloaded from error

    async def _connected(self, connection: AsyncConnection) -> AsyncConnection:
        connecting = self._begin(connection.start())
        try:
            return await asyncio.shield(connecting)
        except asyncio.CancelledError:
            connecting.add_done_callback(self._take_back)
            raise
        except BaseException:
            self._turns.release()
            raise

    def _take_back(self, connecting: asyncio.Task[AsyncConnection]) -> None:
        if connecting.cancelled() or connecting.exception():
            self._turns.release()
        else:
            self._closing(connecting.result())

    def _closing(self, connection: AsyncConnection) -> asyncio.Task[None]:
        closing = self._begin(connection.close())
        closing.add_done_callback(lambda _: self._turns.release())
        return closing

    def _begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def keep_what_is_whole(failure: ExceptionContext) -> None:
    """Lets a connection live whose statement was cancelled by the end of its task.

    SQLAlchemy would throw it away, as for drivers that leave the answer to the statement on the wire. psycopg has read
    the answer by then, or closed the connection.
    """
    if isinstance(failure.original_exception, asyncio.CancelledError) and failure.connection is not None:
        driver_connection: Any = failure.connection.connection.driver_connection
        failure.is_disconnect = driver_connection.info.transaction_status not in _USABLE
