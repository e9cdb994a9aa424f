"""Everything that a process needs to work on the catalogue, opened together and closed together."""

from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from book_runtime.tasks import background
from book_runtime.tokens import TokenVerifier

from book_db.accounts.api_tokens import ApiTokens
from book_db.accounts.authentication import Authenticator
from book_db.accounts.sessions import Sessions
from book_db.accounts.users import Users
from book_db.books.cache import Cache, open_cache
from book_db.books.catalogue import Catalogue
from book_db.events.log import EventLog
from book_db.events.outbox import OutboxNotifier
from book_db.postgres.database import Database, Reader, outage_of
from book_db.postgres.replica import ReplicaReads
from book_db.settings import StoreSettings


@dataclass(frozen=True, slots=True)
class Store:
    """The catalogue, those who may use it, and what both stand on."""

    database: Database
    cache: Cache
    catalogue: Catalogue
    event_log: EventLog
    users: Users
    sessions: Sessions
    api_tokens: ApiTokens
    authenticator: Authenticator


@asynccontextmanager
async def open_store(
    settings: StoreSettings, verifier: TokenVerifier, *, name: str, hears: Collection[str] = ()
) -> AsyncIterator[Store]:
    """Opens the store for the length of the block. ``name`` is what the connections are called in PostgreSQL.

    ``hears`` are the channels on which the database's local bus publishes what other processes notify.
    """
    async with AsyncExitStack() as closing:
        url, outage = settings.database_url, outage_of(settings.database_url)
        database = Database.open(url, pool_size=settings.database_pool_size, name=name, outage=outage)
        closing.push_async_callback(database.close)
        cache = open_cache(settings.redis_url, seconds_to_live=settings.cache_seconds)
        closing.push_async_callback(cache.close)
        notifier = OutboxNotifier(database)
        closing.push_async_callback(notifier.close)
        reads = await closing.enter_async_context(_open_reads(settings, database, name))
        catalogue = Catalogue(database, cache, notifier, reads)
        closing.push_async_callback(catalogue.close)
        event_log = EventLog(database)
        closing.push_async_callback(event_log.close)
        sessions, api_tokens = Sessions(database), ApiTokens(database)
        authenticator = Authenticator(verifier, sessions, api_tokens)
        handlers = {channel: partial(database.local_bus.publish, channel) for channel in hears}
        await closing.enter_async_context(background(authenticator.listener(settings.database_url, handlers).run()))
        yield Store(database, cache, catalogue, event_log, Users(database), sessions, api_tokens, authenticator)


@asynccontextmanager
async def _open_reads(settings: StoreSettings, database: Database, name: str) -> AsyncIterator[Reader]:
    if settings.database_replica_url is None:
        yield database
        return
    url, pool_size = settings.database_replica_url, settings.database_pool_size
    async with ReplicaReads.open(url, database, pool_size=pool_size, name=name) as reads:
        yield reads
