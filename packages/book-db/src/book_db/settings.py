"""Where PostgreSQL and Redis are, for every process that works on the catalogue."""

from typing import Annotated

from book_runtime.settings import PostgresUrl, RedisUrl, Settings
from pydantic import Field


class DatabaseSettings(Settings):
    """The database alone, for what works on its schema."""

    database_url: PostgresUrl
    """The catalogue's database."""


class StoreSettings(DatabaseSettings):
    """The stores. A process without DATABASE_URL does not start; without REDIS_URL it reads past a cache."""

    database_replica_url: PostgresUrl | None = None
    """A replica of the database that books are read from, as fresh as from the database itself, which is spared."""

    database_pool_size: Annotated[int, Field(ge=1, le=500)] = 10
    """How many connections to the database one process opens at most; to the replica, as many and one more."""

    redis_url: RedisUrl | None = None
    """The cache; without it every read asks the database."""

    # At least three times as long as a statement may take: see RedisCache.fill.
    cache_seconds: Annotated[int, Field(ge=30, le=86_400)] = 300
    """How long a book stays in the cache: what bounds a stale read after an outage of Redis."""
