"""A catalogue on servers of its own, with books in it and somebody who is signed in."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

import httpx
import psutil  # type: ignore[import-untyped]  # psutil ships no types
from book_db.book import Book
from book_db.books import pages
from book_db.migrations import upgrade
from rest_api.users.keys import make_key_pair
from support.people import PASSWORD
from support.postgresql import PostgreSQLServer
from support.rabbitmq import RabbitMQServer
from support.redis import RedisServer
from support.workspace import Workspace

from benchmarks.filling import fill

PAGE: Final = 100
"""Books of a page."""
LATE: Final = 1_000
"""The page that stands for those that are far from the beginning."""

_DAY_SECONDS: Final = "86400"


@dataclass(frozen=True)
class Catalogue:
    """What the services of one catalogue are started with."""

    workspace: Workspace
    postgresql: PostgreSQLServer
    redis: RedisServer
    rabbitmq: RabbitMQServer
    database_url: str
    environment: dict[str, str]
    books: int

    def without_cache(self) -> dict[str, str]:
        return {name: value for name, value in self.environment.items() if name != "REDIS_URL"}

    def beside(self, books: int) -> "Catalogue":
        """Another one on the same servers, with so many books.

        Those of its services that read must be started without the cache, which knows books by their numbers alone.
        """
        url = _database_of(self.postgresql, books)
        return replace(self, database_url=url, environment=self.environment | {"DATABASE_URL": url}, books=books)

    def some(self, number: int) -> list[int]:
        """The ids of so many books, or of all if there are fewer, from all parts of the catalogue."""
        return list(range(1, self.books + 1, max(1, self.books // number)))[:number]

    def before_page(self, number: int) -> int:
        """The id of the book before a page, or before the last one if there are fewer."""
        return (min(number, self.books // PAGE) - 1) * PAGE

    def pages(self, number: int) -> list[str]:
        """As many parameters of lists, each for a page of a hundred, from all parts of the catalogue."""
        last = max(1, self.books - PAGE)
        return [page_after(book_id) for book_id in range(0, last, max(1, last // number))][:number]


@contextmanager
def a_catalogue(books: int) -> Iterator[Catalogue]:
    """With so many books of which nobody has been told. What it has started is gone at the end.

    All is on a disk and written as by servers with the defaults: a durable write is what is measured. The
    memory of PostgreSQL alone is set, since its default is meant for the smallest of machines.
    """
    workspace = Workspace(on_disk=True)
    with ExitStack() as stack:
        stack.callback(workspace.close)
        rabbitmq = RabbitMQServer(workspace)
        stack.callback(rabbitmq.dispose)
        rabbitmq.launch()  # it is the slowest to come
        postgresql = stack.enter_context(
            PostgreSQLServer(workspace, [f"shared_buffers={_a_quarter_of_the_memory()}MB"])
        )
        redis = stack.enter_context(RedisServer(workspace))
        url = _database_of(postgresql, books)
        rabbitmq.wait_until_it_answers()
        environment = {
            "DATABASE_URL": url,
            "REDIS_URL": redis.url,
            "AMQP_URL": rabbitmq.url,
            "ACCESS_TOKEN_SECONDS": _DAY_SECONDS,
            **_keys(workspace.make_folder("keys")),
        }
        yield Catalogue(workspace, postgresql, redis, rabbitmq, url, environment, books)


def sign_in(url: str) -> str:
    """An access token of somebody who has just registered, or did so before."""
    account = {"email": "reader@example.org", "password": PASSWORD}
    with httpx.Client(base_url=f"{url}/api/v1/auth", timeout=30) as client:
        client.post("/register", json=account)
        answer = client.post("/login", data={"username": account["email"], "password": PASSWORD}).raise_for_status()
    return str(answer.json()["access_token"])


def page_after(book_id: int) -> str:
    """The parameters for the page of a list that begins after this book; 0 for the first."""
    if not book_id:
        return f"page_size={PAGE}"
    return f"page_size={PAGE}&page_token={token_after(book_id)}"


def token_after(book_id: int) -> str:
    """By its id, nothing else of the book is in a token. To ask for fifty thousand pages in turn would take minutes."""
    now = datetime.now(UTC)
    return pages.encode(Book(book_id, "", "", date.min, 1, now, now))


def _a_quarter_of_the_memory() -> int:
    """In megabytes: what PostgreSQL's manual suggests for shared_buffers, where the default is 128."""
    return int(psutil.virtual_memory().total) // 4 // 2**20


def _database_of(postgresql: PostgreSQLServer, books: int) -> str:
    url = postgresql.url_of(postgresql.create_database())
    upgrade(url)
    if books:
        fill(url, books)
    return url


def _keys(folder: Path) -> dict[str, str]:
    private, public = folder / "private.pem", folder / "public.pem"
    make_key_pair(private, public)
    return {"JWT_PRIVATE_KEY_FILE": str(private), "JWT_PUBLIC_KEY_FILE": str(public)}
