"""What the cache promises (docs/architecture.md, decision 7), on a real Redis and a real PostgreSQL."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine
from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any, TypeVar
from uuid import UUID

import pytest
from book_db.book import Book, BookPatch
from book_db.books import cache as cache_module
from book_db.books.cache import Cache, Hit, Miss, NoCache, RedisCache, open_cache
from book_db.books.catalogue import Catalogue
from book_db.errors import BookNotFound, BooksNotFound, ConnectionLost
from book_db.events.outbox import OutboxNotifier
from book_db.postgres.database import Database
from prometheus_client import REGISTRY
from redis.asyncio import Redis
from structlog.testing import capture_logs
from support.data_layer import Query, StatementsOf, a_draft
from support.redis import RedisServer
from support.waiting import PATIENCE, patience, until

Read = Callable[[Catalogue, int], Awaitable[Book]]
T = TypeVar("T")

TIMEOUT = 0.25
"""Seconds that Redis may hold up a request, as RedisCache.open has it."""


def _available() -> float | None:
    return REGISTRY.get_sample_value("colophon_cache_available", {"cache": "redis"})


def _reads(answer: str) -> float:
    return REGISTRY.get_sample_value("colophon_cache_reads_total", {"answer": answer}) or 0


def _is_select(statement: str) -> bool:
    return statement.lstrip().startswith("SELECT books.id")


def a_book(book_id: int = 1, version: int = 1) -> Book:
    now = datetime.now(UTC)
    return Book(book_id, "Emma", "Jane Austen", date(1815, 12, 23), version, created_at=now, updated_at=now)


async def get(catalogue: Catalogue, book_id: int) -> Book:
    return await catalogue.get(book_id)


async def get_many(catalogue: Catalogue, book_id: int) -> Book:
    """The same book three times over."""
    try:
        first, _, _ = await catalogue.get_many([book_id, book_id, book_id])
    except BooksNotFound as error:
        raise BookNotFound(book_id) from error
    return first


@pytest.fixture(params=[pytest.param(get, id="alone"), pytest.param(get_many, id="among-many")])
def read(request: pytest.FixtureRequest) -> Read:
    """Either way to read a book keeps what the cache promises."""
    way: Read = request.param
    return way


async def under_way(reading: Awaitable[Book]) -> asyncio.Future[Book]:
    """A read that the cache could not answer."""
    misses = _reads("miss")
    answer = asyncio.ensure_future(reading)
    await until(lambda: _reads("miss") > misses, "it had its miss")
    return answer


async def seconds_of(act: Awaitable[object]) -> float:
    began = time.monotonic()
    await act
    return time.monotonic() - began


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """What comes of it, if it waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        answer: T = done.value
        return answer
    coroutine.close()
    pytest.fail("it waits")


async def calls_of(command: str, client: Redis) -> int:
    """How often Redis has been given a command."""
    commands: dict[str, dict[str, int]] = await client.info("commandstats")
    return commands.get(f"cmdstat_{command}", {"calls": 0})["calls"]


async def entry_of(redis: RedisServer, book_id: int) -> bytes:
    async with Redis.from_url(redis.url) as client:
        entry = await client.get(f"colophon:book:{book_id}")
        assert isinstance(entry, bytes)
        return entry


class HeldReader:
    """A cache between a catalogue and its own, which stops readers between SELECT and fill until they are let go."""

    def __init__(self, cache: RedisCache) -> None:
        self._cache = cache
        self.arrived = asyncio.Event()
        self.let_go = asyncio.Event()

    def __getattr__(self, name: str) -> object:
        return getattr(self._cache, name)

    async def fill(self, books: Collection[Book], *, read_at: float) -> None:
        self.arrived.set()
        await self.let_go.wait()
        await self._cache.fill(books, read_at=read_at)


