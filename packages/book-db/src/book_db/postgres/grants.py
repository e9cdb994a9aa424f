"""What each service may do in the database, where it comes with a role of its own: what it needs, and no more.

docs/decisions/0035 gives the reasons.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from psycopg import sql

from book_db.postgres.connector import Connector

_ALL: Final = "SELECT, INSERT, UPDATE, DELETE"

PRIVILEGES: Final[Mapping[str, Mapping[str, str]]] = {
    "rest": {
        "books": _ALL,
        "outbox": "INSERT",
        "idempotency_keys": _ALL,
        "users": _ALL,
        "sessions": _ALL,
        "refresh_tokens": _ALL,
        "api_tokens": _ALL,
        "oauth_accounts": _ALL,
        # Nothing in it is ever changed; UPDATE is what it takes to lock a row that is about to be deleted.
        "account_events": _ALL,
    },
    "relay": {"outbox": _ALL, "parked_events": _ALL},
    "grpc": {
        "books": "SELECT",
        "event_log": "SELECT, INSERT, DELETE",
        "event_log_sweeps": "SELECT, INSERT, DELETE",
        # Who calls, and what they may do; neither hashes nor addresses.
        "users": "SELECT (id, is_active, is_superuser, is_editor)",
        "sessions": "SELECT (id, user_id, ended_at, expires_at)",
        "api_tokens": "SELECT (hash, user_id, scopes, expires_at)",
    },
}
"""By service and table."""


class Right(NamedTuple):
    """One thing that a service does."""

    table: str
    column: str | None
    """None: to the table as a whole."""
    privilege: str


def rights_of(service: str) -> Iterator[Right]:
    """What a service needs, one by one."""
    for table, privileges in PRIVILEGES[service].items():
        for privilege, columns in re.findall(r"(\w+)(?: \(([^)]*)\))?(?:, |$)", privileges):
            for column in columns.split(", "):
                yield Right(table, column or None, privilege)


def grant(url: str, roles: Mapping[str, str]) -> None:
    """Gives the role of each service what the service needs, and takes away whatever else it has on our tables.

    ``roles`` are the names of roles that are there, by service. Whoever comes with ``url`` must own the tables. Raises
    psycopg.Error, and then nothing was changed.
    """
    with Connector(url, "colophon-grants").connect_now() as connection:
        [schema] = connection.execute("SELECT current_schema()").fetchone() or ()
        for service, role in roles.items():
            name = sql.Identifier(role)
            revoke = sql.SQL("REVOKE ALL ON ALL TABLES IN SCHEMA {} FROM {}")
            connection.execute(revoke.format(sql.Identifier(schema), name))
            for table, privileges in PRIVILEGES[service].items():
                statement = sql.SQL("GRANT {} ON {} TO {}")
                connection.execute(statement.format(sql.SQL(privileges), sql.Identifier(table), name))
