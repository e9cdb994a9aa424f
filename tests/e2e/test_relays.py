"""The relay as operators run it: several processes of which one works, and an outbox with very many events."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack

import aio_pika
import httpx
import psutil  # type: ignore[import-untyped]  # psutil ships no types
import psycopg
import pytest
from aio_pika.abc import AbstractQueue
from book_contracts.events import ALL_EVENTS, EXCHANGE
from book_db.events.outbox import Outbox, OutboxLease
from book_db.postgres.database import Database
from support.services import OutboxRelay
from support.waiting import PATIENCE, patience, until
from support.workspace import Workspace

_FILL = """
    INSERT INTO outbox (
        kind, actor, occurred_at, traceparent,
        book_id, title, author, publication_date, version, created_at, updated_at
    )
    SELECT
        'created', gen_random_uuid(), now(), '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
        number, 'The Life and Opinions of Number ' || number, 'Laurence Sterne', '1759-12-01', 1, now(), now()
    FROM generate_series(1, %s) AS number
"""


def fill(database_url: str, count: int) -> None:
    """Adds events to the outbox, as writes would, but for the books."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(_FILL, [count])


def waiting(database_url: str) -> int:
    with psycopg.connect(database_url) as connection:
        [count] = connection.execute("SELECT count(*) FROM outbox").fetchone() or [0]
        return int(count)


@pytest.fixture
async def queue(amqp_url: str) -> AsyncIterator[AbstractQueue]:
    """A queue that gets every event, and keeps the last ten thousand."""
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        await channel.declare_exchange(EXCHANGE, aio_pika.ExchangeType.TOPIC, durable=True)
        queue = await channel.declare_queue("tests", durable=True, arguments={"x-max-length": 10_000})
        await queue.bind(EXCHANGE, ALL_EVENTS)
        yield queue


class ImpatientRelay(OutboxRelay):
    """The lease of one that is silent for two seconds is over, not for twenty, and is asked for ten times a second."""

    command = (
        sys.executable,
        "-c",
        """
from functools import partialmethod
from book_db.events.outbox import Outbox
from rest_api.cli import main
Outbox.acquire_lease = partialmethod(Outbox.acquire_lease, retry_every=0.1, idle_timeout=2.0)
main()
""",
        "relay",
    )


@pytest.fixture
def start(
    workspace: Workspace, database_url: str, amqp_url: str
) -> Iterator[Callable[[type[OutboxRelay]], OutboxRelay]]:
    """Starts relays."""
    with ExitStack() as stopping:
        environment = {"DATABASE_URL": database_url, "AMQP_URL": amqp_url}
        yield lambda kind: stopping.enter_context(kind(workspace, environment))


def measured(relay: OutboxRelay, metric: str) -> float:
    """What a relay shows of a metric."""
    lines = httpx.get(f"http://127.0.0.1:{relay.port}/metrics", timeout=PATIENCE).text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{metric} "))


def leads(relay: OutboxRelay) -> bool:
    return measured(relay, "colophon_outbox_leading") == 1


def stand_by(database_url: str) -> int:
    """How many relays have asked for the lease last, and were refused."""
    with psycopg.connect(database_url) as connection:
        [count] = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle'"
            " AND query LIKE 'SELECT pg_try_advisory_lock%'"
        ).fetchone() or [0]
        return int(count)


async def is_empty(database_url: str) -> float:
    """Waits until nothing is in the outbox, and says how many seconds."""
    began = time.monotonic()
    await until(lambda: waiting(database_url) == 0, "all events are relayed")
    return time.monotonic() - began


class TestTwoRelays:
    @pytest.mark.parametrize("kind", [ImpatientRelay, pytest.param(OutboxRelay, marks=pytest.mark.slow)])
    async def test_one_takes_over_from_the_other_when_it_hangs_and_when_it_is_killed(
        self,
        start: Callable[[type[OutboxRelay]], OutboxRelay],
        database_url: str,
        queue: AbstractQueue,
        kind: type[OutboxRelay],
    ) -> None:
        relays = await asyncio.gather(*(asyncio.to_thread(start, kind) for _ in range(2)))
        await until(lambda: any(map(leads, relays)), "one of the relays leads")
        await until(lambda: stand_by(database_url) == 1, "the other one stands by")
        first, second = sorted(relays, key=leads, reverse=True)
        assert not leads(second)

        first.freeze()
        fill(database_url, 100)
        after_hanging = await is_empty(database_url)
        assert leads(second)

        first.thaw()
        fill(database_url, 100)
        await is_empty(database_url)
        await until(lambda: not leads(first), "the first relay knows that it leads no more")
        assert leads(second)

        second.kill()
        fill(database_url, 100)
        after_the_kill = await is_empty(database_url)
        assert leads(first)

        arrived = await ids_in(queue)
        print(
            f"taken over {after_hanging:.1f} s after it hung, {after_the_kill:.1f} s after it was killed;"
            f" {len(arrived) - 300} events repeated"
        )
        assert len(set(arrived)) == 300


async def ids_in(queue: AbstractQueue) -> list[str]:
    """Of everything in the queue, which is gone then."""
    arrived = []
    while message := await queue.get(no_ack=True, fail=False):
        arrived.append(message.message_id or "")
    return arrived


class TestAnOutboxWithManyEvents:
    @pytest.mark.parametrize("events", [20_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
    async def test_costs_the_relay_no_memory_and_no_time(
        self, start: Callable[[type[OutboxRelay]], OutboxRelay], database_url: str, queue: AbstractQueue, events: int
    ) -> None:
        relay = await asyncio.to_thread(start, OutboxRelay)
        process = psutil.Process(relay.pid)
        fill(database_url, 1_000)
        await is_empty(database_url)
        before = process.memory_info().rss

        await asyncio.to_thread(fill, database_url, events)
        most, relayed, began = 0, measured(relay, "colophon_outbox_relayed_total"), time.monotonic()
        async with patience("many events are relayed"):
            while (done := measured(relay, "colophon_outbox_relayed_total") - relayed) < min(events / 10, 20_000):
                most = max(most, process.memory_info().rss)
                await asyncio.sleep(0.05)
        rate = done / (time.monotonic() - began)
        relay.kill()
        print(
            f"{rate:,.0f} events/s with {events:,} waiting; memory {before / 2**20:.0f} MiB before,"
            f" {most / 2**20:.0f} MiB at most"
        )
        assert most - before < 32 * 2**20

        database = Database.open(database_url)
        outbox = Outbox(database)
        counting = await seconds(outbox.waiting)
        async with outbox.acquire_lease() as lease:
            fresh = await seconds_to_claim(lease)
            with psycopg.connect(database_url, autocommit=True) as connection:
                connection.execute("DELETE FROM outbox WHERE id < (SELECT min(id) + %s FROM outbox)", [events // 2])
            first = await seconds(lambda: lease.claim(500))
            later = await seconds_to_claim(lease)
        await database.close()
        print(
            f"to count them takes {counting * 1000:.0f} ms; to claim 500 of them {fresh * 1000:.1f} ms, behind"
            f" {events // 2:,} that are deleted {first * 1000:.0f} ms the first time and {later * 1000:.1f} ms then"
        )
        assert later < 10 * fresh


async def seconds_to_claim(lease: OutboxLease) -> float:
    """The best of some rounds: others that work on this machine make some of them longer."""
    times = []
    for _ in range(9):
        claimed = await lease.claim(500)
        times.append(await seconds(lambda: lease.claim(500)))
        await lease.delete_published(claimed)
    return min(times)


async def seconds(work: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began
