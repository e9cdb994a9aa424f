"""The relay is well for as long as it goes round, whatever it goes round for."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import date
from uuid import uuid4

import pytest
from book_db.books.catalogue import Catalogue
from book_db.books.model import Draft
from book_db.cache import NoCache
from book_db.database import Database
from book_db.outbox import Outbox, OutboxBell
from book_runtime.broker.messages import Message
from book_runtime.broker.seam import NotConfirmed
from prometheus_client import REGISTRY
from rest_api.probe import HEARTBEAT
from rest_api.relay import pulse
from rest_api.relay.relay import Relay

A_DRAFT = Draft("Middlemarch", "George Eliot", date(1871, 12, 1))


class Broker:
    """A publisher that confirms, refuses, is away or is stuck, as a test wishes."""

    is_connected = True

    def __init__(self, *, away: bool = False, refuses: bool = False, stuck: bool = False) -> None:
        self.away = away
        self.refuses = refuses
        self.stuck = stuck

    async def ready(self) -> None:
        if self.away:
            await asyncio.Event().wait()

    async def publish(self, messages: Sequence[Message]) -> None:
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


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database.open(database_url)
    yield database
    await database.close()


@pytest.fixture
async def an_event_waits(database: Database) -> None:
    bell = OutboxBell(database)
    catalogue = Catalogue(database, NoCache(), bell)
    await catalogue.add(A_DRAFT, uuid4())
    await catalogue.close()
    await bell.close()


async def beats_on() -> bool:
    """Whether the relay beats again within three seconds: thrice as long as it may take."""
    await asyncio.sleep(0.2)
    began = time.time()
    while time.time() < began + 3:
        if (REGISTRY.get_sample_value(HEARTBEAT) or 0) > began:
            return True
        await asyncio.sleep(0.05)
    return False


class TestPulse:
    async def test_a_relay_with_nothing_to_do_beats(self, database: Database) -> None:
        async with relaying(database, Broker()):
            assert await beats_on()

    async def test_a_relay_beats_while_the_broker_is_away(self, database: Database) -> None:
        async with relaying(database, Broker(away=True)):
            assert await beats_on()

    async def test_a_relay_beats_while_the_broker_confirms_nothing(
        self, database: Database, an_event_waits: None
    ) -> None:
        async with relaying(database, Broker(refuses=True)):
            assert await beats_on()

    async def test_a_relay_that_stands_by_beats(self, database: Database) -> None:
        async with Outbox(database).lead(), relaying(database, Broker()):
            assert await beats_on()

    async def test_a_relay_beats_while_the_database_is_away(self) -> None:
        database = Database.open("postgresql://nobody@127.0.0.1:1/nothing")
        async with relaying(database, Broker()):
            assert await beats_on()

    async def test_a_relay_that_is_stuck_does_not(self, database: Database, an_event_waits: None) -> None:
        async with relaying(database, Broker(stuck=True)):
            await asyncio.sleep(1)  # until it is stuck
            assert not await beats_on()

    async def test_a_pulse_ends_with_its_block(self) -> None:
        async with pulse.beating(0.01):
            assert await beats_on()
        assert not await beats_on()
