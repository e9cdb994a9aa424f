"""Makes connections to PostgreSQL: to which server, with which settings, on which conditions.

The settings of a session are set by a statement when it is made. A pooler may drop those that come in `options` of the
address: it passes few of them on. docs/decisions/0042 says more.
"""

import asyncio
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final, NamedTuple, TypeVar

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import Engine, create_engine, event

from book_db.errors import ReadOnlyDatabase, UnfitDatabase
from book_db.postgres.failures import first_line, is_of_a_read_only_session

C = TypeVar("C", bound=psycopg.AsyncConnection)

PRIMARY: Final = "read-write"
"""Of several hosts, or those behind one address, the first that takes writes; none that does not."""
REPLICA: Final = "prefer-standby"
"""The first standby, or else whatever there is."""

_CONNECT_TIMEOUT_SECONDS: Final = 5
"""For one host to connect, and then again to take the settings."""

_OLDEST_RELEASE: Final = 15
"""The release of PostgreSQL."""

# Each end gives up on a peer that is gone.
_TIMEOUTS: Final = {
    "connect_timeout": _CONNECT_TIMEOUT_SECONDS,
    "tcp_user_timeout": 10_000,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 2,
}

# What the code relies on, whatever is set for the server, the database or the role.
_SESSION: Final[Mapping[str, str]] = {
    # How values are written, and read by the driver.
    "timezone": "UTC",
    "datestyle": "ISO, MDY",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "client_encoding": "UTF8",
    "standard_conforming_strings": "on",
    "array_nulls": "on",
    # What statements mean, and how much of it they give.
    "transform_null_equals": "off",
    "quote_all_identifiers": "off",
    "gin_fuzzy_search_limit": "0",
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    "exit_on_error": "off",
    # How long something may take. The statement timeout bounds a wait for a lock as well.
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "60s",
    "transaction_timeout": "0",
    "idle_session_timeout": "0",
    # By default a server keeps the session of a machine that vanished for two hours, and with it the relay's lock.
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "2",
}

# One message, and so one round trip. The first statement by itself: with a timeout of a millisecond, set for the
# database, the second could be cut off. Settings that this release of PostgreSQL has not got are left out.
_SETTLE: Final = """
    SET statement_timeout = 0;
    SELECT set_config(name, value, false) FROM (VALUES {}) AS wanted (name, value)
    WHERE current_setting(name, true) IS NOT NULL;
    SELECT current_setting('server_encoding'), current_schema() IS NOT NULL,
        current_setting('transaction_read_only') = 'on', current_setting('TimeZone'), current_setting('DateStyle')
"""


class _Session(NamedTuple):
    """What the server says of a session that has been given its settings."""

    encoding: str
    has_schema: bool
    is_read_only: bool
    timezone: str
    datestyle: str


