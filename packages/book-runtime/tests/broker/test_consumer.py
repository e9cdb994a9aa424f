"""Consuming from a real RabbitMQ."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel, HeadersType
from book_runtime.broker import metrics
from book_runtime.broker.amqp import AmqpConsumer, AmqpPublisher, Topology, inbox, settling
from book_runtime.broker.amqp import consumer as consumer_module
from book_runtime.broker.amqp.pauses import Pauses
from book_runtime.broker.messages import Message
from book_runtime.broker.ports import TryAgainLater, Undeliverable
from structlog.testing import capture_logs
from support.waiting import patience, patiently, until
from yarl import URL

TOPOLOGY = Topology(
    exchange="books.events",
    queue="book-log",
    binding_keys=["book.*"],
    dead_letter_exchange="book-log.dead",
    dead_letter_queue="book-log.dead-letters",
    prefetch=20,
)

PAUSED = "outage of the handling of messages: they wait, and those behind them in the queue"
REFUSED = "outage of the queue of dead letters: what is to go there waits, and all behind it"

Messages = Callable[[int], list[Message]]


@pytest.fixture
async def publisher(amqp_url: str) -> AsyncIterator[AmqpPublisher]:
    async with AmqpPublisher(amqp_url, TOPOLOGY.exchange) as publisher:
        await publisher.ready()
        yield publisher


@pytest.fixture
async def channel(amqp_url: str) -> AsyncIterator[AbstractChannel]:
    """Somebody else's look at the broker."""
    async with await aio_pika.connect(amqp_url) as connection:
        yield await connection.channel()


@pytest.fixture
def consumer(amqp_url: str) -> AmqpConsumer:
    return AmqpConsumer(amqp_url, TOPOLOGY)


def ids(count: int, *, but: int | None = None) -> list[str]:
    return [f"event-{number}" for number in range(count) if number != but]


def raising(number: int, error: Exception, times: int = 10_000) -> Callable[[Sequence[Message]], Awaitable[None]]:
    """Raises the error so many times when the message with this number is in the batch."""
    left = times

    async def refuse(batch: Sequence[Message]) -> None:
        nonlocal left
        if left and any(message.id == f"event-{number}" for message in batch):
            left -= 1
            raise error

    return refuse


class Gate:
    """What a handler waits at until it is opened."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.open = asyncio.Event()

    async def __call__(self, _: Sequence[Message]) -> None:
        self.reached.set()
        await self.open.wait()


async def letters_in(channel: AbstractChannel, count: int) -> list[Any]:
    """So many dead letters, waited for."""
    queue = await channel.get_queue(TOPOLOGY.dead_letter_queue, ensure=False)

    async def next_letter() -> Any:
        return await queue.get(no_ack=True, fail=False)

    return [await until(next_letter, "there is a dead letter") for _ in range(count)]


async def waiting_in(channel: AbstractChannel, queue: str) -> int:
    """How many messages are ready in a queue, in nobody's hands."""
    found = await channel.declare_queue(queue, passive=True)
    return found.declaration_result.message_count or 0


async def becomes(count: int, look: Callable[[], Awaitable[int]]) -> None:
    async def is_so() -> bool:
        return await look() == count

    await until(is_so, f"the count is {count}")


def spoken(logs: Sequence[Any]) -> list[str]:
    return [line["event"] for line in logs]