class TestWhatIsHeardOfAWrite:
    async def test_forgets_what_is_older(self, cache: RedisCache) -> None:
        await cache.put(a_book(1, version=2))
        await cache.invalidate_older({1: 3})
        assert await cache.get([1]) == {1: Miss(cache_available=True)}

    async def test_forgets_a_book_that_is_gone(
        self, cached_catalogue: Catalogue, catalogue: Catalogue, cache: RedisCache, actor: UUID, read: Read
    ) -> None:
        book = await cached_catalogue.add(a_draft(), actor)
        await catalogue.remove(book.id, actor)  # by one who died before the cache was told
        assert await read(cached_catalogue, book.id) == book
        await cache.invalidate_older({book.id: 2})
        with pytest.raises(BookNotFound):
            await read(cached_catalogue, book.id)

    @pytest.mark.parametrize("version", [1, 2])
    async def test_changes_nothing_that_is_as_new(self, cache: RedisCache, version: int) -> None:
        await cache.put(book := a_book(1, version=2))
        await cache.put_tombstone(a_book(2, version=2))
        await cache.invalidate_older({1: version, 2: version, 3: version})
        assert await cache.get([1, 2, 3]) == {1: Hit(book.to_json()), 2: Hit(None), 3: Miss(cache_available=True)}

    async def test_may_be_nothing(self, cache: RedisCache) -> None:
        await cache.invalidate_older({})


class TestASlowReader:
    """Fetched the old row while a writer commits, and must not put it back into the cache."""

    @pytest.fixture
    def reader(self, cache: RedisCache) -> HeldReader:
        return HeldReader(cache)

    @pytest.fixture
    def readers_catalogue(self, database: Database, reader: HeldReader, notifier: OutboxNotifier) -> Catalogue:
        return Catalogue(database, reader, notifier)  # type: ignore[arg-type]  # it forwards what it does not hold

    async def test_does_not_put_the_old_version_back(
        self,
        readers_catalogue: Catalogue,
        reader: HeldReader,
        cached_catalogue: Catalogue,
        catalogue: Catalogue,
        actor: UUID,
        read: Read,
    ) -> None:
        book = await catalogue.add(a_draft(title="old"), actor)
        reading = asyncio.ensure_future(read(readers_catalogue, book.id))
        await reader.arrived.wait()
        await cached_catalogue.change(book.id, BookPatch.only(title="new"), actor)
        reader.let_go.set()
        assert (await reading).title == "old"  # it began before the write was answered
        assert (await read(cached_catalogue, book.id)).title == "new"
        assert (await read(readers_catalogue, book.id)).title == "new"

    async def test_does_not_bring_a_removed_book_back(
        self,
        readers_catalogue: Catalogue,
        reader: HeldReader,
        cached_catalogue: Catalogue,
        catalogue: Catalogue,
        actor: UUID,
        read: Read,
    ) -> None:
        book = await catalogue.add(a_draft(), actor)
        reading = asyncio.ensure_future(read(readers_catalogue, book.id))
        await reader.arrived.wait()
        await cached_catalogue.remove(book.id, actor)
        reader.let_go.set()
        await reading
        for each in (cached_catalogue, readers_catalogue):
            with pytest.raises(BookNotFound):
                await read(each, book.id)

    async def test_is_not_joined_by_who_begins_after_the_write(
        self, readers_catalogue: Catalogue, reader: HeldReader, catalogue: Catalogue, actor: UUID, read: Read
    ) -> None:
        """The writer's process has the slow look-up under way, and Redis has lost the new version."""
        book = await catalogue.add(a_draft(title="old"), actor)
        reading = asyncio.ensure_future(read(readers_catalogue, book.id))
        await reader.arrived.wait()
        await readers_catalogue.change(book.id, BookPatch.only(title="new"), actor)
        await reader.invalidate(book.id)  # type: ignore[operator]  # forwarded
        reading_later = await under_way(read(readers_catalogue, book.id))
        reader.let_go.set()
        assert (await reading_later).title == "new"
        assert (await reading).title == "old"

    async def test_gives_up_filling_when_the_newer_version_may_have_expired(
        self, cache: RedisCache, redis_client: Redis, clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cache_module, "time", clock)
        clock.now = 200
        book = a_book()
        await cache.fill([book], read_at=49)  # entries live for 300 seconds
        assert not await redis_client.keys()
        await cache.fill([book], read_at=51)
        assert await redis_client.keys()


@pytest.fixture
async def redis_client(redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url) as client:
        yield client


