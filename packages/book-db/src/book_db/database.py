"""The pool of connections to PostgreSQL, and what its failures mean."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any, Final, LiteralString, Protocol, Self, TypeAlias

import psycopg
from book_runtime.retry import retry
from psycopg.errors import UndefinedColumn, UndefinedTable
from sqlalchemy import ClauseElement, event, text
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from book_db.cancelling import Connection
from book_db.errors import ConnectionLost, DatabaseOverloaded, DatabaseUnavailable, NotCommitted, SchemaNotThere
from book_db.lending import Lender, Lent, keep_what_is_whole, was_left_by_the_server
from book_db.notices import Notices

Rows: TypeAlias = list[tuple[Any, ...]]

# PostgreSQL reports these before a commit and never after: the statement had no effect.
_GAVE_UP_BEFORE_COMMIT: Final = frozenset(
    (
        "40001",  # serialization_failure
        "40P01",  # deadlock_detected
        "53300",  # too_many_connections
        "57P01",  # admin_shutdown
        "57P03",  # cannot_connect_now
    )
)

# What works on a database before it is set up waits, as it does for one that is not there at all.
_NOT_SET_UP: Final = (UndefinedTable, UndefinedColumn)

_DIALECT: Final = PGDialect_psycopg()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it so

_PING: Final = text("SELECT 1")

# A database that is overloaded is not asked again: that would add to its load, after a wait that was long already.
repeat_read: Final = retry(times=2, delay=0.05, backoff=4, jitter=0.5, exceptions=(NotCommitted, ConnectionLost))
repeat_write: Final = retry(times=2, delay=0.05, backoff=4, jitter=0.5, exceptions=NotCommitted)
"""A read may always be repeated, a write only where it is certain that nothing was committed."""


class Reader(Protocol):
    """Where books are read: a database, or a replica with the database behind it."""

    async def fetch(self, query: LiteralString, values: Mapping[str, object], *, prepared: bool = True) -> Rows:
        """As ``Database.fetch``."""


class Database:
    """A pool of connections. What the driver raises comes out of its blocks as one of the data layer's errors:

    NotCommitted and DatabaseOverloaded when nothing was changed, ConnectionLost when that is not known.

    A task that is cancelled in a block leaves no statement behind that goes on, and the connection is free again.
    """

    def __init__(self, engine: AsyncEngine, lender: Lender) -> None:
        self.engine = engine
        self.lender: Final = lender
        self.notices = Notices()

    @classmethod
    def open(cls, url: str, *, pool_size: int = 10, statement_timeout: float = 10, name: str = "colophon") -> Self:
        """Makes the pool; connections are opened as they are needed.

        ``statement_timeout``, in seconds, bounds each statement and each wait for a free connection.
        """
        engine = create_async_engine(
            driver_url(url),
            pool_size=pool_size,
            max_overflow=0,
            # What is written, password hashes among it, has no place in a log.
            hide_parameters=True,
            connect_args={"async_creator_fn": Connection.connect, **connection_settings(name, statement_timeout)},
        )
        event.listen(engine.sync_engine, "checkout", _refuse_a_closed_connection)
        event.listen(engine.sync_engine, "handle_error", keep_what_is_whole)
        return cls(engine, Lender(engine, pool_size, statement_timeout))

    async def close(self) -> None:
        await self.lender.close()
        await self.engine.dispose()

    async def ping(self) -> None:
        """Returns when the database answers. Raises DatabaseUnavailable."""
        async with self.statement() as connection:
            await connection.execute(_PING)

    @asynccontextmanager
    async def statement(self) -> AsyncIterator[AsyncConnection]:
        """A connection on which each statement is a transaction of its own: one round trip."""
        async with self._lent(autocommit=True) as lent:
            yield lent.connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """A connection on which everything in the block commits together when the block ends."""
        async with self._lent(autocommit=False) as lent, AsyncExitStack() as stack:
            with translated(lost=NotCommitted):
                await stack.enter_async_context(lent.connection.begin())
            yield lent.connection

    async def fetch(self, query: LiteralString, values: Mapping[str, object], *, prepared: bool = True) -> Rows:
        """The rows that one statement gives, a transaction of its own, straight from the driver.

        For what is asked all the time: through SQLAlchemy it is two and a half times as much work
        (docs/decisions/0024). ``query`` is psycopg's, as `written` makes it, and what is wrong with it comes out as an
        error of psycopg.

        The driver prepares what is sent often, and PostgreSQL soon has one plan for all its values. Where the best plan
        hangs on the values, ``prepared=False`` has it planned each time.
        """
        async with self._lent(autocommit=True) as lent:
            return await rows_of(lent.driver, query, values, prepared=prepared)

    @asynccontextmanager
    async def driver(self) -> AsyncIterator[psycopg.AsyncConnection]:
        """A connection as psycopg has it, on which each statement is a transaction of its own."""
        async with self._lent(autocommit=True) as lent:
            yield lent.driver

    @asynccontextmanager
    async def _lent(self, *, autocommit: bool) -> AsyncIterator[Lent]:
        with translated(lost=NotCommitted):  # nothing was sent yet
            lent = await self.lender.lend(autocommit=autocommit)
        with translated(lost=ConnectionLost):
            try:
                yield lent
            finally:
                await self.lender.give_back(lent)


async def rows_of(
    driver: psycopg.AsyncConnection, query: LiteralString, values: Mapping[str, object], *, prepared: bool = True
) -> Rows:
    """As ``Database.fetch``, on a connection that one has."""
    async with driver.cursor(binary=True) as cursor:
        await cursor.execute(query, values, prepare=None if prepared else False)
        return await cursor.fetchall()


@contextmanager
def translated(*, lost: type[DatabaseUnavailable]) -> Iterator[None]:
    """Turns the driver's failures into the data layer's errors, a lost connection into ``lost``."""
    try:
        yield
    except DBAPIError as error:
        if isinstance(error.orig, psycopg.OperationalError):
            raise _meaning(error.orig, lost) from error
        if isinstance(error.orig, _NOT_SET_UP):
            raise SchemaNotThere from error
        raise
    except psycopg.OperationalError as error:
        raise _meaning(error, lost) from error
    except _NOT_SET_UP as error:
        raise SchemaNotThere from error


def _meaning(error: psycopg.OperationalError, lost: type[DatabaseUnavailable]) -> type[DatabaseUnavailable]:
    match error.sqlstate:
        case None:
            return lost
        case "57014":  # query_canceled, by the statement timeout
            return DatabaseOverloaded
        case state if state in _GAVE_UP_BEFORE_COMMIT:
            return NotCommitted
    return DatabaseUnavailable


def written(statement: ClauseElement) -> LiteralString:
    """A statement of SQLAlchemy's as psycopg takes it, for `Database.fetch`.

    It is made of what is in the code alone, which is what psycopg's type stands for: values have no place in it.
    """
    return str(statement.compile(dialect=_DIALECT))


def driver_url(url: str) -> str:
    """The same address with the driver in it that this package uses: psycopg 3."""
    return make_url(url).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


def libpq_parameters(url: str) -> dict[str, Any]:
    """The same address for psycopg itself, which reads a URL by other rules: a path with a space, for one."""
    address = make_url(driver_url(url))
    return dict(address.get_dialect()().create_connect_args(address)[1])


def connection_settings(name: str, statement_timeout: float) -> dict[str, Any]:
    """How every connection is opened: each end gives up on one that is gone, and time is in UTC."""
    settings = {
        "timezone": "UTC",
        "statement_timeout": f"{statement_timeout * 1000:.0f}",
        # By default a server keeps the session of a machine that vanished for two hours, and with it the relay's lock.
        "tcp_keepalives_idle": "10",
        "tcp_keepalives_interval": "5",
        "tcp_keepalives_count": "2",
    }
    return {
        "application_name": name,
        "connect_timeout": 5,
        "tcp_user_timeout": 10_000,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 2,
        "options": " ".join(f"-c {setting}={value}" for setting, value in settings.items()),
    }


def _refuse_a_closed_connection(driver_connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:
    # A new connection is taken as it is: SQLAlchemy gives up when it is refused one a second time.
    was_taken_before = record.info.get("taken", False)
    record.info["taken"] = True
    if was_taken_before and was_left_by_the_server(driver_connection.driver_connection):
        raise DisconnectionError("the server has closed this connection")
