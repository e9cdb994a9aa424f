"""The pool of connections to PostgreSQL, and what its failures mean."""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, Final, LiteralString, Protocol, Self, TypeAlias
from weakref import WeakValueDictionary

import psycopg
import structlog
from book_runtime.outage import Outage, Reason
from book_runtime.retry import retry
from sqlalchemy import ClauseElement, event, text
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from book_db.errors import ConnectionLost, DatabaseUnavailable, NotCommitted, ReadOnlyDatabase, UnfitDatabase
from book_db.postgres.cancellation import CancellableConnection
from book_db.postgres.connector import PRIMARY, Connector
from book_db.postgres.failures import is_of_a_read_only_session, translate_errors, why
from book_db.postgres.local_bus import LocalBus
from book_db.postgres.pool import ConnectionPool, Lease, is_closed_by_server, keep_cancelled_connections
from book_db.tables import Base

_log = structlog.get_logger(__name__)

Rows: TypeAlias = list[tuple[Any, ...]]

_DIALECT: Final = PGDialect_psycopg()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it so

_TAKES_WRITES: Final = text("SELECT current_setting('transaction_read_only') = 'off'")

_QUIET_SECONDS: Final = 5.0
"""An outage is over after so long without a failure: a database may fail some statements and answer others."""

_OUTAGES: Final[WeakValueDictionary[str, Outage]] = WeakValueDictionary()

# Not after DatabaseOverloaded: a retry would add to the load, after a wait that was long already.
retry_read: Final = retry(times=2, delay=0.05, backoff=4, jitter=0.5, exceptions=(NotCommitted, ConnectionLost))
retry_write: Final = retry(times=2, delay=0.05, backoff=4, jitter=0.5, exceptions=NotCommitted)
"""A read may always be repeated, a write only where it is certain that nothing was committed."""


class Reader(Protocol):
    """Where books are read: a database, or a replica with the database behind it."""

    async def fetch(self, query: LiteralString, values: Mapping[str, object], *, prepared: bool = True) -> Rows:
        """As ``Database.fetch``."""


