"""The data layer's parts, each on servers of this test run, closed when the test ends."""

import time
from collections.abc import AsyncIterator, Iterator, Sequence
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from book_db.books.cache import NoCache, RedisCache
from book_db.books.catalogue import Catalogue
from book_db.events.outbox import OutboxNotifier
from book_db.postgres.database import Database
from support.data_layer import Query, StatementsOf, statements_sent_to
from support.waiting import PATIENCE


@pytest.fixture
def actor() -> UUID:
    return uuid4()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database.open(database_url)
    yield database
    await database.close()


@pytest.fixture
async def notifier(database: Database) -> AsyncIterator[OutboxNotifier]:
    notifier = OutboxNotifier(database)
    yield notifier
    await notifier.close()


@pytest.fixture
def catalogue(database: Database, notifier: OutboxNotifier) -> Catalogue:
    """A catalogue without a cache."""
    return Catalogue(database, NoCache(), notifier)


@pytest.fixture
async def cache(redis_url: str) -> AsyncIterator[RedisCache]:
    cache = RedisCache.open(redis_url, timeout=PATIENCE)
    yield cache
    await cache.close()


@pytest.fixture
def cached_catalogue(database: Database, cache: RedisCache, notifier: OutboxNotifier) -> Catalogue:
    return Catalogue(database, cache, notifier)


@pytest.fixture
def query(database_url: str) -> Iterator[Query]:
    """Asks the database past the data layer."""
    with psycopg.connect(database_url, autocommit=True) as connection:

        def ask(statement: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
            cursor = connection.execute(statement.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

        yield ask


@pytest.fixture
def statements_of() -> StatementsOf:
    """`with statements_of(database) as statements:` gathers the SQL that is sent in the block."""
    return statements_sent_to


@pytest.fixture
def clock() -> SimpleNamespace:
    """In place of the `time` of a module. It stands still, until it is set."""
    clock: SimpleNamespace = SimpleNamespace(now=0.0, time=time.time, time_ns=time.time_ns)
    clock.monotonic = lambda: clock.now
    return clock
