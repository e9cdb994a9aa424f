"""What is done before the services start: the signing keys are made, and the schema is brought up to date."""

from pathlib import Path
from typing import Annotated

import typer
from book_db import migrations
from book_db.postgres import grants
from book_db.postgres.failures import why
from book_db.settings import DatabaseUrl
from book_runtime.retry import Failure
from book_runtime.settings import Settings
from pydantic import Field

from rest_api.users.keys import make_key_pair

Role = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]{0,62}$", examples=["colophon_rest"])]


class KeySettings(Settings):
    """Where the keys are."""

    jwt_private_key_file: Path = Field(examples=["/run/keys/private/jwt.pem"])
    """Where the key that signs access tokens is to be. Only the REST service may read it."""

    jwt_public_key_file: Path = Field(examples=["/run/keys/public/jwt.pem"])
    """Where the key that verifies access tokens is to be."""


class SetupSettings(KeySettings):
    """What is made before the services start."""

    database_url: DatabaseUrl
    """The catalogue's database."""

    rest_role: Role | None = None
    """The role of PostgreSQL that REST comes as, if not the one that owns the tables; it is given what REST needs."""

    relay_role: Role | None = None
    """The same for the relay."""

    grpc_role: Role | None = None
    """The same for gRPC."""

    def roles(self) -> dict[str, str]:
        """Those that are set, by service."""
        roles = {"rest": self.rest_role, "relay": self.relay_role, "grpc": self.grpc_role}
        return {service: role for service, role in roles.items() if role}


def set_up(settings: SetupSettings) -> None:
    """Does what is not done yet.

    Raises UnusableKeys, DatabaseUnavailable, and psycopg.Error when a role is missing.
    """
    make_key_pair(settings.jwt_private_key_file, settings.jwt_public_key_file)
    # A database that is just starting is given half a minute.
    migrations.upgrade(settings.database_url, patience=30, on_wait=_say_why_waiting)
    grants.grant(settings.database_url, settings.roles())


def _say_why_waiting(failure: Failure) -> None:
    if failure.attempt == 1:
        typer.echo(f"rest-api: waiting for the database: {why(failure.exception)}", err=True)
