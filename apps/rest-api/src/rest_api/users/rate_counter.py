"""Counting towards limits: for all processes together in Redis, or in each process where there is no Redis."""

import math
import time
from itertools import chain, islice
from typing import Final, NamedTuple, Self

import structlog
from book_runtime.outage import CircuitBreaker, Outage
from book_runtime.redis import TRIAL, open_redis, reason_of
from limits import RateLimitItem, RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import FixedWindowRateLimiter
from prometheus_client import Gauge
from redis.asyncio import Redis
from redis.exceptions import RedisError

_log = structlog.get_logger(__name__)

# With a label, so that it is not there at all, rather than 0, where no Redis is configured.
_SHARED = Gauge(
    "colophon_rate_limits_shared", "1 while limits are counted in Redis, 0 while each process counts alone", ["store"]
)

_REDIS_RETRY_SECONDS: Final = 1.0

_PREFIX: Final = "colophon:limit"
_TRIAL: Final = RateLimitItemPerSecond(1, 10)
"""A limit that nobody is held to."""

_MAX_OWN_COUNTERS: Final = 50_000
"""Counters in the memory of one process: some 20 MB. A dozen networks can fill it with names that nobody has."""

_EVICTED_COUNTERS: Final = _MAX_OWN_COUNTERS // 10


class Exhausted(Exception):
    """A limit is used up."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        """Until there is room again, one at least."""
        super().__init__(seconds)


class Hit(NamedTuple):
    """What was counted, and where."""

    where: FixedWindowRateLimiter
    item: RateLimitItem
    key: str


class RateCounter:
    """Counts in windows that begin with the first count in them.

    While Redis is away, or refuses to count, each process counts for itself, so that with n processes a limit is n
    times as wide. A request waits for a Redis that does not answer once, and for the next second none does.
    """

    def __init__(self, redis: Redis | None) -> None:
        self._redis = redis
        self._memory = MemoryStorage()
        self._own = FixedWindowRateLimiter(self._memory)
        self._used_up: dict[str, float] = {}
        """Limits in this memory that are used up, each with the time until which it is."""
        self._shared = None if redis is None else _InRedis(redis)

    @classmethod
    def open(cls, url: str | None, *, timeout: float = 0.25) -> Self:
        """``timeout`` is how long, in seconds, a request may be held up by a Redis that does not answer."""
        return cls(None if url is None else open_redis(url, timeout=timeout))

    async def hit(self, item: RateLimitItem, key: str) -> Hit:
        """Counts one. Raises Exhausted, and then nothing was counted."""
        if self._shared is not None and not self._shared.breaker.is_open:
            try:
                return await _hit(self._shared.limiter, item, key)
            except RedisError as error:
                self._shared.breaker.trip(error)
        await self._make_room()
        try:
            return await _hit(self._own, item, key)
        except Exhausted as exhausted:
            self._used_up[item.key_for(key)] = time.monotonic() + exhausted.seconds
            raise

    async def _make_room(self) -> None:
        """Evicts the oldest counters, but none of a limit that is used up: a client that is told to wait could make
        many others and be rid of its own.
        """
        counted = self._memory.storage
        if len(counted) <= _MAX_OWN_COUNTERS:
            return
        now = time.monotonic()
        self._used_up = {name: until for name, until in self._used_up.items() if until > now and name in counted}
        older = islice(counted, len(counted) // 2)
        free = [name for name in older if name not in self._used_up]
        # Where all of the older ones are used up, those that were first: what is being counted just now stays.
        for name in list(islice(chain(free, self._used_up), _EVICTED_COUNTERS)):
            await self._memory.clear(name)

    async def refund(self, hit: Hit) -> None:
        """Takes the count back. While Redis is away it is kept: the limit is then narrower for as long as it runs."""
        try:
            await _add(hit, -1)
        except RedisError as error:
            assert self._shared is not None  # where else is Redis asked
            self._shared.breaker.trip(error)

    async def forget(self, item: RateLimitItem, key: str) -> None:
        """Begins anew. While Redis is away nothing is forgotten there."""
        await self._own.clear(item, key)
        if self._shared is not None and not self._shared.breaker.is_open:
            try:
                await self._shared.limiter.clear(item, key)
            except RedisError as error:
                self._shared.breaker.trip(error)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._shared is not None:
            await self._shared.close()


class _InRedis:
    """Counts in Redis, and whether they can be had."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self.limiter: Final = FixedWindowRateLimiter(_storage(redis))
        gauge = _SHARED.labels("redis")
        gauge.set(1)
        outage = Outage(_log, "the counts in Redis", "this process counts towards rate limits by itself", gauge=gauge)
        self.breaker: Final = CircuitBreaker(outage, self._try_out, reason_of=reason_of, pause=_REDIS_RETRY_SECONDS)

    async def close(self) -> None:
        await self.breaker.close()
        await self._redis.aclose()

    async def _try_out(self) -> None:
        """Asks of Redis all that is ever asked of it, with counts that are nobody's. Raises RedisError.

        A PING would say nothing: it is answered by one that is full, by a replica, by a node of a cluster.
        """
        trials = [trial.decode() for trial in TRIAL]
        for trial in trials:
            await _add(Hit(self.limiter, _TRIAL, trial), 1)
            await self.limiter.get_window_stats(_TRIAL, trial)
        # As `clear` does with one of them.
        await self._redis.delete(*(f"{_PREFIX}:{_TRIAL.key_for(trial)}" for trial in trials))


def _storage(redis: Redis) -> RedisStorage:
    # limits wants an address too, but makes no connection of its own where it is given a pool.
    pool: object = redis.connection_pool
    return RedisStorage(
        "async+redis://",
        implementation="redispy",
        key_prefix=_PREFIX,
        connection_pool=pool,  # type: ignore[arg-type]  # as its documentation says
    )


async def _hit(where: FixedWindowRateLimiter, item: RateLimitItem, key: str) -> Hit:
    hit = Hit(where, item, key)
    if await _add(hit, 1) > item.amount:
        # What is refused does not count, so that there is room as soon as something is given back.
        await _add(hit, -1)
        reset_time, _ = await where.get_window_stats(item, key)
        # Redis tells it rounded to seconds, up or down.
        raise Exhausted(max(1, math.ceil(reset_time - time.time() + 0.5)))
    return hit


async def _add(hit: Hit, amount: int) -> int:
    storage, item = hit.where.storage, hit.item
    return await storage.incr(item.key_for(hit.key), item.get_expiry(), amount=amount)
