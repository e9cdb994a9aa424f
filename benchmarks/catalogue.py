"""A catalogue on servers of its own, with books in it and somebody who is signed in."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import psycopg
from book_db.migrations import upgrade
from rest_api.users.keys import make_key_pair
from support.people import PASSWORD
from support.postgresql import PostgreSQLServer
from support.rabbitmq import RabbitMQServer
from support.redis import RedisServer
from support.workspace import Workspace

_BOOKS: Final = """
    INSERT INTO books (title, author, publication_date, title_words, author_words, words_version)
    SELECT title, author, DATE '1800-01-01' + number %% 80000,
        string_to_array(lower(title), ' '), string_to_array(lower(author), ' '), 1
    FROM generate_series(1, %s) AS number,
        LATERAL (SELECT 'The Book of Number ' || number AS title, 'Author ' || number %% 997 AS author) AS made
"""

_FOR_A_DAY: Final = "86400"


@dataclass(frozen=True)
class Catalogue:
    """What the services of one catalogue are started with."""

    workspace: Workspace
    postgresql: PostgreSQLServer
    redis: RedisServer
    rabbitmq: RabbitMQServer
    database_url: str
    environment: dict[str, str]

    def without_cache(self) -> dict[str, str]:
        return {name: value for name, value in self.environment.items() if name != "REDIS_URL"}


@contextmanager
def a_catalogue(books: int) -> Iterator[Catalogue]:
    """With so many books of which nobody has been told. What it has started is gone at the end."""
    workspace = Workspace()
    with ExitStack() as stack:
        stack.callback(workspace.close)
        # Its files are written as those of a server with the defaults, for a durable write is what is measured.
        postgresql = stack.enter_context(PostgreSQLServer(workspace, careful=True))
        redis = stack.enter_context(RedisServer(workspace))
        rabbitmq = stack.enter_context(RabbitMQServer(workspace))
        url = postgresql.url_of(postgresql.create_database())
        upgrade(url)
        _fill(url, books)
        environment = {
            "DATABASE_URL": url,
            "REDIS_URL": redis.url,
            "AMQP_URL": rabbitmq.url,
            "ACCESS_TOKEN_SECONDS": _FOR_A_DAY,
            **_keys(workspace.make_folder("keys")),
        }
        yield Catalogue(workspace, postgresql, redis, rabbitmq, url, environment)


def sign_in(url: str) -> str:
    """An access token of somebody who has just registered."""
    account = {"email": "reader@example.org", "password": PASSWORD}
    with httpx.Client(base_url=f"{url}/api/v1/auth", timeout=30) as client:
        client.post("/register", json=account)
        answer = client.post("/login", data={"username": account["email"], "password": PASSWORD}).raise_for_status()
    return str(answer.json()["access_token"])


def _fill(url: str, books: int) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_BOOKS, [books])
        connection.execute("VACUUM ANALYZE")


def _keys(folder: Path) -> dict[str, str]:
    private, public = folder / "private.pem", folder / "public.pem"
    make_key_pair(private, public)
    return {"JWT_PRIVATE_KEY_FILE": str(private), "JWT_PUBLIC_KEY_FILE": str(public)}
