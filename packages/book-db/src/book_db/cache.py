"""The read-through cache of single books in Redis.

A book's entry is its version in 19 digits, then its JSON; a deleted book's entry is a tombstone, the version alone.
An entry is only ever replaced by a newer version. So a reader that fetched an old row while a writer committed
cannot put it back. Every entry has a time to live.
"""

import asyncio
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final, Protocol, Self

import structlog
from book_runtime.retry import retry
from prometheus_client import Counter, Gauge
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from book_db.books.model import Book

_log = structlog.get_logger(__name__)

_READS = Counter("colophon_cache_reads", "Look-ups in the cache", ["answer"])
_AVAILABLE = Gauge("colophon_cache_available", "1 while Redis answers, 0 while reads go past it")

_DIGITS: Final = 19
_PAUSE: Final = 1.0
"""Seconds for which reads go past a Redis that failed."""

_MOST_OWED: Final = 100_000

# KEYS: entries; ARGV: seconds to live, then an entry for each key. Tells nothing: losing against a newer one is fine.
_SET_IF_NEWER: Final = f"""
for i, key in ipairs(KEYS) do
    local present = redis.call('GETRANGE', key, 0, {_DIGITS - 1})
    if present < string.sub(ARGV[i + 1], 1, {_DIGITS}) then
        redis.call('SET', key, ARGV[i + 1], 'EX', ARGV[1])
    end
end
"""


@dataclass(frozen=True, slots=True)
class Found:
    """What the cache knows of a book: its JSON, or None when the book was deleted."""

    json: bytes | None


@dataclass(frozen=True, slots=True)
class Missed:
    """The cache knows nothing of the book. ``asked`` tells whether there was a cache that could say so."""

    asked: bool


class Cache(Protocol):
    """Knows the newest version of some books. Never raises: a cache that is away misses."""

    async def get(self, book_ids: Collection[int]) -> dict[int, Found | Missed]: ...

    async def fill(self, books: Iterable[Book]) -> None:
        """Takes what a reader found; of no consequence when it is lost."""

    async def put(self, books: Iterable[Book]) -> None:
        """Takes what a writer committed."""

    async def bury(self, book: Book) -> None:
        """Takes notice of a deletion; ``book`` carries the version that the deletion took."""

    async def ready(self) -> bool: ...

    async def close(self) -> None: ...


class NoCache:
    """Stands where no Redis is configured."""

    async def get(self, book_ids: Collection[int]) -> dict[int, Found | Missed]:
        return dict.fromkeys(book_ids, Missed(asked=False))

    async def fill(self, books: Iterable[Book]) -> None:
        pass

    async def put(self, books: Iterable[Book]) -> None:
        pass

    async def bury(self, book: Book) -> None:
        pass

    async def ready(self) -> bool:
        return True

    async def close(self) -> None:
        pass


class RedisCache:
    """The cache in Redis, shared by every process that reads books.

    While Redis is away, reads go past it. What a writer could not tell it is owed: it is told as soon as Redis is
    back, and until then this process does not read from it. What another process reads meanwhile is bounded by the
    time to live.
    """

    def __init__(self, redis: "Redis", *, seconds_to_live: int) -> None:
        self._redis = redis
        self._seconds_to_live = seconds_to_live
        self._set_if_newer = redis.register_script(_SET_IF_NEWER)
        self._owed: dict[bytes, bytes] = {}
        self._paying: asyncio.Task[None] | None = None
        self._away_until = 0.0
        _AVAILABLE.set(1)

    @classmethod
    def open(cls, url: str, *, seconds_to_live: int = 300, timeout: float = 0.25) -> Self:
        """``timeout`` is how long, in seconds, a request may be held up by a Redis that does not answer."""
        redis = Redis.from_url(
            url, socket_timeout=timeout, socket_connect_timeout=timeout, retry=Retry(NoBackoff(), 0), max_connections=50
        )
        return cls(redis, seconds_to_live=seconds_to_live)

    async def get(self, book_ids: Collection[int]) -> dict[int, Found | Missed]:
        if self._owed or time.monotonic() < self._away_until:
            return dict.fromkeys(book_ids, Missed(asked=False))
        try:
            entries = await self._redis.mget([_key(book_id) for book_id in book_ids])
        except RedisError as error:
            self._is_away(error)
            return dict.fromkeys(book_ids, Missed(asked=False))
        self._is_back()
        return {book_id: _answer(entry) for book_id, entry in zip(book_ids, entries, strict=True)}

    async def fill(self, books: Iterable[Book]) -> None:
        if self._owed or time.monotonic() < self._away_until:
            return
        try:
            await self._send({_key(book.id): _entry(book) for book in books})
        except RedisError as error:
            self._is_away(error)

    async def put(self, books: Iterable[Book]) -> None:
        await self._tell({_key(book.id): _entry(book) for book in books})

    async def bury(self, book: Book) -> None:
        await self._tell({_key(book.id): _version(book)})

    async def ready(self) -> bool:
        """Whether Redis answers. Not a condition for serving."""
        try:
            return bool(await self._redis.ping())
        except RedisError:
            return False

    async def close(self) -> None:
        if self._paying is not None:
            self._paying.cancel()
        await self._redis.aclose()

    async def _tell(self, entries: dict[bytes, bytes]) -> None:
        if not entries:
            return
        try:
            await self._send(entries)
        except RedisError as error:
            self._is_away(error)
            self._owe(entries)

    async def _send(self, entries: dict[bytes, bytes]) -> None:
        if entries:
            await self._set_if_newer(keys=list(entries), args=[self._seconds_to_live, *entries.values()])

    def _owe(self, entries: dict[bytes, bytes]) -> None:
        # Whoever writes more than this during one outage finds the rest bounded by the time to live.
        if len(self._owed) < _MOST_OWED:
            self._owed |= entries
        if self._paying is None:
            self._paying = asyncio.create_task(self._pay())

    async def _pay(self) -> None:
        forever = retry(times=10**9, delay=_PAUSE, exceptions=RedisError)
        try:
            while self._owed:
                entries = dict(list(self._owed.items())[:1_000])
                await forever(self._send)(entries)
                # What was owed anew meanwhile stays owed.
                self._owed = {key: entry for key, entry in self._owed.items() if entries.get(key) != entry}
            self._is_back()
        finally:
            self._paying = None

    def _is_away(self, error: RedisError) -> None:
        if not self._away_until:
            _log.warning("redis does not answer, reads go past it", error=str(error) or type(error).__name__)
            _AVAILABLE.set(0)
        self._away_until = time.monotonic() + _PAUSE

    def _is_back(self) -> None:
        if self._away_until:
            _log.info("redis answers again")
            _AVAILABLE.set(1)
            self._away_until = 0.0


def open_cache(url: str | None, *, seconds_to_live: int) -> Cache:
    """The cache at this address, or none where there is no address."""
    return NoCache() if url is None else RedisCache.open(url, seconds_to_live=seconds_to_live)


def _key(book_id: int) -> bytes:
    return b"colophon:book:%d" % book_id


def _version(book: Book) -> bytes:
    return b"%019d" % book.version


def _entry(book: Book) -> bytes:
    return _version(book) + book.to_json()


def _answer(entry: bytes | None) -> Found | Missed:
    if entry is None:
        _READS.labels("miss").inc()
        return Missed(asked=True)
    _READS.labels("hit").inc()
    return Found(entry[_DIGITS:] or None)
