"""Roles of PostgreSQL for the services, as an operator gives them: what they may not do fails in tests too."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import psycopg
from book_db.postgres.grants import grant
from psycopg import sql

ROLES: Final[Mapping[str, str]] = {service: f"colophon_{service}" for service in ("rest", "relay", "grpc")}
_PASSWORD: Final = "secret"  # of a server that is there for a test


def with_roles(url: str) -> dict[str, str]:
    """Where each service finds the database of a superuser's URL, with the rights that it needs and no others."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(1)")
        for role in ROLES.values():
            if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).fetchone() is None:
                create = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
                connection.execute(create.format(sql.Identifier(role), sql.Literal(_PASSWORD)))
    grant(url, ROLES)
    parts = urlsplit(url)
    return {
        service: parts._replace(netloc=f"{role}:{_PASSWORD}@{parts.hostname}:{parts.port}").geturl()
        for service, role in ROLES.items()
    }