class Connector:
    """Makes connections to one database.

    Every way to connect raises psycopg.OperationalError, ReadOnlyDatabase where the session takes no writes and must,
    and UnfitDatabase.
    """

    def __init__(
        self,
        url: str,
        name: str,
        *,
        statement_timeout: float = 0,
        target: str = PRIMARY,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """``name`` is what the connections are called in PostgreSQL, ``statement_timeout`` is in seconds, 0 for none.

        ``target`` is the server that is wanted, if ``target_session_attrs`` of the address does not say it.
        ``settings`` are more of those that a session gets. Raises UnfitDatabase for an address that is none.
        """
        own = {"application_name": name, "client_encoding": "UTF8"}
        self.parameters: dict[str, Any] = {"target_session_attrs": target, **_TIMEOUTS, **parameters_of(url), **own}
        self._must_write = self.parameters["target_session_attrs"] == PRIMARY
        self._instead = list(_for_each_host(self.parameters)) if self._must_write else []
        timeout = {"statement_timeout": f"{statement_timeout * 1000:.0f}"}
        self._settling = _statement({**_SESSION, **timeout, **(settings or {})})

    async def connect(self, kind: type[C], conninfo: str = "", *, autocommit: bool = False, **more: Any) -> C:
        """A connection of this kind that has its settings. The rest is psycopg's, as SQLAlchemy gives it."""
        try:
            return await self._connect(kind, conninfo, autocommit, {**self.parameters, **more})
        except (psycopg.OperationalError, ReadOnlyDatabase) as error:
            for parameters in self._instead if is_of_a_read_only_session(error) else ():
                with suppress(psycopg.OperationalError, ReadOnlyDatabase):
                    return await self._connect(kind, conninfo, autocommit, {**parameters, **more})
            raise

    def connect_now(self, conninfo: str = "", *, autocommit: bool = False, **more: Any) -> psycopg.Connection:
        """As `connect`, for what does not wait in an event loop."""
        try:
            return self._connect_now(conninfo, autocommit, {**self.parameters, **more})
        except (psycopg.OperationalError, ReadOnlyDatabase) as error:
            for parameters in self._instead if is_of_a_read_only_session(error) else ():
                with suppress(psycopg.OperationalError, ReadOnlyDatabase):
                    return self._connect_now(conninfo, autocommit, {**parameters, **more})
            raise

    def engine(self) -> Engine:
        """SQLAlchemy's, for what does not wait in an event loop."""
        engine = create_engine("postgresql+psycopg://")

        @event.listens_for(engine, "do_connect")
        def connect(_dialect: object, _record: object, arguments: Any, parameters: Any) -> psycopg.Connection:
            return self.connect_now(*arguments, **parameters)

        return engine

    async def _connect(self, kind: type[C], conninfo: str, autocommit: bool, parameters: dict[str, Any]) -> C:
        with _refusing_bad_parameters():
            connection = await kind.connect(conninfo, autocommit=True, **parameters)
        try:
            await self._settle(connection)
            await connection.set_autocommit(autocommit)
        except BaseException:
            await connection.close()
            raise
        return connection

    def _connect_now(self, conninfo: str, autocommit: bool, parameters: dict[str, Any]) -> psycopg.Connection:
        with _refusing_bad_parameters():
            connection = psycopg.connect(conninfo, autocommit=True, **parameters)
        try:
            _refuse_an_old_server(connection)
            cursor = connection.execute(self._settling)
            while cursor.nextset():
                pass
            self._refuse_unfit(_Session(*(cursor.fetchone() or ())))
            connection.autocommit = autocommit
        except BaseException:
            connection.close()
            raise
        return connection

    async def _settle(self, connection: psycopg.AsyncConnection) -> None:
        _refuse_an_old_server(connection)
        # A pooler may take a connection and have no session for it. To cancel the statement would take as long again.
        timer = asyncio.get_running_loop().call_later(_CONNECT_TIMEOUT_SECONDS, _cut_off, connection)
        try:
            cursor = await connection.execute(self._settling)
        finally:
            timer.cancel()
        while cursor.nextset():
            pass
        self._refuse_unfit(_Session(*(await cursor.fetchone() or ())))

    def _refuse_unfit(self, session: _Session) -> None:
        if session.encoding != "UTF8":
            raise UnfitDatabase(
                f"its encoding is {session.encoding} and must be UTF8, which it is given when it is made:"
                " CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0"
            )
        if not session.has_schema:
            raise UnfitDatabase("the search_path names no schema that is there and that this role may use")
        if session.timezone != "UTC" or not session.datestyle.startswith("ISO"):
            raise UnfitDatabase("what is set for a session does not stay: a pooler must keep sessions apart")
        if self._must_write and session.is_read_only:
            raise ReadOnlyDatabase


def is_behind_a_pooler(connection: psycopg.AsyncConnection, backend: int) -> bool:
    """Whether the process that answers is another than the one that the connection was told of.

    A pooler answers with a number of its own, by which it finds the session when a statement is to be cancelled.
    """
    return connection.info.backend_pid != backend


def parameters_of(url: str) -> dict[str, Any]:
    """What the address says, in libpq's terms and by its rules, with several hosts if it names several.

    SQLAlchemy has rules of its own, which know of one host. Raises UnfitDatabase.
    """
    _, _, rest = url.partition("://")
    try:
        return dict(conninfo_to_dict(f"postgresql://{rest}"))
    except psycopg.ProgrammingError as error:
        said = first_line(error)
        # Most of what libpq says of an address repeats it, with the password.
        if not said.startswith("invalid URI query parameter"):
            said = "it cannot be read: in a password, characters such as % / ? # @ must be percent-encoded (%25 for %)"
    raise UnfitDatabase(said)


def _for_each_host(parameters: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The same for one host at a time, whatever that says of itself in the beginning.

    It is what libpq goes by, and PgBouncer (1.18) says what was true when it first connected: it leads to a server that
    was promoted, and calls it a standby.
    """
    several = {name: str(parameters[name]).split(",") for name in ("host", "hostaddr", "port") if name in parameters}
    for number in range(max(map(len, several.values()), default=1)):
        one = {name: values[min(number, len(values) - 1)] for name, values in several.items()}
        yield {**parameters, **one, "target_session_attrs": "any"}


@contextmanager
def _refusing_bad_parameters() -> Iterator[None]:
    try:
        yield
    except psycopg.ProgrammingError as error:  # a time that is no number, for one
        raise UnfitDatabase(first_line(error)) from error


def _statement(settings: Mapping[str, str]) -> bytes:
    values = sql.SQL(", ").join(sql.SQL("({}, {})").format(name, value) for name, value in settings.items())
    return sql.SQL(_SETTLE).format(values).as_bytes()


def _cut_off(connection: psycopg.AsyncConnection) -> None:
    """Whoever waits for it gets an OperationalError at once."""
    with suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as end:
        end.shutdown(socket.SHUT_RDWR)


def _refuse_an_old_server(connection: psycopg.AsyncConnection | psycopg.Connection) -> None:
    version = connection.info.server_version // 10_000
    if version < _OLDEST_RELEASE:
        raise UnfitDatabase(f"it is PostgreSQL {version}, and must be {_OLDEST_RELEASE} or newer")
