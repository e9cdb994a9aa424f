"""What the driver's failures mean: in one place, by the SQLSTATE (PostgreSQL's manual, appendix A)."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg
from sqlalchemy.exc import DBAPIError

from book_db.errors import (
    DatabaseOverloaded,
    DatabaseUnavailable,
    NotCommitted,
    ReadOnlyDatabase,
    RightsMissing,
    SchemaNotThere,
    UnfitDatabase,
)

_MEANINGS: Final[dict[str, type[DatabaseUnavailable]]] = {
    # PostgreSQL reports these before a commit and never after: the statement had no effect.
    "25P03": NotCommitted,  # idle_in_transaction_session_timeout
    "40001": NotCommitted,  # serialization_failure; a standby that must go on, too
    "40P01": NotCommitted,  # deadlock_detected
    "53300": NotCommitted,  # too_many_connections
    "57P01": NotCommitted,  # admin_shutdown
    "57P03": NotCommitted,  # cannot_connect_now
    "57P04": NotCommitted,  # database_dropped
    "57P05": NotCommitted,  # idle_session_timeout
    "25006": ReadOnlyDatabase,  # read_only_sql_transaction
    "25P04": DatabaseOverloaded,  # transaction_timeout
    "55P03": DatabaseOverloaded,  # lock_not_available, by the lock timeout
    "57014": DatabaseOverloaded,  # query_canceled, by the statement timeout
    # A process that is started before the database is set up waits, as for one that is not there.
    "42P01": SchemaNotThere,  # undefined_table
    "42703": SchemaNotThere,  # undefined_column
    "42501": RightsMissing,  # insufficient_privilege
}

# Connections that end in the middle. Poolers have no other state for whatever they say.
_LOST: Final = ("08", "57P02")

# invalid_authorization_specification, invalid_catalog_name
_NOT_LET_IN: Final = ("28", "3D")

# libpq says in words alone why a connection failed, and the server in the language of lc_messages. What is not
# recognised counts as temporary.
_REFUSED: Final = re.compile(
    r"password authentication failed|no password supplied|role \".*\" does not exist|database \".*\" does not exist"
    r"|no pg_hba.conf entry|permission denied for database|is not permitted to log in"
    r"|not currently accepting connections"
    r"|server does not support SSL|certificate verify failed|root certificate file|could not load"
    r"|no authentication method|none of the server's SASL|authentication method requirement"
    r"|invalid \S+ value: |invalid integer value |invalid port number|could not match \d+ |definition of service"
    # PgBouncer's
    r"|unsupported startup parameter|SASL authentication failed|no such user|no such database|auth failed"
)
_READ_ONLY: Final = re.compile(r"session is read-only|server is in hot standby mode")

# Two spaces stand behind the severity, which has its own word in each language, and behind no word of the system's.
_ANSWERED: Final = re.compile(r"failed: [^:\n]{1,40}:  ")


@contextmanager
def translate_errors(*, on_lost: type[DatabaseUnavailable]) -> Iterator[None]:
    """Turns the driver's failures into the data layer's errors, a lost connection into ``on_lost``.

    What is wrong with a statement comes through as it is.
    """
    try:
        yield
    except (DBAPIError, psycopg.Error) as error:
        meaning = meaning_of(error, on_lost)
        if meaning is None:
            raise
        raise meaning from error


def meaning_of(error: DBAPIError | psycopg.Error, lost: type[DatabaseUnavailable]) -> DatabaseUnavailable | None:
    """The data layer's error, or None where it is the statement that is wrong."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if not isinstance(cause, psycopg.Error):
        return None
    state = cause.sqlstate
    if state in _MEANINGS:
        return _MEANINGS[state]()
    if not isinstance(cause, psycopg.OperationalError):
        return None
    if state is None or state.startswith(_LOST):
        return _why_not_connected(str(cause), lost)
    return UnfitDatabase(first_line(cause)) if state.startswith(_NOT_LET_IN) else DatabaseUnavailable()


def _why_not_connected(said: str, lost: type[DatabaseUnavailable]) -> DatabaseUnavailable:
    if _READ_ONLY.search(said):
        return ReadOnlyDatabase()
    if _REFUSED.search(said):
        return UnfitDatabase(first_line(said))
    return lost()


def is_of_a_read_only_session(error: DBAPIError | psycopg.Error | DatabaseUnavailable) -> bool:
    """Whether the connection leads to where nothing can be written."""
    meaning = error if isinstance(error, DatabaseUnavailable) else meaning_of(error, DatabaseUnavailable)
    return isinstance(meaning, ReadOnlyDatabase)


def has_answered(error: Exception) -> bool:
    """Whether there is a server, and it has refused to be used."""
    return isinstance(error, ReadOnlyDatabase | UnfitDatabase) or bool(_ANSWERED.search(str(cause_of(error))))


def cause_of(error: BaseException) -> BaseException:
    """What the driver said, without what SQLAlchemy adds for developers."""
    cause = error.__cause__ or error
    return cause.orig if isinstance(cause, DBAPIError) and cause.orig else cause


def why(error: Exception) -> str:
    """In one sentence, for the user of a command."""
    return error.reason if isinstance(error, UnfitDatabase) else first_line(cause_of(error))


def first_line(said: object) -> str:
    """Of what the driver says, whose other lines are hints and places in statements."""
    return str(said).strip().partition("\n")[0]
