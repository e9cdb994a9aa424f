"""What is done before the services start: the signing keys are made, and the schema is brought up to date."""

from pathlib import Path

import typer
from book_db import migrations
from book_runtime.retry import Failure, retry
from book_runtime.settings import PostgresUrl, Settings
from pydantic import Field
from sqlalchemy.exc import OperationalError

from rest_api.users.keys import make_key_pair


class KeySettings(Settings):
    """Where the keys are."""

    jwt_private_key_file: Path = Field(examples=["/run/keys/private/jwt.pem"])
    """Where the key that signs access tokens is to be. Only the REST service may read it."""

    jwt_public_key_file: Path = Field(examples=["/run/keys/public/jwt.pem"])
    """Where the key that verifies access tokens is to be."""


class SetupSettings(KeySettings):
    """What is made before the services start."""

    database_url: PostgresUrl
    """The catalogue's database."""


def set_up(settings: SetupSettings) -> None:
    """Does what is not done yet. Raises UnusableKeys, and OperationalError when the database cannot be reached."""
    make_key_pair(settings.jwt_private_key_file, settings.jwt_public_key_file)
    # A database that is just starting is given half a minute.
    wait = retry(times=30, delay=1, exceptions=OperationalError, on_retry=_say_why_waiting)
    wait(migrations.upgrade)(settings.database_url)


def _say_why_waiting(failure: Failure) -> None:
    if failure.attempt == 1:
        typer.echo("rest-api: waiting for the database", err=True)
