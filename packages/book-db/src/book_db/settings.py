"""Where PostgreSQL and Redis are, for every process that works on the catalogue."""

from book_runtime.settings import Settings


class StoreSettings(Settings):
    """The stores. A process without DATABASE_URL does not start; without REDIS_URL it reads past a cache."""