class TestTopology:
    async def test_everything_is_declared(
        self, consumer: AmqpConsumer, handler: Any, amqp_url: str, rabbitmq: Any
    ) -> None:
        vhost = amqp_url.rsplit("/", 1)[1]
        async with consumer.consuming(handler):
            await consumer.ready()
            queues = {queue["name"]: queue for queue in rabbitmq.manage("GET", f"/queues/{vhost}")}
        assert {name: (queue["type"], queue["durable"]) for name, queue in queues.items()} == {
            "book-log": ("quorum", True),
            "book-log.dead-letters": ("quorum", True),
        }
        arguments = queues["book-log"]["arguments"]
        assert arguments["x-dead-letter-exchange"] == "book-log.dead"
        assert arguments["x-dead-letter-strategy"] == "at-least-once"
        assert arguments["x-single-active-consumer"] is True
        assert arguments["x-delivery-limit"] > TOPOLOGY.delivery_limit

    async def test_messages_wait_while_nobody_consumes(
        self, consumer: AmqpConsumer, publisher: AmqpPublisher, handler: Any, messages: Messages
    ) -> None:
        async with consumer.consuming(handler):
            await consumer.ready()
        await publisher.publish(messages(5))
        async with consumer.consuming(handler):
            await handler.has(ids(5))
        assert handler.ids == ids(5)

    async def test_a_queue_that_was_deleted_is_declared_again(
        self,
        consumer: AmqpConsumer,
        publisher: AmqpPublisher,
        channel: AbstractChannel,
        handler: Any,
        messages: Messages,
        publish_like_a_relay: Any,
    ) -> None:
        async with consumer.consuming(handler):
            await consumer.ready()
            await channel.queue_delete(TOPOLOGY.queue)
            await publish_like_a_relay(publisher, messages(3))
            await handler.has(ids(3))

    async def test_a_queue_of_another_kind_is_named_in_the_log_and_not_used(
        self, cable: Any, channel: AbstractChannel, handler: Any
    ) -> None:
        consumer = AmqpConsumer(cable.url, TOPOLOGY)
        await channel.declare_queue(TOPOLOGY.queue, durable=True)
        with capture_logs() as logs:
            async with consumer.consuming(handler):
                await until(lambda: cable.connections == 3, "two attempts have failed")
                assert not consumer.is_connected
                await channel.queue_delete(TOPOLOGY.queue)
                await patiently(consumer.ready(), "the consumer has declared a queue of its kind")
        assert [line["event"] for line in logs] == [
            "outage of RabbitMQ: trying to connect",
            "outage of RabbitMQ is over",
        ]
        assert "inequivalent arg" in logs[0]["reason"]


