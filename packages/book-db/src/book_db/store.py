"""Everything that a process needs to work on the catalogue, opened together and closed together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

from book_runtime.tokens import TokenVerifier

from book_db.api_tokens import ApiTokens
from book_db.books.catalogue import Catalogue
from book_db.cache import Cache, open_cache
from book_db.callers import Callers
from book_db.database import Database
from book_db.outbox import OutboxBell
from book_db.sessions import Sessions
from book_db.settings import StoreSettings
from book_db.users import Users


@dataclass(frozen=True, slots=True)
class Store:
    """The catalogue, those who may use it, and what both stand on."""

    database: Database
    cache: Cache
    catalogue: Catalogue
    users: Users
    sessions: Sessions
    api_tokens: ApiTokens
    callers: Callers


@asynccontextmanager
async def open_store(settings: StoreSettings, verifier: TokenVerifier, *, name: str) -> AsyncIterator[Store]:
    """Opens the store for the length of the block. ``name`` is what the connections are called in PostgreSQL."""
    async with AsyncExitStack() as closing:
        database = Database.open(settings.database_url, pool_size=settings.database_pool_size, name=name)
        closing.push_async_callback(database.close)
        cache = open_cache(settings.redis_url, seconds_to_live=settings.cache_seconds)
        closing.push_async_callback(cache.close)
        bell = OutboxBell(database)
        closing.push_async_callback(bell.close)
        catalogue = Catalogue(database, cache, bell)
        closing.push_async_callback(catalogue.close)
        sessions, api_tokens = Sessions(database), ApiTokens(database)
        callers = Callers(verifier, sessions, api_tokens)
        hearing = asyncio.create_task(callers.listener(settings.database_url).run())
        closing.push_async_callback(_cancel, hearing)
        yield Store(database, cache, catalogue, Users(database), sessions, api_tokens, callers)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
