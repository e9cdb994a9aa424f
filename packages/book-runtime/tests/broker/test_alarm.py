"""A RabbitMQ whose disk is nearly full: it takes no messages, and everything else goes on."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import aio_pika
import pytest
from aio_pika.abc import AbstractQueue
from book_runtime.broker import metrics
from book_runtime.broker.amqp import AmqpConsumer, AmqpPublisher, Topology, reconnecting, settling
from book_runtime.broker.amqp import publisher as publisher_module
from book_runtime.broker.amqp.alarm import Alarm
from book_runtime.broker.messages import Message
from book_runtime.broker.ports import NotConfirmed, Undeliverable
from structlog.testing import capture_logs
from support.rabbitmq import RabbitMQServer
from support.waiting import PATIENCE, patiently, until

TOPOLOGY = Topology(
    exchange="books.events",
    queue="book-log",
    binding_keys=["book.*"],
    dead_letter_exchange="book-log.dead",
    dead_letter_queue="book-log.dead-letters",
)
BEGUN = "outage of RabbitMQ's intake: messages wait for the end of its alarm"
OVER = "outage of RabbitMQ's intake is over"
SHORT = 0.05
"""Seconds for a confirm: during an alarm they are over many times."""

Messages = Callable[[int], list[Message]]


@asynccontextmanager
async def alarm_of(rabbitmq: RabbitMQServer) -> AsyncIterator[None]:
    """An alarm for the length of the block."""
    alarm = rabbitmq.alarm()
    await asyncio.to_thread(alarm.__enter__)
    try:
        yield
    finally:
        await asyncio.to_thread(alarm.__exit__, None, None, None)


@pytest.fixture
async def queue(amqp_url: str) -> AsyncIterator[AbstractQueue]:
    """Gets everything, and is read without our own consumer."""
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange(TOPOLOGY.exchange, aio_pika.ExchangeType.TOPIC, durable=True)
        queue = await channel.declare_queue("everything", durable=True, arguments={"x-queue-type": "quorum"})
        await queue.bind(exchange, "book.*")
        yield queue


async def begun(publisher: AmqpPublisher, messages: list[Message]) -> asyncio.Task[None]:
    """A publish that has met with the alarm."""
    publishing = asyncio.create_task(publisher.publish(messages))
    await until(lambda: publisher.is_blocked, "the publisher is told of the alarm")
    return publishing


async def cancelled(publishing: asyncio.Task[None]) -> None:
    publishing.cancel()
    await asyncio.wait([publishing])


def is_blocked(role: str, name: str) -> bool:
    return bool(metrics.BLOCKED.labels(role, name)._value.get())


def is_connected(role: str, name: str) -> bool:
    return bool(metrics.CONNECTED.labels(role, name)._value.get())


def of_alarms(logs: Any) -> list[str]:
    return [line["event"] for line in logs if line["event"] in (BEGUN, OVER)]


async def ids_in(queue: AbstractQueue, count: int) -> list[str | None]:
    return [(await queue.get(timeout=PATIENCE)).message_id for _ in range(count)]


async def outlasts_a_timeout(alarm: Alarm) -> None:
    """Hold the alarm for longer than the timeouts that it holds up. When it is over, a busy broker has time."""
    await asyncio.sleep(3 * SHORT)
    for limit in alarm._limits:
        alarm._limits[limit] = PATIENCE


class TestAPublisher:
    async def test_waits_for_the_end_and_gets_its_confirms_then(
        self, cable: Any, rabbitmq: RabbitMQServer, queue: AbstractQueue, messages: Messages
    ) -> None:
        """For longer than a confirm may take, without connecting anew, and it says so once."""
        first, *sent = messages(121)
        labels = ("publisher", TOPOLOGY.exchange)
        with capture_logs() as logs:
            async with AmqpPublisher(cable.url, TOPOLOGY.exchange) as publisher:
                await patiently(publisher.ready(), "it is connected")
                await publisher.publish([first])
                assert publisher._session is not None
                publisher._session._confirm_timeout = SHORT
                async with alarm_of(rabbitmq):
                    publishing = await begun(publisher, sent)
                    assert (is_connected(*labels), is_blocked(*labels)) == (True, True)
                    await outlasts_a_timeout(publisher._connection.alarm)
                    assert not publishing.done()
                await patiently(publishing, "all are confirmed")
                assert (is_connected(*labels), is_blocked(*labels)) == (True, False)
        assert cable.connections == 1
        assert [line["event"] for line in logs] == ["connected to the broker", BEGUN, OVER]
        assert "disk" in logs[1]["reason"]
        assert await ids_in(queue, 121) == [message.id for message in (first, *sent)]
        assert await queue.get(fail=False) is None, "each arrived once"

    async def test_sends_nothing_more_into_it(
        self, amqp_url: str, rabbitmq: RabbitMQServer, queue: AbstractQueue, messages: Messages
    ) -> None:
        """Each attempt would be read when it is over, and be there once more."""
        async with AmqpPublisher(amqp_url, TOPOLOGY.exchange) as publisher:
            await patiently(publisher.ready(), "it is connected")
            async with alarm_of(rabbitmq):
                for _ in range(5):
                    await cancelled(await begun(publisher, messages(1)))
                publishing = await begun(publisher, messages(1))
            await patiently(publishing, "it is confirmed")
        assert await ids_in(queue, 2) == ["event-0", "event-0"]
        assert await queue.get(fail=False) is None

    async def test_is_stopped_in_time_and_loses_nothing(
        self,
        amqp_url: str,
        rabbitmq: RabbitMQServer,
        queue: AbstractQueue,
        messages: Messages,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """The broker hears no goodbye and reads nothing of what is on its way, which is more than any buffer holds."""
        for patience in (reconnecting, publisher_module):
            monkeypatch.setattr(patience, "_CLOSE_TIMEOUT_SECONDS", 3_600, raising=False)
            monkeypatch.setattr(patience, "_DRAIN_SECONDS", 3_600, raising=False)
        sent = [replace(message, body=b"x" * 100_000) for message in messages(200)]
        async with AsyncExitStack() as running:
            publisher = await running.enter_async_context(AmqpPublisher(amqp_url, TOPOLOGY.exchange))
            await patiently(publisher.ready(), "it is connected")
            await publisher.publish(messages(1))
            async with alarm_of(rabbitmq):
                publishing = await begun(publisher, sent)
                await patiently(running.aclose(), "it has stopped")
                with pytest.raises(NotConfirmed) as refused:
                    await publishing
        assert refused.value.ids == {message.id for message in sent}

    async def test_that_loses_its_connection_meanwhile_says_nothing_twice(
        self, cable: Any, rabbitmq: RabbitMQServer, queue: AbstractQueue, messages: Messages, publish_like_a_relay: Any
    ) -> None:
        with capture_logs() as logs:
            async with AmqpPublisher(cable.url, TOPOLOGY.exchange) as publisher:
                await patiently(publisher.ready(), "it is connected")
                async with alarm_of(rabbitmq):
                    publishing = asyncio.create_task(publish_like_a_relay(publisher, messages(5)))
                    await until(lambda: publisher.is_blocked, "the publisher is told of the alarm")
                    cable.cut()
                    await until(lambda: cable.connections == 2, "it connects again")
                    await until(lambda: publisher.is_blocked, "the publisher is told of the alarm again")
                    assert of_alarms(logs) == [BEGUN]
                    cable.cut()
                await patiently(publishing, "all are confirmed")
        assert of_alarms(logs) == [BEGUN, OVER]


class TestAConsumer:
    async def test_goes_on(
        self, amqp_url: str, rabbitmq: RabbitMQServer, queue: AbstractQueue, handler: Any, messages: Messages
    ) -> None:
        """What was published before is delivered, handled and acknowledged, also to one that only then connects."""
        consumer = AmqpConsumer(amqp_url, TOPOLOGY)
        async with AmqpPublisher(amqp_url, TOPOLOGY.exchange) as publisher:
            async with consumer.consuming(handler):
                await patiently(consumer.ready(), "the queue is there")
            await publisher.publish(messages(50))
            async with alarm_of(rabbitmq):
                blocked = await begun(publisher, messages(1))
                async with consumer.consuming(handler):
                    await handler.has(f"event-{number}" for number in range(50))
                assert not is_blocked("consumer", TOPOLOGY.queue)
                left = await queue.channel.declare_queue(TOPOLOGY.queue, passive=True)
                assert left.declaration_result.message_count == 0, "all are acknowledged"
            await patiently(blocked, "the message of the alarm is confirmed")

    async def test_that_sets_a_message_aside_waits_and_sends_one_letter(
        self,
        amqp_url: str,
        rabbitmq: RabbitMQServer,
        queue: AbstractQueue,
        handler: Any,
        messages: Messages,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        async def refuse_the_first(batch: Sequence[Message]) -> None:
            for message in batch:
                if message.id == "event-0":
                    raise Undeliverable("no such kind of event", message)

        monkeypatch.setattr(settling, "_CONFIRM_TIMEOUT_SECONDS", SHORT)
        consumer = AmqpConsumer(amqp_url, TOPOLOGY)
        with capture_logs() as logs:
            async with AmqpPublisher(amqp_url, TOPOLOGY.exchange) as publisher, AsyncExitStack() as consuming:
                async with consumer.consuming(handler):
                    await patiently(consumer.ready(), "the queue is there")
                await publisher.publish(messages(3))
                handler.first = refuse_the_first
                async with alarm_of(rabbitmq):
                    await consuming.enter_async_context(consumer.consuming(handler))
                    await until(lambda: is_blocked("consumer", TOPOLOGY.queue), "the consumer is told of the alarm")
                    assert consumer._connection is not None
                    await outlasts_a_timeout(consumer._connection.alarm)
                    assert handler.ids == []
                await handler.has(["event-1", "event-2"])
        assert of_alarms(logs) == [BEGUN, OVER]
        letters = await queue.channel.declare_queue(TOPOLOGY.dead_letter_queue, passive=True)
        assert letters.declaration_result.message_count == 1
