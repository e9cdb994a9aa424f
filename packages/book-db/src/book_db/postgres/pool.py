"""The pool of connections, each of which comes back usable, whatever becomes of the task that holds it."""

import asyncio
import select
from dataclasses import dataclass
from typing import Any, Final, cast

import psycopg
from book_runtime.tasks import OwnedTasks
from psycopg.pq import TransactionStatus
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from book_db.errors import DatabaseOverloaded

_USABLE: Final = (TransactionStatus.IDLE, TransactionStatus.INTRANS, TransactionStatus.INERROR)


@dataclass(frozen=True, slots=True, eq=False)
class Lease:
    """A connection as SQLAlchemy has it, and the driver's own beneath it."""

    connection: AsyncConnection
    driver: psycopg.AsyncConnection
    autocommit: bool

    @property
    def is_usable(self) -> bool:
        """Whether the next holder finds it as it was made, as far as this end knows."""
        if self.connection.closed or self.connection.invalidated or self.driver.closed:
            return False
        return self.driver.info.transaction_status == TransactionStatus.IDLE


class ConnectionPool:
    """Leases the connections of SQLAlchemy's pool, as many at a time as it has.

    A connection of single statements (autocommit) stays here for the next one: the way into SQLAlchemy's pool and out
    of it takes 0.16 ms of work, three times as much as a small statement.

    The holder may be cancelled at any moment. If it waits for a free connection, it leaves the queue. If it waits for a
    new connection, that one goes to SQLAlchemy's pool when it is open: SQLAlchemy and the server would be left with
    half of it. If it waits for a statement, psycopg cancels the statement on the server.
    """

    def __init__(self, engine: AsyncEngine, size: int, timeout: float) -> None:
        """``size`` is that of SQLAlchemy's pool, ``timeout`` how many seconds ``acquire`` waits."""
        self._engine = engine
        self._autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._size = size
        self._slots = asyncio.Semaphore(size)
        self._leased = 0
        self._timeout = timeout
        self._idle: list[Lease] = []
        self._is_closed = False
        self._tasks = OwnedTasks()

    @property
    def idle(self) -> int:
        """How many connections wait here for the next statement, outside of SQLAlchemy's pool."""
        return len(self._idle)

    async def acquire(self, *, autocommit: bool) -> Lease:
        """A connection, to be released. Raises DatabaseOverloaded when none becomes free in time."""
        await self._reserve()
        return await self._take(autocommit=autocommit)

    async def release(self, lease: Lease) -> None:
        if lease.autocommit and lease.is_usable and not self._is_closed:
            self._idle.append(lease)
            self._free()
        else:
            await asyncio.shield(self._return_and_free(lease))

    async def close(self) -> None:
        """Returns when all connections are in SQLAlchemy's pool, but for those on lease, which are closed when they are
        released. An engine that is disposed of earlier would not close them.
        """
        self._is_closed = True
        while self._idle:
            self._tasks.spawn(self._return_to_the_pool(self._idle.pop()))
        await self._tasks.drain()

    async def _reserve(self) -> None:
        if self._slots.locked():
            await self._reserve_in_time()
        else:
            await self._slots.acquire()
        self._leased += 1

    async def _reserve_in_time(self) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                await self._slots.acquire()
        except TimeoutError as error:
            raise DatabaseOverloaded from error

    def _free(self) -> None:
        self._leased -= 1
        self._slots.release()

    async def _take(self, *, autocommit: bool) -> Lease:
        """An idle one, or else one of SQLAlchemy's pool. Where that has none left, an idle one goes back first."""
        idle = self._idle.pop() if self._idle and (autocommit or len(self._idle) + self._leased > self._size) else None
        if idle is not None and autocommit and not is_closed_by_server(idle.driver):
            return idle
        making = self._tasks.spawn(self._make(idle, autocommit=autocommit))
        try:
            return await asyncio.shield(making)
        except asyncio.CancelledError:
            making.add_done_callback(self._return_late)
            raise
        except BaseException:
            self._free()
            raise

    async def _make(self, instead_of: Lease | None, *, autocommit: bool) -> Lease:
        if instead_of is not None:
            await self._return_to_the_pool(instead_of)
        connection = await (self._autocommit if autocommit else self._engine).connect()
        pooled = await connection.get_raw_connection()
        return Lease(connection, cast(psycopg.AsyncConnection, pooled.driver_connection), autocommit)

    def _return_late(self, making: asyncio.Task[Lease]) -> None:
        if making.cancelled() or making.exception():
            self._free()
        else:
            self._return_and_free(making.result())

    def _return_and_free(self, lease: Lease) -> asyncio.Task[None]:
        closing = self._tasks.spawn(self._return_to_the_pool(lease))
        closing.add_done_callback(lambda _: self._free())
        return closing

    async def _return_to_the_pool(self, lease: Lease) -> None:
        # SQLAlchemy has not seen a connection go where the driver was asked past it, and would send it a ROLLBACK.
        if not lease.connection.closed and (self._is_closed or is_closed_by_server(lease.driver)):
            await lease.connection.invalidate()
        await lease.connection.close()


def is_closed_by_server(driver: psycopg.AsyncConnection) -> bool:
    """Whether the server has closed the connection, as one that restarts does.

    The socket of a closed connection is readable. To look at that needs no round trip, as a ping does, and no write is
    begun on a dead connection.
    """
    if driver.closed:
        return True
    socket = select.poll()
    socket.register(driver.fileno(), select.POLLIN)
    return bool(socket.poll(0))


def keep_cancelled_connections(failure: ExceptionContext) -> None:
    """Lets a connection live whose statement was cancelled by the end of its task.

    SQLAlchemy would throw it away, as for drivers that leave the answer to the statement on the wire. psycopg has read
    the answer by then, or closed the connection.
    """
    if isinstance(failure.original_exception, asyncio.CancelledError) and failure.connection is not None:
        driver_connection: Any = failure.connection.connection.driver_connection
        failure.is_disconnect = driver_connection.info.transaction_status not in _USABLE
