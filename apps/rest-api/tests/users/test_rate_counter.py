"""Counts in a Redis that answers PING and refuses what else is asked of it."""

from collections.abc import AsyncIterator

import pytest
from limits import parse
from prometheus_client import REGISTRY
from rest_api.users import rate_counter
from rest_api.users.rate_counter import Exhausted, RateCounter
from structlog.testing import capture_logs
from support.redis import RedisServer
from support.refusals import Refusal, a_node_of_a_cluster, each_refusal
from support.waiting import PATIENCE, until
from support.workspace import Workspace

LIMIT = parse("3/hour")
GONE = "outage of the counts in Redis: this process counts towards rate limits by itself"
BACK = "outage of the counts in Redis is over"


def is_shared() -> bool:
    return REGISTRY.get_sample_value("colophon_rate_limits_shared", {"store": "redis"}) == 1


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_counter, "_REDIS_RETRY_SECONDS", 0.02)


@pytest.fixture
async def counter(own_redis: RedisServer) -> AsyncIterator[RateCounter]:
    async with RateCounter.open(own_redis.url, timeout=PATIENCE) as counter:
        yield counter


async def takes_three_and_no_more(counter: RateCounter, key: str) -> None:
    for _ in range(3):
        await counter.hit(LIMIT, key)
    with pytest.raises(Exhausted):
        await counter.hit(LIMIT, key)


async def is_tried(counter: RateCounter, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait until it was tried so often whether Redis counts again."""
    tries, add = 0, rate_counter._add

    async def count(taken: rate_counter.Hit, amount: int) -> int:
        nonlocal tries
        tries += taken.item is rate_counter._TRIAL
        return await add(taken, amount)

    with monkeypatch.context() as patch:
        patch.setattr(rate_counter, "_add", count)
        await until(lambda: tries > times, f"it was tried {times} times")


@each_refusal
async def test_a_redis_that_refuses_is_named_once_and_is_back_once_it_counts(
    refusal: Refusal, counter: RateCounter, own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await takes_three_and_no_more(counter, "ann")
    with capture_logs() as logs, refusal.at(own_redis) as mend:
        # Whoever may not run scripts cannot count, and whoever may not delete cannot begin anew.
        await counter.hit(LIMIT, "bob")
        await counter.forget(LIMIT, "ann")
        await takes_three_and_no_more(counter, "eve")
        await is_tried(counter, 3, monkeypatch)
        assert not is_shared()
        assert refusal.is_told_in(logs, GONE)
        mend()
        await until(is_shared, "they are counted in Redis again")
    assert logs[-1]["event"] == BACK
    assert refusal.is_told_in(logs[:-1], GONE)
    await takes_three_and_no_more(counter, "dan")


@pytest.mark.parametrize("serving", [pytest.param(True, id="all-slots"), pytest.param(False, id="no-slots")])
async def test_a_node_of_a_cluster_is_said_to_be_one_where_it_does_not_count(
    serving: bool, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_node_of_a_cluster(workspace, serving=serving) as node:
        async with RateCounter.open(node.url, timeout=PATIENCE) as counter:
            with capture_logs() as logs:
                await takes_three_and_no_more(counter, "ann")
                if serving:
                    # Each count is one key, and this node has them all.
                    assert (is_shared(), logs) == (True, [])
                    return
                await is_tried(counter, 3, monkeypatch)
    assert not is_shared()
    assert [line["event"] for line in logs] == [GONE]
    assert "REDIS_URL leads to a node of a cluster, and Colophon needs a single Redis" in logs[0]["reason"]
