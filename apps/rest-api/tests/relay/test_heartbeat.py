"""The relay is well for as long as it goes round, whatever it goes round for."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import date
from functools import partial
from uuid import uuid4

import pytest
from book_db.book import Draft
from book_db.books.cache import NoCache
from book_db.books.catalogue import Catalogue
from book_db.errors import ConnectionLost
from book_db.events.outbox import Outbox, OutboxLease, OutboxNotifier
from book_db.postgres.database import Database
from book_runtime.broker.messages import Message
from book_runtime.broker.ports import NotConfirmed
from prometheus_client import REGISTRY
from rest_api.probe import HEARTBEAT
from rest_api.relay import heartbeat, relay
from rest_api.relay.relay import Relay
from support.waiting import patience, patiently, until

A_DRAFT = Draft("Middlemarch", "George Eliot", date(1871, 12, 1))
EVERY = 0.01
"""Seconds between two beats, in place of one."""


class Broker:
    """A publisher that confirms, refuses, is away or is stuck, as a test wishes."""

    is_connected = True

    def __init__(
        self, *, away: bool = False, refuses: bool = False, stuck: bool = False, blocked: bool = False
    ) -> None:
        self.is_blocked = blocked
        self.away = away
        self.refuses = refuses
        self.stuck = stuck
        self.was_waited_for = asyncio.Event()
        self.was_given_something = asyncio.Event()

    async def ready(self) -> None:
        self.was_waited_for.set()
        if self.away:
            await asyncio.Event().wait()

    async def publish(self, messages: Sequence[Message]) -> None:
        self.was_given_something.set()
        if self.stuck:
            await asyncio.Event().wait()
        if self.refuses:
            raise NotConfirmed({message.id: "no way" for message in messages})


@asynccontextmanager
async def relaying(database: Database, broker: Broker) -> AsyncIterator[None]:
    task = asyncio.create_task(Relay(Outbox(database), broker).run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.fixture(autouse=True)
def _quick_relay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "keep_beating", partial(heartbeat.keep_beating, EVERY))
    for pause in ("_POLL_SECONDS", "_RETRY_SECONDS_MIN", "_RETRY_SECONDS_MAX"):
        monkeypatch.setattr(relay, pause, EVERY)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database.open(database_url)
    yield database
    await database.close()


@pytest.fixture
async def no_database() -> AsyncIterator[Database]:
    database = Database.open("postgresql://nobody@127.0.0.1:1/nothing")
    yield database
    await database.close()


@pytest.fixture
async def an_event_waits(database: Database) -> None:
    notifier = OutboxNotifier(database)
    catalogue = Catalogue(database, NoCache(), notifier)
    await catalogue.add(A_DRAFT, uuid4())
    await catalogue.close()
    await notifier.close()


def last_beat() -> float:
    return REGISTRY.get_sample_value(HEARTBEAT) or 0


async def beats_on() -> None:
    """Waits until there were more beats than are made on the way to where it would stop."""
    async with patience("the relay beats on"):
        for _ in range(5):
            before = last_beat()
            while last_beat() == before:
                await asyncio.sleep(EVERY)


async def beats_no_more() -> bool:
    """Whether there is no beat in the time of many."""
    before = last_beat()
    await asyncio.sleep(20 * EVERY)
    return last_beat() == before


class TestHeartbeat:
    async def test_a_relay_with_nothing_to_do_beats(self, database: Database) -> None:
        async with relaying(database, Broker()):
            await until(lambda: REGISTRY.get_sample_value("colophon_outbox_leading"), "the relay leads")
            await beats_on()

    async def test_a_relay_beats_while_the_broker_is_away(self, database: Database) -> None:
        broker = Broker(away=True)
        async with relaying(database, broker):
            await patiently(broker.was_waited_for.wait(), "the relay waits for the broker")
            await beats_on()

    async def test_a_relay_beats_while_the_broker_confirms_nothing(
        self, database: Database, an_event_waits: None
    ) -> None:
        broker = Broker(refuses=True)
        async with relaying(database, broker):
            await patiently(broker.was_given_something.wait(), "the relay publishes")
            await beats_on()

    async def test_a_relay_that_stands_by_beats(self, database: Database) -> None:
        async with Outbox(database).acquire_lease(), relaying(database, Broker()):
            await beats_on()

    async def test_a_relay_beats_while_the_database_is_away(self, no_database: Database) -> None:
        async with relaying(no_database, Broker()):
            await beats_on()

    async def test_a_relay_that_is_stuck_does_not(self, database: Database, an_event_waits: None) -> None:
        broker = Broker(stuck=True)
        async with relaying(database, broker):
            await patiently(broker.was_given_something.wait(), "the relay is stuck")
            assert await beats_no_more()

    async def test_a_relay_whose_broker_takes_no_messages_beats_on_and_keeps_the_lead(
        self, database: Database, an_event_waits: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broker, kept, keep = Broker(stuck=True, blocked=True), 0, OutboxLease.keep

        async def count(lease: OutboxLease) -> None:
            nonlocal kept
            await keep(lease)
            kept += 1

        monkeypatch.setattr(OutboxLease, "keep", count)
        async with relaying(database, broker):
            await patiently(broker.was_given_something.wait(), "the relay publishes")
            await beats_on()
            await until(lambda: kept >= 3, "it has broken its silence three times")
            assert REGISTRY.get_sample_value("colophon_outbox_leading") == 1

    async def test_one_whose_lead_is_lost_meanwhile_leaves_it(
        self, database: Database, an_event_waits: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def lose(_: OutboxLease) -> None:
            raise ConnectionLost

        broker = Broker(stuck=True, blocked=True)
        async with relaying(database, broker):
            await patiently(broker.was_given_something.wait(), "the relay publishes")
            broker.was_waited_for.clear()
            monkeypatch.setattr(OutboxLease, "keep", lose)
            await patiently(broker.was_waited_for.wait(), "it begins anew")

    async def test_a_heartbeat_ends_with_its_block(self) -> None:
        async with heartbeat.keep_beating():
            await beats_on()
        assert await beats_no_more()
