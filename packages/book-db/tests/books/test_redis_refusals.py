"""A Redis that answers PING and refuses what else is asked of it, in front of a real PostgreSQL."""

from collections.abc import AsyncIterator, Iterator
from uuid import UUID

import pytest
from book_db.book import BookPatch
from book_db.books import cache as cache_module
from book_db.books.cache import Hit, Miss, RedisCache
from book_db.books.catalogue import Catalogue
from book_db.errors import BookNotFound
from book_db.events.outbox import OutboxNotifier
from book_db.postgres.database import Database
from book_runtime.redis import reason_of
from prometheus_client import REGISTRY
from redis._parsers.base import BaseParser
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from structlog.testing import capture_logs
from support.data_layer import a_draft
from support.redis import RedisServer
from support.refusals import Refusal, a_node_of_a_cluster, each_refusal
from support.waiting import PATIENCE, until
from support.workspace import Workspace

BEGUN = "outage of the cache in Redis: reads go past it"
OVER = "outage of the cache in Redis is over"


def is_available() -> bool:
    return REGISTRY.get_sample_value("colophon_cache_available", {"cache": "redis"}) == 1


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "_REDIS_RETRY_SECONDS", 0.02)


@pytest.fixture
async def own_cache(own_redis: RedisServer) -> AsyncIterator[RedisCache]:
    cache = RedisCache.open(own_redis.url, timeout=PATIENCE)
    yield cache
    await cache.close()


@pytest.fixture
async def other_cache(own_redis: RedisServer) -> AsyncIterator[RedisCache]:
    """Of another process."""
    cache = RedisCache.open(own_redis.url, timeout=PATIENCE)
    yield cache
    await cache.close()


@pytest.fixture
def own(database: Database, own_cache: RedisCache, notifier: OutboxNotifier) -> Catalogue:
    return Catalogue(database, own_cache, notifier)


@pytest.fixture
def other(database: Database, other_cache: RedisCache, notifier: OutboxNotifier) -> Catalogue:
    return Catalogue(database, other_cache, notifier)


