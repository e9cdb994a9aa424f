"""The read-through cache of single books in Redis.

A book's entry is its version in 19 digits, then its JSON; a deleted book's entry is a tombstone, the version alone.
An entry is only ever replaced by a newer version. So a reader that fetched an old row while a writer committed
cannot put it back, as long as the newer one is there: a reader that took half as long as an entry lives gives up
filling. Every entry has a time to live.
"""

import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Final, Protocol, Self, cast

import structlog
from book_runtime.outage import CircuitBreaker, Outage, Reason
from book_runtime.redis import TRIAL, open_redis, reason_of
from prometheus_client import Counter, Gauge
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from book_db.book import Book

_log = structlog.get_logger(__name__)

_READS = Counter("colophon_cache_reads", "Look-ups in the cache; those past one that is away or not there", ["answer"])
_HITS, _MISSES, _BYPASSED = (_READS.labels(answer) for answer in ("hit", "miss", "past"))
# With a label, so that it is not there at all, rather than 0, where no cache is configured.
_AVAILABLE = Gauge("colophon_cache_available", "1 while the cache is used, 0 while reads go past it", ["cache"])

_DIGITS: Final = 19
_REDIS_RETRY_SECONDS: Final = 1.0
"""Seconds between two attempts to reach a Redis that failed."""

_TRIAL_SECONDS: Final = 10
"""How long a trial entry lives that could not be taken out again."""

_PENDING_MAX: Final = 10_000
_FLUSH_KEYS: Final = 1_000

# KEYS: entries; ARGV: seconds to live, then an entry for each key. Tells nothing: losing against a newer one is fine.
_SET_IF_NEWER: Final = f"""
for i, key in ipairs(KEYS) do
    local present = redis.call('GETRANGE', key, 0, {_DIGITS - 1})
    if present < string.sub(ARGV[i + 1], 1, {_DIGITS}) then
        redis.call('SET', key, ARGV[i + 1], 'EX', ARGV[1])
    end
end
"""

# KEYS: entries; ARGV: for each a version that the book is known to have had. It may be old, so it is not written as an
# entry where there is none.
_INVALIDATE_OLDER: Final = f"""
for i, key in ipairs(KEYS) do
    local present = redis.call('GETRANGE', key, 0, {_DIGITS - 1})
    if present ~= '' and present < ARGV[i] then
        redis.call('DEL', key)
    end
end
"""


@dataclass(frozen=True, slots=True)
class Hit:
    """The entry of a book: its JSON, or None when the book was deleted."""

    json: bytes | None


@dataclass(frozen=True, slots=True)
class Miss:
    """The cache has no entry for the book. ``cache_available``: there is a cache, and it has answered."""

    cache_available: bool


class Cache(Protocol):
    """Knows the newest version of some books. Never raises: a cache that is away misses."""

    async def get(self, book_ids: Collection[int]) -> dict[int, Hit | Miss]: ...

    async def fill(self, books: Iterable[Book], *, read_at: float) -> None:
        """Takes what a reader found who began at ``read_at``, by ``time.monotonic()``; may be lost."""

    async def put(self, book: Book) -> None:
        """Takes what a writer committed."""

    async def put_tombstone(self, book: Book) -> None:
        """Marks a book as deleted; ``book`` carries the version that the deletion took."""

    async def invalidate(self, book_id: int) -> None:
        """Removes the entry of a book after a write that may have been committed or not."""

    async def invalidate_older(self, versions: Mapping[int, int]) -> None:
        """Removes entries of books that are older than these versions, which an event has told of; may be lost.

        So a writer that dies after the commit does not leave an old entry behind for long.
        """

    async def ready(self) -> bool:
        """Whether it can be used. Not a condition for serving."""

    @property
    def trouble(self) -> str | None:
        """What keeps it from being used, in a few words that anybody may read."""

    async def close(self) -> None: ...