class TestReadThrough:
    async def test_the_second_read_asks_no_database(
        self,
        cached_catalogue: Catalogue,
        catalogue: Catalogue,
        database: Database,
        actor: UUID,
        statements_of: StatementsOf,
    ) -> None:
        book = await catalogue.add(a_draft(), actor)
        first = await cached_catalogue.get_json(book.id)
        with statements_of(database) as statements:
            assert await cached_catalogue.get_json(book.id) == first
        assert statements == []

    async def test_what_the_writer_wrote_is_read_without_the_database(
        self, cached_catalogue: Catalogue, database: Database, actor: UUID, statements_of: StatementsOf
    ) -> None:
        book = await cached_catalogue.add(a_draft(), actor)
        changed = await cached_catalogue.change(book.id, BookPatch.only(title="Emma"), actor)
        with statements_of(database) as statements:
            assert await cached_catalogue.get(book.id) == changed
        assert not list(filter(_is_select, statements))

    async def test_a_removed_book_is_known_to_be_gone(
        self, cached_catalogue: Catalogue, database: Database, actor: UUID, statements_of: StatementsOf
    ) -> None:
        book = await cached_catalogue.add(a_draft(), actor)
        await cached_catalogue.remove(book.id, actor)
        with statements_of(database) as statements, pytest.raises(BookNotFound):
            await cached_catalogue.get(book.id)
        assert not list(filter(_is_select, statements))

    async def test_a_removed_book_is_known_to_be_gone_among_many(
        self, cached_catalogue: Catalogue, database: Database, actor: UUID, statements_of: StatementsOf
    ) -> None:
        books = await cached_catalogue.add_many([a_draft()] * 3, actor)
        await cached_catalogue.remove(books[1].id, actor)
        with statements_of(database) as statements, pytest.raises(BooksNotFound) as error:
            await cached_catalogue.get_many([book.id for book in books])
        assert error.value.book_ids == (books[1].id,)
        assert not list(filter(_is_select, statements))

    async def test_concurrent_misses_make_one_query(
        self,
        cached_catalogue: Catalogue,
        catalogue: Catalogue,
        database: Database,
        actor: UUID,
        statements_of: StatementsOf,
        query: Query,
        read: Read,
    ) -> None:
        """Many turns of the event loop apart, while the one query is held up by a lock."""
        book = await catalogue.add(a_draft(), actor)
        query("BEGIN")
        query("LOCK TABLE books IN ACCESS EXCLUSIVE MODE")
        with statements_of(database) as statements:
            reads = [await under_way(read(cached_catalogue, book.id)) for _ in range(20)]
            query("COMMIT")
            assert set(await asyncio.gather(*reads)) == {book}
        assert len(list(filter(_is_select, statements))) == 1

    async def test_books_that_are_read_together_are_one_query(
        self,
        cached_catalogue: Catalogue,
        catalogue: Catalogue,
        database: Database,
        actor: UUID,
        statements_of: StatementsOf,
    ) -> None:
        books = await catalogue.add_many([a_draft()] * 20, actor)
        with statements_of(database) as statements:
            assert await asyncio.gather(*(cached_catalogue.get(book.id) for book in books)) == books
        assert len(list(filter(_is_select, statements))) == 1

    async def test_many_books_are_one_query_for_what_the_cache_has_not(
        self,
        cached_catalogue: Catalogue,
        catalogue: Catalogue,
        database: Database,
        actor: UUID,
        statements_of: StatementsOf,
        redis_client: Redis,
    ) -> None:
        cached = await cached_catalogue.add_many([a_draft()] * 150, actor)
        stored = await catalogue.add_many([a_draft()] * 150, actor)
        books = [book for pair in zip(cached, stored, strict=True) for book in pair]
        asked = await calls_of("mget", redis_client)
        with statements_of(database) as statements:
            assert await cached_catalogue.get_many([book.id for book in books]) == books
            assert await calls_of("mget", redis_client) - asked == 1
            assert await cached_catalogue.get_many([book.id for book in books]) == books
        assert len(list(filter(_is_select, statements))) == 1

    async def test_every_entry_has_a_time_to_live(
        self, cached_catalogue: Catalogue, catalogue: Catalogue, actor: UUID, redis_client: Redis
    ) -> None:
        read, changed, removed = await catalogue.add_many([a_draft()] * 3, actor)
        await cached_catalogue.get(read.id)
        await cached_catalogue.change(changed.id, BookPatch.only(title="Emma"), actor)
        await cached_catalogue.remove(removed.id, actor)
        keys = await redis_client.keys()
        assert len(keys) == 3
        assert all([0 < await redis_client.ttl(key) <= 300 for key in keys])

    async def test_two_processes_share_it(
        self, cached_catalogue: Catalogue, database: Database, notifier: OutboxNotifier, redis_url: str, actor: UUID
    ) -> None:
        other_cache = RedisCache.open(redis_url, timeout=PATIENCE)
        other = Catalogue(database, other_cache, notifier)
        book = await cached_catalogue.add(a_draft(), actor)
        for title in ("one", "two", "three"):
            await cached_catalogue.change(book.id, BookPatch.only(title=title), actor)
            assert (await other.get(book.id)).title == title
        await other.remove(book.id, actor)
        with pytest.raises(BookNotFound):
            await cached_catalogue.get(book.id)
        await other_cache.close()

    async def test_readers_and_writers_at_once_never_see_a_version_twice_removed(
        self,
        cached_catalogue: Catalogue,
        database: Database,
        notifier: OutboxNotifier,
        redis_url: str,
        actor: UUID,
        read: Read,
    ) -> None:
        """Two processes; a read that starts after a write was answered has at least that version."""
        other_cache = RedisCache.open(redis_url, timeout=PATIENCE)
        catalogues = [cached_catalogue, Catalogue(database, other_cache, notifier)]
        book = await cached_catalogue.add(a_draft(), actor)
        answered = book.version

        async def write(catalogue: Catalogue) -> None:
            nonlocal answered
            for _ in range(25):
                written = await catalogue.change(book.id, BookPatch.only(title="Emma"), actor)
                answered = max(answered, written.version)

        async def read_on(catalogue: Catalogue) -> None:
            while not done:
                least = answered
                assert (await read(catalogue, book.id)).version >= least

        done = False
        readers = [asyncio.create_task(read_on(catalogue)) for catalogue in catalogues for _ in range(4)]
        await asyncio.gather(*(write(catalogue) for catalogue in catalogues))
        done = True
        await asyncio.gather(*readers)
        assert answered == 51
        await other_cache.close()

    async def test_hits_and_misses_are_counted(
        self, cached_catalogue: Catalogue, catalogue: Catalogue, actor: UUID
    ) -> None:
        hits, misses = _reads("hit"), _reads("miss")
        book = await catalogue.add(a_draft(), actor)
        await cached_catalogue.get(book.id)
        await cached_catalogue.get(book.id)
        assert (_reads("hit") - hits, _reads("miss") - misses) == (1, 1)


