"""The relay between a real PostgreSQL and a real RabbitMQ."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from datetime import date
from uuid import uuid4

import pytest
from book_contracts import BookEvent
from book_contracts.events import ALL_EVENTS, EXCHANGE
from book_db.books.catalogue import Catalogue
from book_db.books.model import Draft
from book_db.cache import NoCache
from book_db.database import Database
from book_db.outbox import Outbox, OutboxBell
from book_runtime.broker.amqp import AmqpConsumer, AmqpPublisher, Topology
from book_runtime.broker.messages import Message
from book_runtime.broker.seam import NotConfirmed
from prometheus_client import REGISTRY
from rest_api.relay import backlog
from rest_api.relay.relay import Relay, relay_once
from support.rabbitmq import RabbitMQServer

ACTOR = uuid4()
A_DRAFT = Draft("Middlemarch", "George Eliot", date(1871, 12, 1))
TOPOLOGY = Topology(
    exchange=EXCHANGE,
    queue="tests",
    binding_keys=[ALL_EVENTS],
    dead_letter_exchange="tests.dead-letters",
    dead_letter_queue="tests.dead-letters",
)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database.open(database_url)
    yield database
    await database.close()


@pytest.fixture
async def catalogue(database: Database) -> AsyncIterator[Catalogue]:
    bell = OutboxBell(database)
    yield Catalogue(database, NoCache(), bell)
    await bell.close()


@pytest.fixture
def outbox(database: Database) -> Outbox:
    return Outbox(database)


class Heard:
    """Remembers the events that arrived, as (book, version)."""

    def __init__(self) -> None:
        self.events: list[BookEvent] = []

    async def __call__(self, messages: Sequence[Message]) -> None:
        self.events += [BookEvent.parse(message.body) for message in messages]

    @property
    def versions(self) -> list[tuple[int, int]]:
        return [(event.book.id, event.book.version) for event in self.events if event.book]

    async def count(self, wanted: int, *, within: float = 20) -> None:
        async with asyncio.timeout(within):
            while len({event.id for event in self.events}) < wanted:
                await asyncio.sleep(0.01)


class Refusing:
    """A publisher that takes everything and confirms nothing: the broker went away before it could."""

    is_connected = True

    def __init__(self) -> None:
        self.taken: list[Message] = []

    async def ready(self) -> None:
        pass

    async def publish(self, messages: Sequence[Message]) -> None:
        self.taken += messages
        raise NotConfirmed({message.id: "connection lost" for message in messages})


@asynccontextmanager
async def running(work: Awaitable[None]) -> AsyncIterator[None]:
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()


async def none_waits(outbox: Outbox) -> None:
    async with asyncio.timeout(10):
        while (await outbox.waiting())[0]:
            await asyncio.sleep(0.01)


class TestRelay:
    async def test_brings_every_event_in_the_order_of_the_writes(
        self, amqp_url: str, catalogue: Catalogue, outbox: Outbox
    ) -> None:
        heard = Heard()
        books = await catalogue.add_many([A_DRAFT] * 600, ACTOR)
        async with (
            AmqpConsumer(amqp_url, TOPOLOGY).consuming(heard),
            AmqpPublisher(amqp_url, EXCHANGE) as publisher,
            running(Relay(outbox, publisher).run()),
        ):
            await heard.count(600)
            for _ in range(5):
                await catalogue.replace(books[0].id, A_DRAFT, ACTOR)
            await catalogue.remove(books[0].id, ACTOR)
            await heard.count(606)
            await none_waits(outbox)
        assert heard.versions[:600] == [(book.id, 1) for book in books]
        assert heard.versions[600:] == [(books[0].id, version) for version in range(2, 8)]
        assert {event.actor for event in heard.events} == {str(ACTOR)}

    async def test_a_write_is_heard_at_once(self, amqp_url: str, catalogue: Catalogue, outbox: Outbox) -> None:
        heard = Heard()
        async with (
            AmqpConsumer(amqp_url, TOPOLOGY).consuming(heard),
            AmqpPublisher(amqp_url, EXCHANGE) as publisher,
            running(Relay(outbox, publisher).run()),
        ):
            await catalogue.add(A_DRAFT, ACTOR)
            await heard.count(1)
            await asyncio.sleep(0.1)
            # Less than the second after which it would look by itself: the bell woke it.
            for number in range(2, 12):
                await catalogue.add(A_DRAFT, ACTOR)
                await heard.count(number, within=0.9)

    async def test_keeps_what_no_queue_takes(self, amqp_url: str, catalogue: Catalogue, outbox: Outbox) -> None:
        await catalogue.add(A_DRAFT, ACTOR)
        async with AmqpPublisher(amqp_url, EXCHANGE) as publisher, outbox.lead() as lead:
            await publisher.ready()
            with pytest.raises(NotConfirmed):
                await relay_once(lead, publisher)
        assert (await outbox.waiting())[0] == 1

    async def test_sends_again_what_was_not_confirmed(self, catalogue: Catalogue, outbox: Outbox) -> None:
        await catalogue.add_many([A_DRAFT] * 3, ACTOR)
        publisher = Refusing()
        async with outbox.lead() as lead:
            for _ in range(2):
                with pytest.raises(NotConfirmed):
                    await relay_once(lead, publisher)
        ids = [message.id for message in publisher.taken]
        assert ids[:3] == ids[3:]
        assert (await outbox.waiting())[0] == 3

    async def test_only_one_of_two_relays_and_the_other_takes_over(
        self, database_url: str, amqp_url: str, catalogue: Catalogue, outbox: Outbox
    ) -> None:
        heard = Heard()
        second = Database.open(database_url)
        async with (
            AmqpConsumer(amqp_url, TOPOLOGY).consuming(heard),
            AmqpPublisher(amqp_url, EXCHANGE) as publisher,
            running(Relay(outbox, publisher).run()),
        ):
            await catalogue.add(A_DRAFT, ACTOR)
            await heard.count(1)
            other = asyncio.ensure_future(Relay(Outbox(second), publisher).run())
            await catalogue.add_many([A_DRAFT] * 50, ACTOR)
            await heard.count(51)
            await catalogue.add_many([A_DRAFT] * 50, ACTOR)
            await heard.count(101, within=5)
            other.cancel()
            await asyncio.wait([other])
        await second.close()
        assert len(heard.events) == 101, "each was published once"

    async def test_waits_for_a_broker_that_is_away(
        self, own_rabbitmq: RabbitMQServer, catalogue: Catalogue, outbox: Outbox
    ) -> None:
        heard = Heard()
        url = own_rabbitmq.url
        async with (
            AmqpConsumer(url, TOPOLOGY).consuming(heard),
            AmqpPublisher(url, EXCHANGE) as publisher,
            running(Relay(outbox, publisher).run()),
        ):
            book = await catalogue.add(A_DRAFT, ACTOR)
            await heard.count(1)
            await asyncio.to_thread(own_rabbitmq.stop)
            for _ in range(20):
                await catalogue.replace(book.id, A_DRAFT, ACTOR)
            assert (await outbox.waiting())[0] == 20
            await asyncio.to_thread(own_rabbitmq.start)
            await heard.count(21, within=60)
            await none_waits(outbox)
        firsts = list(dict.fromkeys(heard.versions))
        assert firsts == [(book.id, version) for version in range(1, 22)]


class TestTheBacklog:
    async def test_is_shown_with_its_age(self, catalogue: Catalogue, outbox: Outbox) -> None:
        await catalogue.add_many([A_DRAFT] * 3, ACTOR)
        async with running(backlog.watch(outbox)):
            async with asyncio.timeout(5):
                while REGISTRY.get_sample_value("colophon_outbox_waiting") != 3:
                    await asyncio.sleep(0.01)
        assert 0 < (REGISTRY.get_sample_value("colophon_outbox_oldest_age_seconds") or 0) < 60


class TestTrouble:
    async def test_is_said_once_and_so_is_its_end(
        self, amqp_url: str, catalogue: Catalogue, outbox: Outbox, capsys: pytest.CaptureFixture[str]
    ) -> None:
        await catalogue.add(A_DRAFT, ACTOR)
        async with AmqpPublisher(amqp_url, EXCHANGE) as publisher, running(Relay(outbox, publisher).run()):
            await asyncio.sleep(1)  # nobody listens yet: several attempts
            async with AmqpConsumer(amqp_url, TOPOLOGY).consuming(heard := Heard()):
                await heard.count(1)
                await none_waits(outbox)
        said = capsys.readouterr().out
        assert said.count("events are not confirmed") == 1
        assert said.count("relaying events again") == 1