class NoCache:
    """Stands where no Redis is configured."""

    async def get(self, book_ids: Collection[int]) -> dict[int, Hit | Miss]:
        return _missed(book_ids)

    async def fill(self, books: Iterable[Book], *, read_at: float) -> None:
        pass

    async def put(self, book: Book) -> None:
        pass

    async def put_tombstone(self, book: Book) -> None:
        pass

    async def invalidate(self, book_id: int) -> None:
        pass

    async def invalidate_older(self, versions: Mapping[int, int]) -> None:
        pass

    async def ready(self) -> bool:
        return True

    @property
    def trouble(self) -> str | None:
        return None

    async def close(self) -> None:
        pass


class RedisCache:
    """The cache in Redis, shared by every process that reads books.

    While Redis is away, or refuses a command, reads bypass it without waiting. An entry that a writer could not write
    is kept as pending and written as soon as Redis is back; until then this process does not read from Redis. For how
    long another process may read an old entry is bounded by the time to live.
    """

    def __init__(self, redis: Redis, *, seconds_to_live: int) -> None:
        self._redis = redis
        self._seconds_to_live = seconds_to_live
        self._set_if_newer = redis.register_script(_SET_IF_NEWER)
        self._invalidate_older = redis.register_script(_INVALIDATE_OLDER)
        self._pending: dict[bytes, bytes] = {}
        self._stale: set[bytes] = set()
        """Entries that may be old, and are to be taken out."""
        self._bypassed_until = 0.0
        gauge = _AVAILABLE.labels("redis")
        gauge.set(1)
        outage = Outage(_log, "the cache in Redis", "reads go past it", gauge=gauge)
        self._breaker = CircuitBreaker(outage, self._come_back, reason_of=_reason_of, pause=_REDIS_RETRY_SECONDS)

    @classmethod
    def open(cls, url: str, *, seconds_to_live: int = 300, timeout: float = 0.25) -> Self:
        """``timeout`` is how long, in seconds, a request may be held up by a Redis that does not answer."""
        return cls(open_redis(url, timeout=timeout), seconds_to_live=seconds_to_live)

    async def get(self, book_ids: Collection[int]) -> dict[int, Hit | Miss]:
        if self._breaker.is_open:
            return _missed(book_ids)
        try:
            # Bytes, since redis-py is not told to decode.
            entries = cast(list[bytes | None], await self._redis.mget([_key(book_id) for book_id in book_ids]))
        except RedisError as error:
            self._open_breaker(error)
            return _missed(book_ids)
        return {book_id: _answer(entry) for book_id, entry in zip(book_ids, entries, strict=True)}

    async def fill(self, books: Iterable[Book], *, read_at: float) -> None:
        # After so long, the newer version that would win against what was read may have lived out its time.
        if self._breaker.is_open or time.monotonic() - read_at > self._seconds_to_live / 2:
            return
        try:
            await self._send({_key(book.id): _entry(book) for book in books})
        except RedisError as error:
            self._open_breaker(error)

    async def put(self, book: Book) -> None:
        await self._tell(_key(book.id), _entry(book))

    async def put_tombstone(self, book: Book) -> None:
        await self._tell(_key(book.id), _version(book))

    async def invalidate(self, book_id: int) -> None:
        key = _key(book_id)
        # What was committed before may not be the newest any more.
        self._pending.pop(key, None)
        try:
            await self._redis.delete(key)
        except RedisError as error:
            self._stale.add(key)
            self._limit_pending()
            self._open_breaker(error)

    async def invalidate_older(self, versions: Mapping[int, int]) -> None:
        if self._breaker.is_open or not versions:
            return
        try:
            await self._invalidate_older(
                keys=[_key(book_id) for book_id in versions],
                args=[_digits(version) for version in versions.values()],
            )
        except RedisError as error:
            self._open_breaker(error)

    async def ready(self) -> bool:
        """Whether Redis takes all that is asked of it; it is asked, unless it is known that it does not."""
        if not self._breaker.is_open:
            try:
                await self._try_out()
            except RedisError as error:
                self._open_breaker(error)
        return not self._breaker.is_open

    @property
    def trouble(self) -> str | None:
        return str(self._breaker.reason.kind) if self._breaker.reason else None

    async def close(self) -> None:
        """Writes what is pending, if Redis is there, and closes the connections."""
        if self._breaker.is_open:
            await self._breaker.close()
            with suppress(RedisError, _TooEarly):
                await self._flush()
        await self._redis.aclose()

    async def _tell(self, key: bytes, entry: bytes) -> None:
        # Tried even while Redis seems to be away: for other processes it may be there.
        try:
            await self._send({key: entry})
        except RedisError as error:
            self._defer(key, entry)
            self._open_breaker(error)
            if isinstance(error, ResponseError):
                await self._take_out_older(key, entry)

    async def _take_out_older(self, key: bytes, entry: bytes) -> None:
        """For other processes, which may still read from a Redis that refuses this entry: one that is full takes
        nothing more and gives what it has, and lets it be taken out.
        """
        with suppress(RedisError):
            await self._invalidate_older(keys=[key], args=[entry[:_DIGITS]])

    async def _send(self, entries: dict[bytes, bytes]) -> None:
        if entries:
            await self._set_if_newer(keys=list(entries), args=[self._seconds_to_live, *entries.values()])

    def _defer(self, key: bytes, entry: bytes) -> None:
        self._pending[key] = max(entry, self._pending.get(key, b""))  # by version, which comes first
        self._limit_pending()

    def _limit_pending(self) -> None:
        """Above the limit, this process bypasses Redis until every old entry in it has expired."""
        if len(self._pending) + len(self._stale) > _PENDING_MAX:
            self._pending.clear()
            self._stale.clear()
            self._bypassed_until = time.monotonic() + self._seconds_to_live

    def _open_breaker(self, error: RedisError) -> None:
        # With pending entries the probe starts at once: it may have been a single connection that was lost.
        self._breaker.trip(error, at_once=bool(self._pending or self._stale))

    async def _come_back(self) -> None:
        """Raises RedisError, or _TooEarly, while Redis is not to be read from."""
        await self._try_out()
        await self._flush()

    async def _try_out(self) -> None:
        """Asks of Redis all that is ever asked of it, with entries that no book has. Raises RedisError.

        A PING would say nothing: it is answered by one that is full, by a replica, by a node of a cluster.
        """
        keys = [b"colophon:book:" + trial for trial in TRIAL]
        written = _digits(time.time_ns())  # newer than any that is there, so that it is written
        await self._set_if_newer(keys=keys, args=[_TRIAL_SECONDS, written, written])
        await self._redis.mget(keys)
        await self._invalidate_older(keys=keys, args=[written, written])
        await self._redis.delete(*keys)

    async def _flush(self) -> None:
        while self._stale:
            stale = list(islice(self._stale, _FLUSH_KEYS))
            await self._redis.delete(*stale)
            self._stale.difference_update(stale)
        while self._pending:
            entries = dict(islice(self._pending.items(), _FLUSH_KEYS))
            await self._send(entries)
            # An entry that was deferred again meanwhile stays pending.
            self._pending = {key: entry for key, entry in self._pending.items() if entries.get(key) != entry}
        if time.monotonic() < self._bypassed_until:
            raise _TooEarly


class _TooEarly(Exception):
    """Redis answers, but may hold what is too old."""


def _reason_of(error: Exception) -> Reason:
    if isinstance(error, _TooEarly):
        return Reason("it answers, and may hold what is too old until that has expired", "it may hold what is too old")
    return reason_of(error)


def open_cache(url: str | None, *, seconds_to_live: int) -> Cache:
    """The cache at this address, or none where there is no address."""
    return NoCache() if url is None else RedisCache.open(url, seconds_to_live=seconds_to_live)


def _missed(book_ids: Collection[int]) -> dict[int, Hit | Miss]:
    _BYPASSED.inc(len(book_ids))
    return dict.fromkeys(book_ids, Miss(cache_available=False))


def _key(book_id: int) -> bytes:
    return b"colophon:book:%d" % book_id


def _version(book: Book) -> bytes:
    return _digits(book.version)


def _digits(version: int) -> bytes:
    return b"%019d" % version


def _entry(book: Book) -> bytes:
    return _version(book) + book.to_json()


def _answer(entry: bytes | None) -> Hit | Miss:
    if entry is None:
        _MISSES.inc()
        return Miss(cache_available=True)
    _HITS.inc()
    return Hit(entry[_DIGITS:] or None)