class TestAWriteOfUnknownOutcome:
    async def test_leaves_nothing_in_the_cache(
        self, cached_catalogue: Catalogue, actor: UUID, monkeypatch: pytest.MonkeyPatch, redis_client: Redis
    ) -> None:
        """The connection is lost when the change has been committed, before that is heard."""
        book = await cached_catalogue.add(a_draft(title="old"), actor)
        write = cached_catalogue._write

        async def write_and_lose_the_connection(*args: object, **kwargs: object) -> object:
            await write(*args, **kwargs)  # type: ignore[arg-type]  # as it was called
            raise ConnectionLost

        monkeypatch.setattr(cached_catalogue, "_write", write_and_lose_the_connection)
        with pytest.raises(ConnectionLost):
            await cached_catalogue.change(book.id, BookPatch.only(title="new"), actor)
        assert (await cached_catalogue.get(book.id)).title == "new"


class TestACallerWhoGivesUp:
    async def test_leaves_the_new_version_in_the_cache(
        self,
        cached_catalogue: Catalogue,
        catalogue: Catalogue,
        actor: UUID,
        redis_client: Redis,
        monkeypatch: pytest.MonkeyPatch,
        cache: RedisCache,
    ) -> None:
        """It is cancelled after the commit, before Redis was told."""
        book = await cached_catalogue.add(a_draft(title="old"), actor)
        arrived, let_go = asyncio.Event(), asyncio.Event()
        put = cache.put

        async def hold(book: Book) -> None:
            arrived.set()
            await let_go.wait()
            await put(book)

        monkeypatch.setattr(cache, "put", hold)
        change = asyncio.create_task(cached_catalogue.change(book.id, BookPatch.only(title="new"), actor))
        await arrived.wait()
        change.cancel()
        with pytest.raises(asyncio.CancelledError):
            await change
        let_go.set()
        await cached_catalogue.close()
        assert (await cached_catalogue.get(book.id)).title == "new"


