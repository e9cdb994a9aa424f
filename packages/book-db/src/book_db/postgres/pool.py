"""Connections for a while, each of which comes back whole, whatever becomes of those who borrow it."""

import asyncio
import select
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from book_db.errors import DatabaseOverloaded

T = TypeVar("T")

_USABLE: Final = (TransactionStatus.IDLE, TransactionStatus.INTRANS, TransactionStatus.INERROR)


@dataclass(frozen=True, slots=True, eq=False)
class Lent:
    """A connection as SQLAlchemy has it, and the driver's own beneath it."""

    connection: AsyncConnection
    driver: psycopg.AsyncConnection
    autocommit: bool

    @property
    def is_whole(self) -> bool:
        """Whether the next borrower finds it as it was made, as far as this end knows."""
        if self.connection.closed or self.connection.invalidated or self.driver.closed:
            return False
        return self.driver.info.transaction_status == TransactionStatus.IDLE


class Lender:
    """Lends the connections of a pool, as many at once as there are.

    Those that were lent for statements of their own (autocommit) are kept for the next one: the way into SQLAlchemy's
    pool and out of it takes 0.16 ms of work, three times as much as a small statement.

    A borrower may be cancelled at any moment. One that waits for its turn leaves the queue. One that waits for a
    connection in the making leaves it to the pool: SQLAlchemy and the server would be left with half of it. One that
    waits for a statement has it cancelled on the server, by psycopg.
    """

    def __init__(self, engine: AsyncEngine, at_once: int, patience: float) -> None:
        """``patience`` is how long, in seconds, a borrower waits for its turn."""
        self._engine = engine
        self._autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._at_once = at_once
        self._turns = asyncio.Semaphore(at_once)
        self._out = 0
        self._patience = patience
        self._kept: list[Lent] = []
        self._is_closed = False
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def kept(self) -> int:
        """How many connections wait outside of the pool for the next statement."""
        return len(self._kept)

    async def lend(self, *, autocommit: bool) -> Lent:
        """A connection, to be given back. Raises DatabaseOverloaded when none becomes free in time."""
        await self._wait_for_a_turn()
        return await self._take(autocommit=autocommit)

    async def give_back(self, lent: Lent) -> None:
        if lent.autocommit and lent.is_whole and not self._is_closed:
            self._kept.append(lent)
            self._end_turn()
        else:
            await asyncio.shield(self._closing(lent))

    async def close(self) -> None:
        """Until all connections are in the pool but those that are lent, which are closed when they come back. A pool
        that is closed earlier would not close them.
        """
        self._is_closed = True
        while self._kept:
            self._begin(self._return_to_the_pool(self._kept.pop()))
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _wait_for_a_turn(self) -> None:
        if self._turns.locked():
            await self._wait_for_the_end_of_one()
        else:
            await self._turns.acquire()
        self._out += 1

    async def _wait_for_the_end_of_one(self) -> None:
        try:
            async with asyncio.timeout(self._patience):
                await self._turns.acquire()
        except TimeoutError as error:
            raise DatabaseOverloaded from error

    def _end_turn(self) -> None:
        self._out -= 1
        self._turns.release()

    async def _take(self, *, autocommit: bool) -> Lent:
        """One that is kept, or else one of the pool, which is as large as there are turns: where it has none left, one
        that is kept goes back first.
        """
        kept = self._kept.pop() if self._kept and (autocommit or len(self._kept) + self._out > self._at_once) else None
        if kept is not None and autocommit and not was_left_by_the_server(kept.driver):
            return kept
        making = self._begin(self._make(kept, autocommit=autocommit))
        try:
            return await asyncio.shield(making)
        except asyncio.CancelledError:
            making.add_done_callback(self._take_back)
            raise
        except BaseException:
            self._end_turn()
            raise

    async def _make(self, instead_of: Lent | None, *, autocommit: bool) -> Lent:
        if instead_of is not None:
            await self._return_to_the_pool(instead_of)
        connection = await (self._autocommit if autocommit else self._engine).connect()
        pooled = await connection.get_raw_connection()
        return Lent(connection, cast(psycopg.AsyncConnection, pooled.driver_connection), autocommit)

    def _take_back(self, making: asyncio.Task[Lent]) -> None:
        if making.cancelled() or making.exception():
            self._end_turn()
        else:
            self._closing(making.result())

    def _closing(self, lent: Lent) -> asyncio.Task[None]:
        closing = self._begin(self._return_to_the_pool(lent))
        closing.add_done_callback(lambda _: self._end_turn())
        return closing

    async def _return_to_the_pool(self, lent: Lent) -> None:
        # SQLAlchemy has not seen a connection go where the driver was asked past it, and would send it a ROLLBACK.
        if not lent.connection.closed and (self._is_closed or was_left_by_the_server(lent.driver)):
            await lent.connection.invalidate()
        await lent.connection.close()

    def _begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def was_left_by_the_server(driver: psycopg.AsyncConnection) -> bool:
    """A server that restarts closes its connections, which shows as something to read: a look at the socket finds that
    without the round trip of a ping, so that a write is not begun on a dead connection.
    """
    if driver.closed:
        return True
    socket = select.poll()
    socket.register(driver.fileno(), select.POLLIN)
    return bool(socket.poll(0))


def keep_what_is_whole(failure: ExceptionContext) -> None:
    """Lets a connection live whose statement was cancelled by the end of its task.

    SQLAlchemy would throw it away, as for drivers that leave the answer to the statement on the wire. psycopg has read
    the answer by then, or closed the connection.
    """
    if isinstance(failure.original_exception, asyncio.CancelledError) and failure.connection is not None:
        driver_connection: Any = failure.connection.connection.driver_connection
        failure.is_disconnect = driver_connection.info.transaction_status not in _USABLE
