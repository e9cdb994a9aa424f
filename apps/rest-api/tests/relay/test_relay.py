"""The relay between a real PostgreSQL and a real RabbitMQ."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import UTC, date, datetime
from functools import partial
from unittest.mock import AsyncMock, patch
from uuid import UUID, uuid4

import pytest
from book_contracts import BookEvent
from book_contracts.codec import KINDS
from book_contracts.events import ALL_EVENTS, EXCHANGE
from book_db.book import BookPatch, Draft
from book_db.books.cache import NoCache
from book_db.books.catalogue import Catalogue
from book_db.events.outbox import Outbox, OutboxNotifier
from book_db.postgres.database import Database
from book_runtime.broker.amqp import AmqpConsumer, AmqpPublisher, Topology
from book_runtime.broker.local import LocalBroker
from book_runtime.broker.messages import Message
from book_runtime.broker.ports import NotConfirmed, Undeliverable
from prometheus_client import REGISTRY
from rest_api.relay import backlog, parked_commands, relay
from rest_api.relay.relay import Relay, relay_once
from structlog.testing import capture_logs
from support.proxy import Proxy
from support.rabbitmq import RabbitMQServer
from support.waiting import patience, until
from typer.testing import CliRunner, Result

ACTOR = UUID("8f7cbd8e-6f2a-4c59-8a3b-5a2f1a0b7d11")
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
async def other_database(database_url: str) -> AsyncIterator[Database]:
    """Of a second relay."""
    database = Database.open(database_url)
    yield database
    await database.close()


@pytest.fixture
async def catalogue(database: Database) -> AsyncIterator[Catalogue]:
    notifier = OutboxNotifier(database)
    yield Catalogue(database, NoCache(), notifier)
    await notifier.close()


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

    async def count(self, wanted: int) -> None:
        await until(lambda: len({event.id for event in self.events}) >= wanted, f"{wanted} events are heard")


class Refusing:
    """A publisher that takes everything and confirms nothing: the broker went away before it could."""

    is_connected = True
    is_blocked = False

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
    async with patience("no event waits"):
        while (await outbox.waiting())[0]:
            await asyncio.sleep(0.01)


@contextmanager
def attempts_of(publisher: AmqpPublisher) -> Iterator[AsyncMock]:
    """Counts how often something is published in the block."""
    with patch.object(publisher, "publish", AsyncMock(wraps=publisher.publish)) as attempts:
        yield attempts


async def tried(attempts: AsyncMock, times: int) -> None:
    await until(lambda: attempts.await_count > times, f"the relay has tried {times} times")


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two attempts: they grow to ten times the first and no longer, as in the service."""
    assert relay._RETRY_SECONDS_MAX / relay._RETRY_SECONDS_MIN == 10
    monkeypatch.setattr(relay, "_RETRY_SECONDS_MIN", 0.001)
    monkeypatch.setattr(relay, "_RETRY_SECONDS_MAX", 0.01)


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

    async def test_a_write_is_heard_at_once(
        self, amqp_url: str, catalogue: Catalogue, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # It does not look by itself, and loses no lease by keeping silent: a notification wakes it.
        monkeypatch.setattr(relay, "_POLL_SECONDS", 3_600)
        monkeypatch.setattr(outbox, "acquire_lease", partial(outbox.acquire_lease, idle_timeout=3_600))
        heard = Heard()
        async with (
            AmqpConsumer(amqp_url, TOPOLOGY).consuming(heard),
            AmqpPublisher(amqp_url, EXCHANGE) as publisher,
            running(Relay(outbox, publisher).run()),
        ):
            for number in range(1, 12):
                await catalogue.add(A_DRAFT, ACTOR)
                await heard.count(number)
                await none_waits(outbox)

    async def test_keeps_what_no_queue_takes(self, amqp_url: str, catalogue: Catalogue, outbox: Outbox) -> None:
        await catalogue.add(A_DRAFT, ACTOR)
        async with AmqpPublisher(amqp_url, EXCHANGE) as publisher, outbox.acquire_lease() as lease:
            await publisher.ready()
            with pytest.raises(NotConfirmed):
                await relay_once(lease, publisher)
        assert (await outbox.waiting())[0] == 1

    async def test_sends_again_what_was_not_confirmed(self, catalogue: Catalogue, outbox: Outbox) -> None:
        await catalogue.add_many([A_DRAFT] * 3, ACTOR)
        publisher = Refusing()
        async with outbox.acquire_lease() as lease:
            for _ in range(2):
                with pytest.raises(NotConfirmed):
                    await relay_once(lease, publisher)
        ids = [message.id for message in publisher.taken]
        assert ids[:3] == ids[3:]
        assert (await outbox.waiting())[0] == 3

    async def test_only_one_of_two_relays_and_the_other_takes_over(
        self, amqp_url: str, catalogue: Catalogue, outbox: Outbox, other_database: Database
    ) -> None:
        heard = Heard()
        async with (
            AmqpConsumer(amqp_url, TOPOLOGY).consuming(heard),
            AmqpPublisher(amqp_url, EXCHANGE) as publisher,
            AsyncExitStack() as first,
        ):
            await first.enter_async_context(running(Relay(outbox, publisher).run()))
            await catalogue.add(A_DRAFT, ACTOR)
            await heard.count(1)
            async with running(Relay(Outbox(other_database), publisher).run()):
                await catalogue.add_many([A_DRAFT] * 50, ACTOR)
                await heard.count(51)
                await none_waits(outbox)
                await first.aclose()
                await catalogue.add_many([A_DRAFT] * 50, ACTOR)
                await heard.count(101)
                await none_waits(outbox)
        assert len(heard.events) == 101, "each was published once"

    async def test_one_that_is_cut_off_from_the_broker_leaves_the_lead_to_another(
        self,
        amqp_url: str,
        rabbitmq: RabbitMQServer,
        catalogue: Catalogue,
        outbox: Outbox,
        other_database: Database,
    ) -> None:
        heard = Heard()
        async with Proxy(rabbitmq.port) as proxy:
            cut_off = amqp_url.replace(f":{rabbitmq.port}", f":{proxy.port}")
            async with (
                AmqpConsumer(amqp_url, TOPOLOGY).consuming(heard),
                AmqpPublisher(cut_off, EXCHANGE) as publisher,
                AmqpPublisher(amqp_url, EXCHANGE) as other_publisher,
                running(Relay(outbox, publisher).run()),
            ):
                await catalogue.add(A_DRAFT, ACTOR)
                await heard.count(1)
                async with running(Relay(Outbox(other_database), other_publisher).run()):
                    proxy.refuse()
                    proxy.drop()
                    await catalogue.add_many([A_DRAFT] * 50, ACTOR)
                    await heard.count(51)
        assert list(dict.fromkeys(heard.versions)) == [(book, 1) for book in range(1, 52)]

    async def test_waits_for_a_broker_that_cannot_be_reached(
        self, amqp_url: str, rabbitmq: RabbitMQServer, catalogue: Catalogue, outbox: Outbox
    ) -> None:
        async with Proxy(rabbitmq.port) as proxy:

            async def cut_off() -> None:
                proxy.refuse()
                proxy.drop()

            url = amqp_url.replace(f":{rabbitmq.port}", f":{proxy.port}")
            await waits_for_a_broker(url, cut_off, proxy.heal, catalogue, outbox)

    @pytest.mark.slow
    async def test_waits_for_a_broker_that_was_stopped(
        self, own_rabbitmq: RabbitMQServer, catalogue: Catalogue, outbox: Outbox
    ) -> None:
        stop, start = (partial(asyncio.to_thread, act) for act in (own_rabbitmq.stop, own_rabbitmq.start))
        await waits_for_a_broker(own_rabbitmq.url, stop, start, catalogue, outbox)


async def waits_for_a_broker(
    url: str,
    go_away: Callable[[], Awaitable[None]],
    come_back: Callable[[], Awaitable[None]],
    catalogue: Catalogue,
    outbox: Outbox,
) -> None:
    heard = Heard()
    async with (
        AmqpConsumer(url, TOPOLOGY).consuming(heard),
        AmqpPublisher(url, EXCHANGE) as publisher,
        running(Relay(outbox, publisher).run()),
    ):
        book = await catalogue.add(A_DRAFT, ACTOR)
        await heard.count(1)
        await none_waits(outbox)
        await go_away()
        for _ in range(20):
            await catalogue.replace(book.id, A_DRAFT, ACTOR)
        assert (await outbox.waiting())[0] == 20
        await come_back()
        await heard.count(21)
        await none_waits(outbox)
    firsts = list(dict.fromkeys(heard.versions))
    assert firsts == [(book.id, version) for version in range(1, 22)]


class TestAnEventThatNoQueueTakes:
    async def test_goes_out_as_soon_as_a_queue_is_bound(
        self, amqp_url: str, catalogue: Catalogue, outbox: Outbox, short_pauses: None
    ) -> None:
        heard = Heard()
        await catalogue.add(A_DRAFT, ACTOR)
        async with AmqpPublisher(amqp_url, EXCHANGE) as publisher:
            with attempts_of(publisher) as attempts:
                async with running(Relay(outbox, publisher).run()):
                    # Pauses that went on growing would take an hour by now.
                    await tried(attempts, 22)
                    assert (await outbox.waiting())[0] == 1
                    async with AmqpConsumer(amqp_url, TOPOLOGY).consuming(heard):
                        await heard.count(1)
                        await none_waits(outbox)

    def test_is_tried_again_after_a_second_at_the_latest(self) -> None:
        assert relay._RETRY_SECONDS_MAX <= 1


class TestAnEventThatCannotBePublished:
    """It is parked, and those behind it go on."""

    async def test_since_the_consumer_can_never_handle_it(self, catalogue: Catalogue, outbox: Outbox) -> None:
        books = await catalogue.add_many([A_DRAFT] * 3, ACTOR)
        heard = Heard()

        async def refuse_the_second(messages: Sequence[Message]) -> None:
            for message in messages:
                if (book := BookEvent.parse(message.body).book) and book.id == books[1].id:
                    raise Undeliverable("no shelf is that long", message)
            await heard(messages)

        broker = LocalBroker()
        async with broker.consuming(refuse_the_second), outbox.acquire_lease() as lease:
            assert await relay_once(lease, broker) == 3
            assert await relay_once(lease, broker) == 0
        assert heard.versions == [(books[0].id, 1), (books[2].id, 1)]
        [parked] = await outbox.parked.all()
        assert (parked.book_id, parked.version, parked.reason) == (books[1].id, 1, "no shelf is that long")
        assert (await outbox.waiting())[0] == 0

    async def test_since_this_release_has_no_message_for_it(
        self, amqp_url: str, catalogue: Catalogue, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        book = await catalogue.add(A_DRAFT, ACTOR)
        await catalogue.change(book.id, BookPatch.only(title="Emma"), ACTOR)
        await catalogue.remove(book.id, ACTOR)
        heard = Heard()
        with monkeypatch.context() as patch:
            patch.delitem(KINDS, "updated")
            async with (
                AmqpConsumer(amqp_url, TOPOLOGY).consuming(heard),
                AmqpPublisher(amqp_url, EXCHANGE) as publisher,
                running(Relay(outbox, publisher).run()),
            ):
                await heard.count(2)
                await none_waits(outbox)
        assert heard.versions == [(book.id, 1), (book.id, 3)]
        assert [parked.reason for parked in await outbox.parked.all()] == [
            repr(ValueError("this release knows no event of the kind 'updated'"))
        ]

    async def test_stays_parked_while_the_others_wait_for_the_broker(
        self, catalogue: Catalogue, outbox: Outbox
    ) -> None:
        await catalogue.add_many([A_DRAFT] * 3, ACTOR)

        class Picky(Refusing):
            async def publish(self, messages: Sequence[Message]) -> None:
                reasons = {message.id: "connection lost" for message in messages}
                raise NotConfirmed(reasons, hopeless=[messages[0].id])

        async with outbox.acquire_lease() as lease:
            with pytest.raises(NotConfirmed):
                await relay_once(lease, Picky())
        assert ((await outbox.waiting())[0], await outbox.parked.count()) == (2, 1)


class TestParkedEvents:
    @pytest.fixture
    async def parked(self, catalogue: Catalogue, outbox: Outbox) -> list[UUID]:
        """The ids of three events that are parked, the first and the second of one book."""
        book, _ = await catalogue.add_many([A_DRAFT] * 2, ACTOR)
        await catalogue.change(book.id, BookPatch.only(title="Emma"), ACTOR)
        async with outbox.acquire_lease() as lease:
            events = await lease.claim(3)
            for event in reversed(events):
                await lease.park(event, "too long")
        return [each.event.id for each in events]

    @pytest.fixture
    def command(self, database_url: str) -> Callable[..., Result]:
        def run(*arguments: str) -> Result:
            return CliRunner().invoke(parked_commands.commands, arguments, env={"DATABASE_URL": database_url})

        return run

    async def test_are_listed_with_their_reasons(
        self, parked: list[UUID], command: Callable[..., Result], outbox: Outbox
    ) -> None:
        said = (await asyncio.to_thread(command, "list")).output
        assert all(f"{event_id}  " in said for event_id in parked)
        assert said.count("too long") == 3
        async with running(backlog.watch(outbox)):
            await until(lambda: REGISTRY.get_sample_value("colophon_outbox_parked") == 3, "three are shown as parked")

    async def test_are_sent_again_in_the_order_of_their_books(
        self, parked: list[UUID], command: Callable[..., Result], outbox: Outbox
    ) -> None:
        assert (await asyncio.to_thread(command, "send-again", "--all")).output == "3 will be sent again.\n"
        async with outbox.acquire_lease() as lease:
            assert [each.event.id for each in await lease.claim(10)] == parked
        assert await outbox.parked.count() == 0

    async def test_that_are_sent_again_arrive(
        self, amqp_url: str, parked: list[UUID], command: Callable[..., Result], outbox: Outbox
    ) -> None:
        heard = Heard()
        async with (
            AmqpConsumer(amqp_url, TOPOLOGY).consuming(heard),
            AmqpPublisher(amqp_url, EXCHANGE) as publisher,
            running(Relay(outbox, publisher).run()),
        ):
            await asyncio.to_thread(command, "send-again", str(parked[0]), str(parked[2]))
            await heard.count(2)
        assert {event.id for event in heard.events} == {str(parked[0]), str(parked[2])}
        assert [event.event_id for event in await outbox.parked.all()] == [parked[1]]

    async def test_are_dropped_by_name(
        self, parked: list[UUID], command: Callable[..., Result], outbox: Outbox
    ) -> None:
        said = await asyncio.to_thread(command, "drop", str(parked[0]), str(uuid4()))
        assert said.stdout == "1 dropped.\n"
        assert said.stderr == "1 of them are not parked.\n"
        assert {event.event_id for event in await outbox.parked.all()} == set(parked[1:])

    @pytest.mark.parametrize(
        "arguments", [pytest.param((), id="neither"), pytest.param(("--all", str(ACTOR)), id="both")]
    )
    def test_must_be_named_or_be_all(self, command: Callable[..., Result], arguments: tuple[str, ...]) -> None:
        refused = command("drop", *arguments)
        assert refused.exit_code == 2
        assert "name events, or say --all" in refused.stderr


class TestTheBacklog:
    async def test_is_shown_with_its_age(self, catalogue: Catalogue, outbox: Outbox) -> None:
        began = datetime.now(UTC)
        await catalogue.add_many([A_DRAFT] * 3, ACTOR)
        async with running(backlog.watch(outbox)):
            await until(lambda: REGISTRY.get_sample_value("colophon_outbox_waiting") == 3, "three are shown as waiting")
        age = REGISTRY.get_sample_value("colophon_outbox_oldest_age_seconds") or 0
        assert 0 < age <= (datetime.now(UTC) - began).total_seconds()


class TestTrouble:
    async def test_is_said_once_and_so_is_its_end(
        self,
        amqp_url: str,
        catalogue: Catalogue,
        outbox: Outbox,
        capsys: pytest.CaptureFixture[str],
        short_pauses: None,
    ) -> None:
        await catalogue.add(A_DRAFT, ACTOR)
        async with AmqpPublisher(amqp_url, EXCHANGE) as publisher:
            with attempts_of(publisher) as attempts:
                async with running(Relay(outbox, publisher).run()):
                    await tried(attempts, 4)  # nobody listens yet
                    async with AmqpConsumer(amqp_url, TOPOLOGY).consuming(heard := Heard()):
                        await heard.count(1)
                        await none_waits(outbox)
        said = capsys.readouterr().out
        assert said.count("outage of the publishing of events: they wait in the outbox") == 1
        assert said.count("outage of the publishing of events is over") == 1

    async def test_of_a_broker_whose_disk_is_nearly_full_is_said_once_by_all_together(
        self,
        amqp_url: str,
        rabbitmq: RabbitMQServer,
        catalogue: Catalogue,
        outbox: Outbox,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Writes go on meanwhile, for longer than a confirm may take. All events come, in order, and each once."""
        monkeypatch.setattr(outbox, "acquire_lease", partial(outbox.acquire_lease, idle_timeout=3_600))
        heard, alarm = Heard(), rabbitmq.alarm()
        async with (
            AmqpConsumer(amqp_url, TOPOLOGY).consuming(heard),
            AmqpPublisher(amqp_url, EXCHANGE, confirm_timeout=1) as publisher,
            running(Relay(outbox, publisher).run()),
        ):
            book = await catalogue.add(A_DRAFT, ACTOR)
            await heard.count(1)
            await none_waits(outbox)
            with capture_logs() as logs:
                await asyncio.to_thread(alarm.__enter__)
                try:
                    for _ in range(20):
                        await catalogue.replace(book.id, A_DRAFT, ACTOR)
                    await until(lambda: publisher.is_blocked, "the publisher is told of the alarm")
                    for limit in publisher._connection.alarm._limits:
                        publisher._connection.alarm._limits[limit] = 120  # when it is over, a busy broker has time
                    assert (await outbox.waiting())[0] == 20
                finally:
                    await asyncio.to_thread(alarm.__exit__, None, None, None)
                await heard.count(21)
                await none_waits(outbox)
        assert heard.versions == [(book.id, version) for version in range(1, 22)]
        assert [line["event"] for line in logs if "outage" in line["event"]] == [
            "outage of RabbitMQ's intake: messages wait for the end of its alarm",
            "outage of RabbitMQ's intake is over",
        ]
