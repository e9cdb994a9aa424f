"""The data layer's parts, each on servers of this test run, closed when the test ends."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from book_db.books.catalogue import Catalogue
from book_db.cache import NoCache, RedisCache
from book_db.database import Database
from book_db.outbox import OutboxBell
from hypothesis import settings
from support.data_layer import Eventually, Query, StatementsOf, statements_sent_to

# How long an example takes says more of what else runs on the machine than of the code.
settings.register_profile("book-db", deadline=None)
settings.load_profile("book-db")


@pytest.fixture
def actor() -> UUID:
    return uuid4()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database.open(database_url)
    yield database
    await database.close()


@pytest.fixture
async def bell(database: Database) -> AsyncIterator[OutboxBell]:
    bell = OutboxBell(database)
    yield bell
    await bell.close()


@pytest.fixture
def catalogue(database: Database, bell: OutboxBell) -> Catalogue:
    """A catalogue without a cache."""
    return Catalogue(database, NoCache(), bell)


@pytest.fixture
async def cache(redis_url: str) -> AsyncIterator[RedisCache]:
    cache = RedisCache.open(redis_url)
    yield cache
    await cache.close()


@pytest.fixture
def cached_catalogue(database: Database, cache: RedisCache, bell: OutboxBell) -> Catalogue:
    return Catalogue(database, cache, bell)


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
def eventually() -> Eventually:
    """Waits until a condition holds, looking often; fails after so many seconds."""

    async def wait(condition: Callable[[], Any], seconds: float = 5) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.005)

    return wait
