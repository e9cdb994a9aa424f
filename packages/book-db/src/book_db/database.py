"""The pool of connections to PostgreSQL, and what its failures mean."""

import select
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, Self

import psycopg
from sqlalchemy import event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from book_db.errors import DatabaseUnavailable, NotCommitted

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

_PING: Final = text("SELECT 1")


class Database:
    """A pool of connections. Failures come out as DatabaseUnavailable, or as NotCommitted where that is certain."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self._autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")

    @classmethod
    def open(cls, url: str, *, pool_size: int = 10, statement_timeout: float = 10, name: str = "colophon") -> Self:
        """Makes the pool; connections are opened as they are needed. The timeout is in seconds, per statement."""
        engine = create_async_engine(
            driver_url(url),
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=statement_timeout,
            connect_args=connection_settings(name, statement_timeout),
        )
        event.listen(engine.sync_engine, "checkout", _refuse_a_closed_connection)
        return cls(engine)

    async def close(self) -> None:
        await self.engine.dispose()

    async def ping(self) -> None:
        """Returns when the database answers. Raises DatabaseUnavailable."""
        async with self.statement() as connection:
            await connection.execute(_PING)

    @asynccontextmanager
    async def statement(self) -> AsyncIterator[AsyncConnection]:
        """A connection on which each statement is a transaction of its own: one round trip."""
        with _translated(phase := _Phase()):
            async with self._autocommit.connect() as connection:
                phase.connected = True
                yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """A connection on which everything in the block commits together when the block ends."""
        with _translated(phase := _Phase()):
            async with self.engine.begin() as connection:
                phase.connected = True
                yield connection


class _Phase:
    """Whether the connection was had: before that, nothing can have been committed."""

    connected = False


@contextmanager
def _translated(phase: _Phase) -> Iterator[None]:
    """Turns the driver's failures into the data layer's errors."""
    try:
        yield
    except PoolTimeout as error:
        raise NotCommitted from error
    except DBAPIError as error:
        match error.orig:
            case psycopg.Error(sqlstate=state) if state in _GAVE_UP_BEFORE_COMMIT:
                raise NotCommitted from error
            case psycopg.OperationalError():
                raise (DatabaseUnavailable if phase.connected else NotCommitted) from error
        raise


def driver_url(url: str) -> str:
    """The same address with the driver in it that this package uses: psycopg 3."""
    return make_url(url).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


def connection_settings(name: str, statement_timeout: float) -> dict[str, Any]:
    """How every connection is opened: it gives up on a server that is gone, and counts time in UTC."""
    return {
        "application_name": name,
        "connect_timeout": 5,
        "tcp_user_timeout": 10_000,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 2,
        "options": f"-c timezone=UTC -c statement_timeout={int(statement_timeout * 1000)}",
    }


def _refuse_a_closed_connection(driver_connection: Any, _record: object, _proxy: object) -> None:
    # A server that restarted has closed the connections in the pool, which shows as something to read: a look at
    # the socket finds that without the round trip of a ping, so that a write is not begun on a dead connection.
    socket = select.poll()
    socket.register(driver_connection.driver_connection.fileno(), select.POLLIN)
    if socket.poll(0):
        raise DisconnectionError("the server has closed this connection")
