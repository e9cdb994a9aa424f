"""Where PostgreSQL and Redis are, for every process that works on the catalogue."""

from typing import Annotated

from book_runtime.settings import PostgresUrl, RedisUrl, Settings
from pydantic import AfterValidator, Field

from book_db.errors import UnfitDatabase
from book_db.postgres.connector import parameters_of


def _readable(url: PostgresUrl | None) -> PostgresUrl | None:
    try:
        if url is not None:
            parameters_of(url)
    except UnfitDatabase as error:
        raise ValueError(error.reason) from None
    return url


DatabaseUrl = Annotated[PostgresUrl, AfterValidator(_readable)]
"""A PostgreSQL database, as libpq reads its address."""

OptionalDatabaseUrl = Annotated[PostgresUrl | None, AfterValidator(_readable)]
"""The same, if there is one."""


class DatabaseSettings(Settings):
    """The database alone, for what works on its schema."""

    database_url: DatabaseUrl
    """The catalogue's database."""


class StoreSettings(DatabaseSettings):
    """The stores. A process without DATABASE_URL does not start; without REDIS_URL it reads past a cache."""

    database_replica_url: OptionalDatabaseUrl = None
    """A replica of the database that books are read from, as fresh as from the database itself, which is spared."""

    database_pool_size: Annotated[int, Field(ge=1, le=500)] = 10
    """How many connections to the database one process opens at most; to the replica, as many and one more."""

    redis_url: RedisUrl | None = None
    """The cache; without it every read asks the database."""

    # At least three times as long as a statement may take: see RedisCache.fill.
    cache_seconds: Annotated[int, Field(ge=30, le=86_400)] = 300
    """How long a book stays in the cache: what bounds a stale read after an outage of Redis."""