async def is_tried(cache: RedisCache, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait until the cache has tried so often whether it can be used again."""
    tries, try_out = 0, cache._try_out

    async def count() -> None:
        nonlocal tries
        tries += 1
        await try_out()

    with monkeypatch.context() as patch:
        patch.setattr(cache, "_try_out", count)
        await until(lambda: tries > times, f"it was tried {times} times")


@each_refusal
class TestARedisThatRefuses:
    async def test_is_named_once_and_is_back_once_it_takes_what_it_is_given(
        self,
        refusal: Refusal,
        own: Catalogue,
        own_cache: RedisCache,
        own_redis: RedisServer,
        actor: UUID,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        book = await own.add(a_draft(), actor)
        with capture_logs() as logs, refusal.at(own_redis) as mend:
            assert not await own_cache.ready()
            for _ in range(5):
                book = await own.change(book.id, BookPatch.only(title="Emma"), actor)
                assert await own.get(book.id) == book
            await is_tried(own_cache, 3, monkeypatch)
            assert (is_available(), await own_cache.ready()) == (False, False)
            assert own_cache.trouble == f"it refuses with {refusal.word}"
            assert refusal.is_told_in(logs, BEGUN)
            mend()
            await until(is_available, "Redis is read again")
        assert await own_cache.ready()
        assert own_cache.trouble is None
        assert logs[-1]["event"] == OVER
        assert refusal.is_told_in(logs[:-1], BEGUN)
        assert (await own_cache.get([book.id]))[book.id] == Hit(book.to_json())

    async def test_gives_nothing_old_when_it_is_back(
        self, refusal: Refusal, own: Catalogue, own_redis: RedisServer, other: Catalogue, actor: UUID
    ) -> None:
        """Neither to who wrote meanwhile, nor to another process that came across no refusal."""
        changed, removed = await own.add_many([a_draft(title="old")] * 2, actor)
        await other.get_many([changed.id, removed.id])
        with refusal.at(own_redis) as mend:
            await own.change(changed.id, BookPatch.only(title="new"), actor)
            await own.remove(removed.id, actor)
            mend()
            await until(is_available, "Redis is read again")
        for catalogue in (own, other):
            assert (await catalogue.get(changed.id)).title == "new"
            with pytest.raises(BookNotFound):
                await catalogue.get(removed.id)

    async def test_gives_nothing_old_of_a_book_of_which_it_is_not_known_what_became(
        self, refusal: Refusal, own_cache: RedisCache, own_redis: RedisServer, catalogue: Catalogue, actor: UUID
    ) -> None:
        book = await catalogue.add(a_draft(), actor)
        await own_cache.put(book)
        with refusal.at(own_redis) as mend:
            await own_cache.invalidate(book.id)
            await own_cache.ready()
            mend()
            await until(is_available, "Redis is read again")
        assert await own_cache.get([book.id]) == {book.id: Miss(cache_available=True)}


class TestARedisThatIsFull:
    async def test_gives_other_processes_nothing_old_meanwhile(
        self, own: Catalogue, other_cache: RedisCache, own_redis: RedisServer, actor: UUID
    ) -> None:
        """It gives what it has, and deletes: who only reads notices nothing."""
        book = await own.add(a_draft(), actor)
        async with Redis.from_url(own_redis.url) as operator:
            await own.get(book.id)
            await operator.config_set("maxmemory", 1)
            assert await other_cache.get([book.id]) == {book.id: Hit(book.to_json())}
            await own.change(book.id, BookPatch.only(title="Emma"), actor)
            assert await other_cache.get([book.id]) == {book.id: Miss(cache_available=True)}
            await operator.config_set("maxmemory", 0)


class TestWhatWasCommittedBeforeAWriteOfUnknownOutcome:
    async def test_is_not_told_after_it(self, own_cache: RedisCache, own_redis: RedisServer, own: Catalogue) -> None:
        """The one may be older than the other by then."""
        book = await own.add(a_draft(), UUID(int=1))
        async with Redis.from_url(own_redis.url) as operator:
            await operator.config_set("maxmemory", 1)
            await own_cache.put(book)
            await own_cache.invalidate(book.id)
            await operator.config_set("maxmemory", 0)
        await until(is_available, "Redis is read again")
        assert await own_cache.get([book.id]) == {book.id: Miss(cache_available=True)}


class TestANodeOfACluster:
    @pytest.fixture(params=[pytest.param(True, id="that-serves-all-slots"), pytest.param(False, id="that-serves-none")])
    def node(self, request: pytest.FixtureRequest, workspace: Workspace) -> Iterator[RedisServer]:
        with a_node_of_a_cluster(workspace, serving=request.param) as server:
            yield server

    async def test_is_said_to_be_one(
        self,
        node: RedisServer,
        database: Database,
        notifier: OutboxNotifier,
        actor: UUID,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        cache = RedisCache.open(node.url, timeout=PATIENCE)
        catalogue = Catalogue(database, cache, notifier)
        with capture_logs() as logs:
            books = await catalogue.add_many([a_draft()] * 20, actor)
            assert await catalogue.get_many([book.id for book in books]) == books
            assert not await cache.ready()
            await is_tried(cache, 3, monkeypatch)
        assert [line["event"] for line in logs] == [BEGUN]
        assert "REDIS_URL leads to a node of a cluster, and Colophon needs a single Redis" in logs[0]["reason"]
        assert (is_available(), cache.trouble) == (False, "it is a node of a cluster")
        await cache.close()


def error_of(answer: str) -> Exception:
    """As redis-py 8.1 makes it."""
    error: Exception = BaseParser.parse_error(answer)  # type: ignore[no-untyped-call]  # redis-py leaves it so
    return error


class TestAReason:
    @pytest.mark.parametrize(
        ("answer", "kind"),
        [
            pytest.param("MOVED 3999 127.0.0.1:6381", "it is a node of a cluster", id="moved"),
            pytest.param("ASK 3999 127.0.0.1:6381", "it is a node of a cluster", id="ask"),
            pytest.param("CLUSTERDOWN The cluster is down", "it is a node of a cluster", id="cluster-down"),
            pytest.param("CROSSSLOT Keys in request don't", "it is a node of a cluster", id="crossslot"),
            pytest.param("TRYAGAIN Multiple keys request", "it is a node of a cluster", id="try-again"),
            pytest.param("MASTERDOWN Link with MASTER is down", "it refuses with MASTERDOWN", id="replica-alone"),
            pytest.param("LOADING Redis is loading", "it refuses with LOADING", id="loading"),
            pytest.param("BUSY Redis is busy running a script", "it refuses with BUSY", id="busy"),
            pytest.param("DENIED Redis is running in protected mode", "it refuses with DENIED", id="protected"),
            pytest.param("NOREPLICAS Not enough good replicas", "it refuses with NOREPLICAS", id="too-few-replicas"),
            pytest.param("WRONGPASS invalid username-password pair", "it refuses with WRONGPASS", id="wrong-password"),
            pytest.param("ERR max number of clients reached", "it refuses with ERR", id="too-many-clients"),
            pytest.param("ERR unknown command 'EVALSHA'", "it refuses with ERR", id="renamed-command"),
        ],
    )
    def test_names_the_refusal(self, answer: str, kind: str) -> None:
        reason = reason_of(error_of(answer))
        assert reason.kind == kind
        assert answer.partition(" ")[2] in reason.text

    @pytest.mark.parametrize(
        "error",
        [
            pytest.param(RedisConnectionError("Error 111 connecting to 127.0.0.1:6379."), id="gone"),
            pytest.param(RedisTimeoutError("Timeout reading from 127.0.0.1:6379"), id="frozen"),
            pytest.param(RedisTimeoutError(), id="without-a-word"),
        ],
    )
    def test_is_silence_where_there_is_no_answer(self, error: Exception) -> None:
        reason = reason_of(error)
        assert reason.kind == "it does not answer"
        assert reason.text == f"it does not answer: {str(error) or 'TimeoutError'}"

    def test_is_no_page_of_advice(self) -> None:
        assert len(reason_of(error_of("DENIED " + "Redis is running in protected mode " * 50)).text) < 400
