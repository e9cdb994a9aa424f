"""A RabbitMQ that is killed and comes back."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import pytest
from book_runtime.broker.amqp import AmqpConsumer, AmqpPublisher, Topology
from book_runtime.broker.messages import Message
from book_runtime.broker.seam import Publisher
from structlog.testing import capture_logs
from support.rabbitmq import RabbitMQServer

TOPOLOGY = Topology(
    exchange="books.events",
    queue="book-log",
    binding_keys=["book.*"],
    dead_letter_exchange="book-log.dead",
    dead_letter_queue="book-log.dead-letters",
)


@pytest.fixture(scope="module")
def own_rabbitmq(workspace: Any) -> Iterator[RabbitMQServer]:
    """A RabbitMQ for the tests of this module alone, one after the other."""
    with RabbitMQServer(workspace) as server:
        yield server


Relay = Callable[[Publisher, Sequence[Message]], Awaitable[None]]


async def publish_without_end(
    publisher: Publisher, publish_like_a_relay: Relay, a_message: Callable[..., Message], published: list[str]
) -> None:
    """Batches of changing size, each published until it is confirmed."""
    for batch in itertools.count():
        messages = [a_message(batch * 100 + number) for number in range(1 + batch % 50)]
        await publish_like_a_relay(publisher, messages)
        published.extend(message.id for message in messages)


class TestRestart:
    async def test_a_broker_that_is_killed_in_the_flow_loses_nothing(
        self, own_rabbitmq: Any, handler: Any, a_message: Callable[..., Message], publish_like_a_relay: Relay
    ) -> None:
        published: list[str] = []
        consumer = AmqpConsumer(own_rabbitmq.url, TOPOLOGY)
        with capture_logs() as logs:
            async with AmqpPublisher(own_rabbitmq.url, TOPOLOGY.exchange) as publisher, consumer.consuming(handler):
                publishing = asyncio.create_task(
                    publish_without_end(publisher, publish_like_a_relay, a_message, published)
                )
                await grows_to(published, 500)
                # A quorum queue that is killed within half a second of its declaration is broken for good (see kill).
                await asyncio.sleep(1)
                await asyncio.to_thread(own_rabbitmq.kill)
                await asyncio.sleep(0.2)
                connected = [publisher.is_connected, consumer.is_connected]
                await asyncio.to_thread(own_rabbitmq.start)
                await asyncio.wait_for(asyncio.gather(publisher.ready(), consumer.ready()), 60)
                await grows_to(published, len(published) + 500)
                publishing.cancel()
                await asyncio.wait([publishing])
                await handler.has(published, within=60)
        assert connected == [False, False]
        assert in_order_of_first_sight(handler.ids) == sorted(set(handler.ids), key=number_of)
        assert_nothing_was_logged_for_each_attempt(logs)

    async def test_a_broker_that_comes_back_empty_gets_all_its_queues_and_exchanges_again(
        self,
        own_rabbitmq: Any,
        handler: Any,
        a_message: Callable[..., Message],
        publish_like_a_relay: Relay,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        consumer = AmqpConsumer(own_rabbitmq.url, TOPOLOGY)
        async with AmqpPublisher(own_rabbitmq.url, TOPOLOGY.exchange) as publisher, consumer.consuming(handler):
            await asyncio.gather(publisher.ready(), consumer.ready())
            await publish_like_a_relay(publisher, [a_message(1)])
            await handler.has(["event-1"])
            await asyncio.to_thread(own_rabbitmq.stop)
            await asyncio.to_thread(own_rabbitmq.erase)
            await asyncio.to_thread(own_rabbitmq.start)
            # It waits until the consumer has bound its queue: before that nobody would take it.
            await asyncio.wait_for(publish_like_a_relay(publisher, [a_message(2)]), 60)
            await handler.has(["event-2"])
        # That it was stopped in order is no error, and is said by the link.
        assert [record for record in caplog.records if record.name.startswith("aiormq")] == []


async def grows_to(published: list[str], count: int) -> None:
    async with asyncio.timeout(60):
        while len(published) < count:
            await asyncio.sleep(0.01)


def number_of(message_id: str) -> int:
    return int(message_id.removeprefix("event-"))


def in_order_of_first_sight(ids: Sequence[str]) -> list[str]:
    """Without the repetitions."""
    return list(dict.fromkeys(ids))


def assert_nothing_was_logged_for_each_attempt(logs: Sequence[Any]) -> None:
    for role in ("publisher", "consumer"):
        spoken = [line["event"] for line in logs if line.get("role") == role]
        assert spoken.count("connected to the broker") >= 2
        # On the way back there is a line for each kind of trouble: refused, closed while it boots, and the like.
        assert len(spoken) <= 8, spoken
