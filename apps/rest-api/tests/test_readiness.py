"""What /healthz/ready says of a cache that is there and of no use."""

from collections.abc import AsyncIterator

import httpx
import pytest
import redis as redis_client
from book_db.books import cache
from rest_api.app import create_app
from rest_api.settings import RestSettings
from support.redis import RedisServer
from support.refusals import a_node_of_a_cluster
from support.waiting import until
from support.workspace import Workspace

READY = {"status": "ready", "cache": True}


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_REDIS_RETRY_SECONDS", 0.05)


async def serving(settings: RestSettings, redis: RedisServer) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(settings.model_copy(update={"redis_url": redis.url}))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://colophon") as client,
    ):
        yield client


class TestReadiness:
    @pytest.fixture
    async def client(self, rest_settings: RestSettings, own_redis: RedisServer) -> AsyncIterator[httpx.AsyncClient]:
        async for client in serving(rest_settings, own_redis):
            yield client

    async def ask(self, client: httpx.AsyncClient) -> object:
        return (await client.get("/healthz/ready")).json()

    async def test_names_the_refusal_of_a_redis_that_answers_ping(
        self, client: httpx.AsyncClient, own_redis: RedisServer
    ) -> None:
        assert await self.ask(client) == READY
        with redis_client.Redis.from_url(own_redis.url) as operator:
            operator.config_set("maxmemory", 1)
            for _ in range(3):
                assert await self.ask(client) == {
                    "status": "ready",
                    "cache": False,
                    "cache_trouble": "it refuses with OOM",
                }
            operator.config_set("maxmemory", 0)

        async def is_well() -> bool:
            return await self.ask(client) == READY

        await until(is_well, "the cache is used again")

    async def test_tells_no_address(self, client: httpx.AsyncClient, own_redis: RedisServer) -> None:
        own_redis.kill()
        assert await self.ask(client) == {"status": "ready", "cache": False, "cache_trouble": "it does not answer"}

    async def test_says_that_it_is_a_cluster(self, rest_settings: RestSettings, workspace: Workspace) -> None:
        with a_node_of_a_cluster(workspace, serving=True) as node:
            async for client in serving(rest_settings, node):
                assert await self.ask(client) == {
                    "status": "ready",
                    "cache": False,
                    "cache_trouble": "it is a node of a cluster",
                }