class Database:
    """A pool of connections. What the driver raises comes out of its blocks as one of the data layer's errors:

    NotCommitted and DatabaseOverloaded when nothing was changed, ConnectionLost when that is not known.

    A task that is cancelled in a block leaves no statement behind that goes on, and the connection is free again.

    ``outage`` is told when the database is out, and when that is over: callers need not report these errors.
    """

    def __init__(self, engine: AsyncEngine, pool: ConnectionPool, outage: Outage | None = None) -> None:
        self.engine = engine
        self.pool: Final = pool
        self.local_bus = LocalBus()
        self.outage: Final = outage

    @classmethod
    def open(
        cls,
        url: str,
        *,
        pool_size: int = 10,
        statement_timeout: float = 10,
        name: str = "colophon",
        target: str = PRIMARY,
        outage: Outage | None = None,
    ) -> Self:
        """Makes the pool; connections are opened as they are needed.

        ``statement_timeout``, in seconds, bounds each statement and each wait for a free connection. ``target`` is as
        for ``Connector``. Raises UnfitDatabase for an address that is none.
        """
        connector = Connector(url, name, statement_timeout=statement_timeout, target=target)
        engine = create_async_engine(
            "postgresql+psycopg://",
            pool_size=pool_size,
            max_overflow=0,
            # What is written, password hashes among it, has no place in a log.
            hide_parameters=True,
            connect_args={"async_creator_fn": partial(connector.connect, CancellableConnection)},
        )
        event.listen(engine.sync_engine, "checkout", _refuse_a_closed_connection)
        event.listen(engine.sync_engine, "handle_error", keep_cancelled_connections)
        return cls(engine, ConnectionPool(engine, pool_size, statement_timeout), outage)

    async def close(self) -> None:
        await self.pool.close()
        await self.engine.dispose()

    async def ping(self, *, writes: bool = False) -> None:
        """Returns when the database answers, and takes ``writes`` if that is asked. Raises DatabaseUnavailable."""
        async with self.statement() as connection:
            if not await connection.scalar(_TAKES_WRITES) and writes:
                raise ReadOnlyDatabase

    @asynccontextmanager
    async def statement(self) -> AsyncIterator[AsyncConnection]:
        """A connection on which each statement is a transaction of its own: one round trip."""
        async with self._lease(autocommit=True) as lease:
            yield lease.connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """A connection on which everything in the block commits together when the block ends."""
        async with self._lease(autocommit=False) as lease, AsyncExitStack() as stack:
            with translate_errors(on_lost=NotCommitted):
                await stack.enter_async_context(lease.connection.begin())
            yield lease.connection

    async def fetch(self, query: LiteralString, values: Mapping[str, object], *, prepared: bool = True) -> Rows:
        """The rows that one statement gives, a transaction of its own, straight from the driver.

        For frequent statements: through SQLAlchemy it is two and a half times as much work (docs/decisions/0024).
        ``query`` is psycopg's, as ``compile_sql`` makes it. An error in it is raised as psycopg's own.

        The driver prepares what is sent often, and PostgreSQL soon has one plan for all its values. Where the best plan
        depends on the values, ``prepared=False`` has it planned each time.
        """
        async with self._lease(autocommit=True) as lease:
            return await fetch_rows(lease.driver, query, values, prepared=prepared)

    @asynccontextmanager
    async def driver(self) -> AsyncIterator[psycopg.AsyncConnection]:
        """A connection as psycopg has it, on which each statement is a transaction of its own."""
        async with self._lease(autocommit=True) as lease:
            yield lease.driver

    @asynccontextmanager
    async def _lease(self, *, autocommit: bool) -> AsyncIterator[Lease]:
        try:
            with translate_errors(on_lost=NotCommitted):  # nothing was sent yet
                lease = await self.pool.acquire(autocommit=autocommit)
            with translate_errors(on_lost=ConnectionLost):
                try:
                    yield lease
                except (DBAPIError, psycopg.Error, DatabaseUnavailable) as error:
                    if is_of_a_read_only_session(error):
                        # By now the address may lead to a server that takes writes: the next one connects anew.
                        await lease.connection.invalidate()
                    raise
                finally:
                    await self.pool.release(lease)
        except DatabaseUnavailable as error:
            if self.outage is not None:
                self.outage.begin(reason_of(error))
            raise
        if self.outage is not None:
            self.outage.end()


def outage_of(url: str) -> Outage:
    """Of the database of a service, one for all pools of this process: `colophon run` has several."""
    outage = _OUTAGES.get(url)
    if outage is None:
        outage = _OUTAGES[url] = Outage(_log, "PostgreSQL", "what needs it waits or is refused", quiet=_QUIET_SECONDS)
    return outage


def reason_of(error: DatabaseUnavailable) -> Reason:
    """Why the database is out."""
    kind = DatabaseUnavailable if isinstance(error, NotCommitted | ConnectionLost) else type(error)
    said = why(error) if error.__cause__ or isinstance(error, UnfitDatabase) else ""
    return Reason(f"{error} {said}".rstrip(), kind)


async def fetch_rows(
    driver: psycopg.AsyncConnection, query: LiteralString, values: Mapping[str, object], *, prepared: bool = True
) -> Rows:
    """As ``Database.fetch``, on a given connection."""
    async with driver.cursor(binary=True) as cursor:
        await cursor.execute(query, values, prepare=None if prepared else False)
        return await cursor.fetchall()


def compile_sql(statement: ClauseElement) -> LiteralString:
    """A statement of SQLAlchemy's as psycopg takes it, for `Database.fetch`.

    It is made of what is in the code alone, which is what psycopg's type stands for: values have no place in it.
    """
    return str(statement.compile(dialect=_DIALECT))


def with_types(row: type[Base], columns: Iterable[str]) -> str:
    """Columns of a table with their types, as ``json_to_recordset`` takes them."""
    types = {column.name: column.type.compile(dialect=_DIALECT) for column in row.__table__.c}
    return ", ".join(f"{column} {types[column]}" for column in columns)


def _refuse_a_closed_connection(driver_connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:
    # A new connection is taken as it is: SQLAlchemy gives up when it is refused one a second time.
    was_taken_before = record.info.get("taken", False)
    record.info["taken"] = True
    if was_taken_before and is_closed_by_server(driver_connection.driver_connection):
        raise DisconnectionError("the server has closed this connection")
