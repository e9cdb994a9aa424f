"""Connections to Redis, also on the event loop that services run on."""

import asyncio
from collections.abc import Iterator

import pytest
import uvloop
from book_db.books.cache import Miss, RedisCache
from book_runtime.redis import open_redis
from redis.asyncio import Redis
from redis.exceptions import RedisError
from support.proxy import Proxy
from support.redis import RedisServer
from support.waiting import PATIENCE, until


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner


async def reset_by(proxy: Proxy, client: Redis) -> None:
    [connection] = client.connection_pool._available_connections
    assert connection._writer
    proxy.drop()
    await until(connection._writer.is_closing, "the connection is reset")


class TestAConnectionThatWasResetWhileNobodyUsedIt:
    def test_is_an_error_of_redis(self, empty_redis: RedisServer, runner: asyncio.Runner) -> None:
        async def use_it() -> None:
            async with (
                Proxy(empty_redis.port) as proxy,
                open_redis(f"redis://127.0.0.1:{proxy.port}", timeout=PATIENCE) as client,
            ):
                await client.ping()
                await reset_by(proxy, client)
                with pytest.raises(RedisError):
                    await client.ping()
                assert await client.ping()

        runner.run(use_it())

    def test_is_a_miss_of_the_cache(self, empty_redis: RedisServer, runner: asyncio.Runner) -> None:
        async def use_it() -> None:
            async with Proxy(empty_redis.port) as proxy:
                cache = RedisCache.open(f"redis://127.0.0.1:{proxy.port}", timeout=PATIENCE)
                assert await cache.get([1]) == {1: Miss(cache_available=True)}
                await reset_by(proxy, cache._redis)
                assert await cache.get([1]) == {1: Miss(cache_available=False)}
                await cache.close()

        runner.run(use_it())