class TestWithoutRedis:
    async def test_no_address_means_no_cache(self) -> None:
        assert isinstance(open_cache(None, seconds_to_live=300), NoCache)

    async def test_no_cache_knows_nothing_and_needs_nothing(self) -> None:
        cache = NoCache()
        assert await cache.get([1, 2]) == {1: Miss(cache_available=False), 2: Miss(cache_available=False)}
        assert await cache.ready()


class OnOwnRedis:
    """A catalogue and its cache, on a Redis that a test may kill or freeze."""

    timeout = PATIENCE

    @pytest.fixture(autouse=True)
    def _quickly(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cache_module, "_REDIS_RETRY_SECONDS", 0.05)

    @pytest.fixture
    async def own_cache(self, own_redis: RedisServer) -> AsyncIterator[RedisCache]:
        cache = RedisCache.open(own_redis.url, timeout=self.timeout)
        yield cache
        await cache.close()

    @pytest.fixture
    def own(self, database: Database, own_cache: RedisCache, notifier: OutboxNotifier) -> Catalogue:
        return Catalogue(database, own_cache, notifier)


class TestRedisKilled(OnOwnRedis):
    async def test_reads_and_writes_go_on(
        self, own: Catalogue, own_cache: RedisCache, own_redis: RedisServer, actor: UUID
    ) -> None:
        book = await own.add(a_draft(), actor)
        own_redis.kill()
        assert await own.get(book.id) == book
        changed = await own.change(book.id, BookPatch.only(title="Emma"), actor)
        assert await own.get(book.id) == changed
        await own_cache.invalidate_older({book.id: 3})
        added = await own.add(a_draft(), actor)
        await own.remove(book.id, actor)
        with pytest.raises(BookNotFound):
            await own.get(book.id)
        assert await own.get(added.id) == added

    async def test_it_is_said_once_when_it_goes_and_once_when_it_is_back(
        self, own: Catalogue, own_cache: RedisCache, own_redis: RedisServer, actor: UUID
    ) -> None:
        book = await own.add(a_draft(), actor)
        with capture_logs() as logs:
            own_redis.kill()
            for _ in range(20):
                await own.get(book.id)
                await own.change(book.id, BookPatch.only(title="Emma"), actor)
            assert (_available(), await own_cache.ready()) == (0, False)
            own_redis.start()
            await until(lambda: _available() == 1, "Redis is read again")
            await own.get(book.id)
        assert await own_cache.ready()
        assert [entry["event"] for entry in logs] == [
            "outage of the cache in Redis: reads go past it",
            "outage of the cache in Redis is over",
        ]

    async def test_an_older_debt_does_not_replace_a_newer_one(
        self, own_cache: RedisCache, own_redis: RedisServer
    ) -> None:
        """Two writers of one book whose news fail in the wrong order."""
        own_redis.kill()
        await own_cache.put(a_book(version=3))
        await own_cache.put(a_book(version=2))
        own_redis.start()
        await until(lambda: _available() == 1, "Redis is read again")
        assert (await entry_of(own_redis, 1)).startswith(b"%019d" % 3)

    async def test_more_than_can_be_pending_keeps_this_process_from_reading_until_old_entries_have_expired(
        self, own_cache: RedisCache, own_redis: RedisServer, clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cache_module, "_PENDING_MAX", 5)
        monkeypatch.setattr(cache_module, "time", clock)
        own_redis.kill()
        for number in range(1, 8):
            await own_cache.put(a_book(number))
        own_redis.start()
        async with Redis.from_url(own_redis.url) as client:
            for clock.now in (0, 299):  # entries live for 300 seconds
                attempts = await calls_of("mget", client)

                async def was_tried(attempts: int = attempts) -> bool:
                    assert await own_cache.get([1]) == {1: Miss(cache_available=False)}
                    return await calls_of("mget", client) > attempts + 1

                await until(was_tried, "it was tried whether Redis can be read")
        clock.now = 300
        await until(lambda: _available() == 1, "Redis is read again")
        assert await own_cache.get([1]) == {1: Miss(cache_available=True)}

    async def test_what_is_pending_at_the_end_is_told_at_the_end(self, own_redis: RedisServer) -> None:
        cache = RedisCache.open(own_redis.url, timeout=PATIENCE)
        own_redis.kill()
        await cache.put(a_book(version=2))
        own_redis.start()
        await cache.close()
        assert (await entry_of(own_redis, 1)).startswith(b"%019d" % 2)