class TestBatches:
    async def test_one_message_is_handled_at_once(
        self,
        consumer: AmqpConsumer,
        publisher: AmqpPublisher,
        handler: Any,
        messages: Messages,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(inbox, "_BUSY_BATCH_SECONDS", 3_600)
        async with consumer.consuming(handler):
            await consumer.ready()
            for message in messages(3):
                await publisher.publish([message])
                await handler.has([message.id])

    async def test_a_batch_is_what_arrived_in_the_meantime_and_prefetch_bounds_it(
        self,
        consumer: AmqpConsumer,
        publisher: AmqpPublisher,
        channel: AbstractChannel,
        handler: Any,
        messages: Messages,
    ) -> None:
        handler.first = gate = Gate()
        async with consumer.consuming(handler):
            await consumer.ready()
            await publisher.publish(messages(1))
            await gate.reached.wait()
            await publisher.publish(messages(101)[1:])
            # The one in hand and those on their way are not ready in the queue any more.
            await becomes(101 - TOPOLOGY.prefetch, lambda: waiting_in(channel, TOPOLOGY.queue))
            await until(lambda: arrived(consumer) == TOPOLOGY.prefetch - 1, "those on their way have arrived")
            assert await waiting_in(channel, TOPOLOGY.queue) == 101 - TOPOLOGY.prefetch
            gate.open.set()
            await handler.has(ids(101))
        assert handler.ids == ids(101)
        assert len(handler.batches[1]) == TOPOLOGY.prefetch - 1
        assert max(len(batch) for batch in handler.batches) <= TOPOLOGY.prefetch

    async def test_what_was_handled_is_acknowledged(
        self,
        consumer: AmqpConsumer,
        publisher: AmqpPublisher,
        channel: AbstractChannel,
        handler: Any,
        messages: Messages,
    ) -> None:
        async with consumer.consuming(handler):
            await consumer.ready()
            await publisher.publish(messages(300))
            await handler.has(ids(300))
        assert await waiting_in(channel, TOPOLOGY.queue) == 0
        assert handler.ids == ids(300)

    async def test_it_counts(
        self, consumer: AmqpConsumer, publisher: AmqpPublisher, handler: Any, messages: Messages
    ) -> None:
        counter = metrics.HANDLED.labels(TOPOLOGY.queue)
        before = counter._value.get()
        async with consumer.consuming(handler):
            await consumer.ready()
            await publisher.publish(messages(30))
            await handler.has(ids(30))
        assert counter._value.get() == before + 30


class TestDeadLetters:
    async def test_a_message_that_can_never_be_handled_goes_with_its_reason(
        self,
        consumer: AmqpConsumer,
        publisher: AmqpPublisher,
        channel: AbstractChannel,
        handler: Any,
        messages: Messages,
        a_message: Callable[..., Message],
    ) -> None:
        handler.first = raising(5, Undeliverable("no such kind of event"))
        sent = messages(10)
        sent[5] = a_message(5, routing_key="book.odd", headers={"traceparent": "00-a-b-01"}, body=b"\xff")
        async with consumer.consuming(handler):
            await consumer.ready()
            await publisher.publish(sent)
            await handler.has(ids(10, but=5))
            (letter,) = await letters_in(channel, 1)
        assert handler.ids == ids(10, but=5)
        assert letter.headers["x-reason"] == "no such kind of event"
        assert "Undeliverable" in letter.headers["x-exception"]
        assert "in refuse" in letter.headers["x-exception"]
        assert letter.headers["x-queue"] == TOPOLOGY.queue
        assert letter.headers["traceparent"] == "00-a-b-01"
        assert (letter.message_id, letter.type, letter.body) == ("event-5", "book.created", b"\xff")
        assert (letter.routing_key, letter.content_type) == ("book.odd", "application/protobuf")
        assert (letter.timestamp, letter.delivery_mode) == (sent[5].timestamp, aio_pika.DeliveryMode.PERSISTENT)

    async def test_a_message_that_fails_again_and_again_goes_after_its_attempts(
        self,
        consumer: AmqpConsumer,
        publisher: AmqpPublisher,
        channel: AbstractChannel,
        handler: Any,
        messages: Messages,
    ) -> None:
        handler.first = raising(2, ValueError("a bug"))
        async with consumer.consuming(handler):
            await consumer.ready()
            await publisher.publish(messages(5))
            await handler.has(ids(5, but=2))
            (letter,) = await letters_in(channel, 1)
        assert letter.headers["x-reason"] == "failed 5 times, the last time with ValueError('a bug')"
        assert handler.ids == ids(5, but=2)
        assert sum(1 for batch in handler.batches if batch == ["event-2"]) == TOPOLOGY.attempts

    async def test_a_failure_that_passes_is_tried_again_in_its_place(
        self,
        consumer: AmqpConsumer,
        publisher: AmqpPublisher,
        channel: AbstractChannel,
        handler: Any,
        messages: Messages,
    ) -> None:
        handler.first = raising(2, ValueError("a bug"), times=3)
        async with consumer.consuming(handler):
            await consumer.ready()
            await publisher.publish(messages(30))
            await handler.has(ids(30))
        assert handler.ids == ids(30)
        assert await waiting_in(channel, TOPOLOGY.dead_letter_queue) == 0

    async def test_a_very_long_reason_still_fits(
        self,
        consumer: AmqpConsumer,
        publisher: AmqpPublisher,
        channel: AbstractChannel,
        handler: Any,
        messages: Messages,
    ) -> None:
        handler.first = raising(0, Undeliverable("書" * 100_000))
        async with consumer.consuming(handler):
            await consumer.ready()
            await publisher.publish(messages(2))
            (letter,) = await letters_in(channel, 1)
            await handler.has(["event-1"])
        assert letter.headers["x-reason"] == "書" * 1000

    async def test_a_dead_letter_that_is_refused_is_kept_until_it_is_taken(
        self,
        consumer: AmqpConsumer,
        publisher: AmqpPublisher,
        channel: AbstractChannel,
        handler: Any,
        messages: Messages,
    ) -> None:
        handler.first = raising(0, Undeliverable("no such kind of event"))
        async with consumer.consuming(handler):
            await consumer.ready()
            await channel.queue_delete(TOPOLOGY.dead_letter_queue)
            with capture_logs() as logs:
                await publisher.publish(messages(2))
                await until(lambda: REFUSED in spoken(logs), "the letter is refused")
            assert handler.ids == []
            arguments: HeadersType = {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000}
            again = await channel.declare_queue(TOPOLOGY.dead_letter_queue, durable=True, arguments=arguments)
            await again.bind(TOPOLOGY.dead_letter_exchange)
            await handler.has(["event-1"])
            assert [letter.message_id for letter in await letters_in(channel, 1)] == ["event-0"]

    async def test_a_message_that_was_delivered_too_often_without_an_answer_has_one_attempt_left(
        self, cable: Any, publisher: AmqpPublisher, channel: AbstractChannel, handler: Any, messages: Messages
    ) -> None:
        consumer = AmqpConsumer(cable.url, replace(TOPOLOGY, delivery_limit=3))
        async with consumer.consuming(handler):
            await consumer.ready()
            for _ in range(2):
                handler.first = gate = Gate()
                await patiently(consumer.ready(), "the consumer is connected")
                if not handler.batches:
                    await publisher.publish(messages(1))
                await patiently(gate.reached.wait(), "the message is delivered")
                cable.cut()
                handler.first = raising(0, ValueError("a bug"))
                await becomes(1, lambda: waiting_in(channel, TOPOLOGY.queue))
                gate.open.set()
            (letter,) = await letters_in(channel, 1)
        assert letter.headers["x-reason"].startswith("failed 1 times")


class TestASlowHandler:
    @pytest.mark.parametrize(
        "heartbeats",
        [
            pytest.param(2, id="goes-on-giving-signs-of-life"),
            # The broker gives up who is silent for three times two seconds; a sign is given every second.
            pytest.param(7, id="and-is-not-given-up", marks=pytest.mark.slow),
        ],
    )
    async def test_does_not_lose_the_connection(
        self,
        cable: Any,
        publisher: AmqpPublisher,
        channel: AbstractChannel,
        handler: Any,
        messages: Messages,
        heartbeats: int,
    ) -> None:
        async def take_your_time(batch: Sequence[Message]) -> None:
            before = cable.heartbeats
            await until(lambda: cable.heartbeats == before + heartbeats, "the broker has had these signs of life")

        handler.first = take_your_time
        consumer = AmqpConsumer(str(URL(cable.url).update_query(heartbeat="2")), TOPOLOGY)
        with capture_logs() as logs:
            async with consumer.consuming(handler):
                await consumer.ready()
                await publisher.publish(messages(1))
                await handler.has(ids(1))
        assert handler.ids == ids(1)
        assert await waiting_in(channel, TOPOLOGY.queue) == 0
        assert spoken(logs) == ["connected to the broker"]


class TestTryAgainLater:
    async def test_nothing_is_lost_counted_or_reordered_however_long_it_takes(
        self,
        amqp_url: str,
        publisher: AmqpPublisher,
        channel: AbstractChannel,
        handler: Any,
        messages: Messages,
    ) -> None:
        consumer = AmqpConsumer(amqp_url, replace(TOPOLOGY, attempts=2))
        handler.first = raising(3, TryAgainLater("the database is away"), times=4)
        with capture_logs() as logs:
            async with consumer.consuming(handler):
                await consumer.ready()
                await publisher.publish(messages(60))
                await handler.has(ids(60))
        assert handler.ids == ids(60)
        assert await waiting_in(channel, TOPOLOGY.dead_letter_queue) == 0
        told = [event for event in spoken(logs) if "handling" in event]
        assert told == [PAUSED, "outage of the handling of messages is over"]

    async def test_the_end_of_the_block_does_not_wait_for_the_database(
        self,
        consumer: AmqpConsumer,
        publisher: AmqpPublisher,
        channel: AbstractChannel,
        handler: Any,
        messages: Messages,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(consumer_module, "_DRAIN_SECONDS", 3_600)
        monkeypatch.setattr(settling, "Pauses", lambda: Pauses(3_600, 3_600))
        handler.first = raising(0, TryAgainLater("the database is away"))
        with capture_logs() as logs:
            async with patience("the block has ended"), consumer.consuming(handler):
                await consumer.ready()
                await publisher.publish(messages(5))
                await until(lambda: PAUSED in spoken(logs), "consuming pauses")
        await becomes(5, lambda: waiting_in(channel, TOPOLOGY.queue))
        handler.first = None
        async with consumer.consuming(handler):
            await handler.has(ids(5))
        assert handler.ids == ids(5)


class TestStopping:
    async def test_the_batch_in_hand_is_acknowledged_and_the_rest_goes_back(
        self,
        consumer: AmqpConsumer,
        publisher: AmqpPublisher,
        channel: AbstractChannel,
        handler: Any,
        messages: Messages,
    ) -> None:
        handler.first = gate = Gate()
        async with consumer.consuming(handler):
            await consumer.ready()
            await publisher.publish(messages(1))
            await gate.reached.wait()
            await publisher.publish(messages(6)[1:])
            await becomes(0, lambda: waiting_in(channel, TOPOLOGY.queue))
            # In the next turn of the loop, when the block has begun to end.
            asyncio.get_running_loop().call_soon(gate.open.set)
        assert handler.ids == ["event-0"]
        await becomes(5, lambda: waiting_in(channel, TOPOLOGY.queue))
        async with consumer.consuming(handler):
            await handler.has(ids(6))
        assert handler.ids == ids(6)

    async def test_a_block_that_fails_stops_as_well(
        self, consumer: AmqpConsumer, channel: AbstractChannel, handler: Any
    ) -> None:
        async def fail() -> None:
            async with consumer.consuming(handler):
                await consumer.ready()
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        assert not consumer.is_connected
        found = await channel.declare_queue(TOPOLOGY.queue, passive=True)
        assert found.declaration_result.consumer_count == 0

    async def test_it_stops_while_the_broker_is_away(
        self, unused_tcp_port: int, handler: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(consumer_module, "_DRAIN_SECONDS", 3_600)
        consumer = AmqpConsumer(f"amqp://127.0.0.1:{unused_tcp_port}/", TOPOLOGY)
        with capture_logs() as logs:
            async with patience("it has stopped"), consumer.consuming(handler):
                await until(lambda: logs, "an attempt has failed")


class TestLostConnection:
    async def test_what_was_in_hand_arrives_again_and_in_order(
        self, cable: Any, publisher: AmqpPublisher, channel: AbstractChannel, handler: Any, messages: Messages
    ) -> None:
        consumer = AmqpConsumer(cable.url, TOPOLOGY)
        handler.first = gate = Gate()
        async with consumer.consuming(handler):
            await consumer.ready()
            await publisher.publish(messages(50))
            await gate.reached.wait()
            in_hand = len(handler.batches[0])
            cable.cut()
            await becomes(50, lambda: waiting_in(channel, TOPOLOGY.queue))
            gate.open.set()
            await handler.has(ids(50))
        # Handled when the connection was gone, not acknowledged on the new one, and so handled again.
        assert handler.ids == ids(in_hand) + ids(50)
        assert await waiting_in(channel, TOPOLOGY.queue) == 0
        assert await waiting_in(channel, TOPOLOGY.dead_letter_queue) == 0

    async def test_it_is_counted_as_redelivered(
        self, cable: Any, publisher: AmqpPublisher, channel: AbstractChannel, handler: Any, messages: Messages
    ) -> None:
        counter = metrics.REDELIVERED.labels(TOPOLOGY.queue)
        before = counter._value.get()
        consumer = AmqpConsumer(cable.url, TOPOLOGY)
        handler.first = gate = Gate()
        async with consumer.consuming(handler):
            await consumer.ready()
            await publisher.publish(messages(1))
            await gate.reached.wait()
            cable.cut()
            await becomes(1, lambda: waiting_in(channel, TOPOLOGY.queue))
            gate.open.set()
            await becomes(2, lambda: count_of(handler.ids, "event-0"))
        assert counter._value.get() == before + 1

    async def test_a_broker_that_comes_late_is_found(
        self, amqp_url: str, unused_tcp_port: int, make_cable: Any, handler: Any, messages: Messages
    ) -> None:
        late = str(URL(amqp_url).with_port(unused_tcp_port))
        consumer = AmqpConsumer(late, TOPOLOGY)
        async with AmqpPublisher(late, TOPOLOGY.exchange) as publisher, consumer.consuming(handler):
            with capture_logs() as logs:
                await until(lambda: len(logs) == 2, "both have failed to connect")
            connected = [publisher.is_connected, consumer.is_connected]
            await make_cable(unused_tcp_port)
            await patiently(asyncio.gather(publisher.ready(), consumer.ready()), "both are connected")
            await publisher.publish(messages(5))
            await handler.has(ids(5))
        assert connected == [False, False]

    async def test_a_second_consumer_stands_by_and_takes_over(
        self,
        amqp_url: str,
        cable: Any,
        publisher: AmqpPublisher,
        handler: Any,
        messages: Messages,
    ) -> None:
        first, second = AmqpConsumer(cable.url, TOPOLOGY), AmqpConsumer(amqp_url, TOPOLOGY)
        taken: list[str] = []

        async def note(batch: Sequence[Message]) -> None:
            taken.extend(message.id for message in batch)

        async with first.consuming(handler):
            await first.ready()
            async with second.consuming(note):
                await second.ready()
                await publisher.publish(messages(20))
                await handler.has(ids(20))
                assert taken == []
                cable.cut()
                await publisher.publish(messages(25)[20:])
                await becomes(1, lambda: count_of(taken, "event-24"))
        assert handler.ids == ids(20)
        # Acknowledgements that were still in the cable are lost: what they were for comes again, before the new ones.
        assert taken == ids(25)[-len(taken) :]


async def count_of(taken: list[str], wanted: str) -> int:
    return taken.count(wanted)


def arrived(consumer: AmqpConsumer) -> int:
    """How many messages wait in this process for the next batch."""
    session = consumer._session
    return 0 if session is None else len(session.inbox._arrived)
