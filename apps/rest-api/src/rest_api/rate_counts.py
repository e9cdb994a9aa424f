"""Counting towards limits: for all processes together in Redis, or in each process where there is no Redis."""

import asyncio
import math
import sys
import time
from typing import Final, NamedTuple, Self

import structlog
from book_db.redis_connections import open_redis
from book_runtime.retry import retry
from book_runtime.tasks import end
from limits import RateLimitItem
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

_PAUSE: Final = 1.0
"""Seconds between two attempts to reach a Redis that failed."""

_OWN_MAX: Final = 50_000
"""Counters in the memory of one process: some 20 MB, which only an attack from thousands of networks would fill."""


class Exhausted(Exception):
    """A limit is used up."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        """Until there is room again, one at least."""
        super().__init__(seconds)


class Taken(NamedTuple):
    """What was counted, and where."""

    where: FixedWindowRateLimiter
    item: RateLimitItem
    key: str


class Counts:
    """Counts in windows that begin with the first count in them.

    While Redis is away each process counts for itself, so that with n processes a limit is n times as wide. A request
    waits for a Redis that does not answer once, and for the next second none does.
    """

    def __init__(self, redis: Redis | None) -> None:
        self._redis = redis
        self._own = FixedWindowRateLimiter(MemoryStorage())
        self._shared = None if redis is None else FixedWindowRateLimiter(_storage(redis))
        self._returning: asyncio.Task[None] | None = None
        if redis is not None:
            _SHARED.labels("redis").set(1)

    @classmethod
    def open(cls, url: str | None, *, timeout: float = 0.25) -> Self:
        """``timeout`` is how long, in seconds, a request may be held up by a Redis that does not answer."""
        return cls(None if url is None else open_redis(url, timeout=timeout))

    async def take(self, item: RateLimitItem, key: str) -> Taken:
        """Counts one. Raises Exhausted, and then nothing was counted."""
        if self._shared is not None and self._returning is None:
            try:
                return await _take(self._shared, item, key)
            except RedisError as error:
                self._leave(error)
        if len(self._own.storage.storage) > _OWN_MAX:  # type: ignore[attr-defined]  # a MemoryStorage
            await self._own.storage.reset()
        return await _take(self._own, item, key)

    async def give_back(self, taken: Taken) -> None:
        """Takes the count back. While Redis is away it is kept: the limit is then narrower for as long as it runs."""
        try:
            await _add(taken, -1)
        except RedisError as error:
            self._leave(error)

    async def forget(self, item: RateLimitItem, key: str) -> None:
        """Begins anew. While Redis is away nothing is forgotten there."""
        await self._own.clear(item, key)
        if self._shared is not None and self._returning is None:
            try:
                await self._shared.clear(item, key)
            except RedisError as error:
                self._leave(error)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._returning is not None:
            await end(self._returning)
        if self._redis is not None:
            await self._redis.aclose()

    def _leave(self, error: RedisError) -> None:
        if self._returning is None:
            _log.warning(
                "redis does not answer, this process counts towards rate limits by itself",
                error=str(error) or type(error).__name__,
            )
            _SHARED.labels("redis").set(0)
            self._returning = asyncio.create_task(self._return())

    async def _return(self) -> None:
        await asyncio.sleep(_PAUSE)
        await retry(times=sys.maxsize, delay=_PAUSE, exceptions=RedisError)(self._ask)()
        self._returning = None
        _log.info("redis answers again, rate limits are counted there")
        _SHARED.labels("redis").set(1)

    async def _ask(self) -> None:
        assert self._redis is not None  # it was left
        await self._redis.ping()


def _storage(redis: Redis) -> RedisStorage:
    # limits wants an address too, but makes no connection of its own where it is given a pool.
    pool: object = redis.connection_pool
    return RedisStorage(
        "async+redis://",
        implementation="redispy",
        key_prefix="colophon:limit",
        connection_pool=pool,  # type: ignore[arg-type]  # as its documentation says
    )


async def _take(where: FixedWindowRateLimiter, item: RateLimitItem, key: str) -> Taken:
    taken = Taken(where, item, key)
    if await _add(taken, 1) > item.amount:
        # What is refused does not count, so that there is room as soon as something is given back.
        await _add(taken, -1)
        reset_time, _ = await where.get_window_stats(item, key)
        # Redis tells it rounded to seconds, up or down.
        raise Exhausted(max(1, math.ceil(reset_time - time.time() + 0.5)))
    return taken


async def _add(taken: Taken, amount: int) -> int:
    storage, item = taken.where.storage, taken.item
    return await storage.incr(item.key_for(taken.key), item.get_expiry(), amount=amount)