class TestRedisFrozen(OnOwnRedis):
    timeout = TIMEOUT

    @pytest.fixture
    async def frozen(self, own: Catalogue, own_redis: RedisServer, actor: UUID) -> AsyncIterator[Book]:
        book = await own.add(a_draft(), actor)
        own_redis.freeze()
        yield book
        own_redis.thaw()

    async def takes_no_longer(
        self, seconds: float, act: Callable[[Cache], Awaitable[object]], own_redis: RedisServer
    ) -> None:
        """An act with a cache whose Redis has just frozen, than without one.

        A busy machine may need some attempts. What waits for too long succeeds in none.
        """

        async def is_quick() -> bool:
            own_redis.thaw()
            cache = RedisCache.open(own_redis.url, timeout=TIMEOUT)
            was_there = await cache.ready()
            own_redis.freeze()
            took = await seconds_of(act(cache)) - await seconds_of(act(NoCache()))
            await cache.close()
            return was_there and took < seconds

        await until(is_quick, f"it takes no longer than {seconds} seconds")

    async def test_the_first_reads_wait_no_longer_than_the_timeout(
        self, database: Database, notifier: OutboxNotifier, own_redis: RedisServer, frozen: Book
    ) -> None:
        async def read(cache: Cache) -> None:
            catalogue = Catalogue(database, cache, notifier)
            assert await asyncio.gather(*(catalogue.get(frozen.id) for _ in range(20))) == [frozen] * 20

        await self.takes_no_longer(2 * TIMEOUT, read, own_redis)

    async def test_the_reads_after_it_do_not_wait_at_all(
        self, own: Catalogue, own_cache: RedisCache, frozen: Book, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        attempts = 0
        try_out = own_cache._try_out

        async def attempt() -> None:
            nonlocal attempts
            attempts += 1
            await try_out()

        monkeypatch.setattr(own_cache, "_try_out", attempt)
        await own.get(frozen.id)
        async with patience("Redis was tried three times"):
            while attempts < 3:
                assert at_once(own_cache.get([frozen.id])) == {frozen.id: Miss(cache_available=False)}
                assert await own.get(frozen.id) == frozen
                await asyncio.sleep(0.01)

    async def test_writes_wait_no_longer_than_the_timeout_each(
        self, database: Database, notifier: OutboxNotifier, own_redis: RedisServer, frozen: Book, actor: UUID
    ) -> None:
        async def write(cache: Cache) -> None:
            catalogue = Catalogue(database, cache, notifier)
            for _ in range(3):
                await catalogue.change(frozen.id, BookPatch.only(title="Emma"), actor)

        await self.takes_no_longer(4 * TIMEOUT, write, own_redis)

    async def test_more_writers_than_connections_wait_no_longer_either(
        self, own_redis: RedisServer, frozen: Book
    ) -> None:
        # Without the database, where a hundred writers of one book wait for each other and for the disk.
        async def write(cache: Cache) -> None:
            await asyncio.gather(*(cache.put(a_book(frozen.id, version)) for version in range(2, 102)))

        await self.takes_no_longer(3 * TIMEOUT, write, own_redis)

    async def test_what_was_missed_is_told_before_anything_is_read_again(
        self, own: Catalogue, own_redis: RedisServer, actor: UUID
    ) -> None:
        """Redis is only cut off from this process, and keeps its old entries meanwhile."""
        kept, changed, removed = await own.add_many([a_draft(title="old")] * 3, actor)
        own_redis.freeze()
        await own.change(changed.id, BookPatch.only(title="new"), actor)
        await own.change(changed.id, BookPatch.only(title="newest"), actor)
        await own.remove(removed.id, actor)
        own_redis.thaw()

        async def is_read_again() -> bool:
            assert (await own.get(changed.id)).title == "newest"
            with pytest.raises(BookNotFound):
                await own.get(removed.id)
            return _available() == 1

        await until(is_read_again, "Redis is read again")
        await is_read_again()
        assert b'"title":"newest"' in await entry_of(own_redis, changed.id)
        assert await entry_of(own_redis, removed.id) == b"%019d" % 2  # a tombstone
        assert (await own.get(kept.id)).title == "old"
