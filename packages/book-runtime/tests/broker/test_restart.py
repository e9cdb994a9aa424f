"""A broker that is gone in the flow and comes back, and one that comes back empty."""

import asyncio
import itertools
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from book_runtime.broker.amqp import AmqpConsumer, AmqpPublisher, Topology
from book_runtime.broker.messages import Message
from book_runtime.broker.ports import Publisher
from structlog.testing import capture_logs
from support.rabbitmq import RabbitMQServer
from support.waiting import patiently, until

TOPOLOGY = Topology(
    exchange="books.events",
    queue="book-log",
    binding_keys=["book.*"],
    dead_letter_exchange="book-log.dead",
    dead_letter_queue="book-log.dead-letters",
)

Relay = Callable[[Publisher, Sequence[Message]], Awaitable[None]]


class Broker(ABC):
    """One that goes and comes back at its address."""

    url: str

    @abstractmethod
    async def go(self) -> None:
        """Be gone, without a word to anybody."""

    @abstractmethod
    async def come_back(self) -> None: ...

    @abstractmethod
    async def lose_everything(self) -> None:
        """And be there again."""


class Outage:
    async def test_a_broker_that_is_killed_in_the_flow_loses_nothing(
        self, broker: Broker, handler: Any, a_message: Callable[..., Message], publish_like_a_relay: Relay
    ) -> None:
        published: list[str] = []
        consumer = AmqpConsumer(broker.url, TOPOLOGY)
        with capture_logs() as logs:
            async with AmqpPublisher(broker.url, TOPOLOGY.exchange) as publisher, consumer.consuming(handler):
                publishing = asyncio.create_task(
                    publish_without_end(publisher, publish_like_a_relay, a_message, published)
                )
                await grows_to(published, 500)
                await broker.go()
                await until(
                    lambda: not publisher.is_connected and not consumer.is_connected, "both know that it is gone"
                )
                await broker.come_back()
                await patiently(asyncio.gather(publisher.ready(), consumer.ready()), "both are connected again")
                await grows_to(published, len(published) + 500)
                publishing.cancel()
                await asyncio.wait([publishing])
                await handler.has(published)
        assert in_order_of_first_sight(handler.ids) == sorted(set(handler.ids), key=number_of)
        assert_nothing_was_logged_for_each_attempt(logs)

    async def test_a_broker_that_comes_back_empty_gets_all_its_queues_and_exchanges_again(
        self,
        broker: Broker,
        handler: Any,
        a_message: Callable[..., Message],
        publish_like_a_relay: Relay,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        consumer = AmqpConsumer(broker.url, TOPOLOGY)
        async with AmqpPublisher(broker.url, TOPOLOGY.exchange) as publisher, consumer.consuming(handler):
            await patiently(asyncio.gather(publisher.ready(), consumer.ready()), "both are connected")
            await publish_like_a_relay(publisher, [a_message(1)])
            await handler.has(["event-1"])
            await broker.lose_everything()
            # It waits until the consumer has bound its queue: before that nobody would take it.
            await patiently(publish_like_a_relay(publisher, [a_message(2)]), "the second message is confirmed")
            await handler.has(["event-2"])
        # That it was stopped in order is no error, and is said by the connection.
        assert [record for record in caplog.records if record.name.startswith("aiormq")] == []


class TestCutOff(Outage):
    """Seen from here, a broker is gone when the network to it is, and empty when its virtual host is a new one."""

    @pytest.fixture
    def broker(self, cable: Any, rabbitmq: RabbitMQServer) -> Broker:
        class CutOff(Broker):
            url = cable.url

            async def go(self) -> None:
                await cable.close()

            async def come_back(self) -> None:
                await cable.open()

            async def lose_everything(self) -> None:
                vhost = self.url.rsplit("/", 1)[1]
                await self.go()
                await asyncio.to_thread(rabbitmq.drop_vhost, vhost)
                await asyncio.to_thread(rabbitmq.manage, "PUT", f"/vhosts/{vhost}")
                await self.come_back()

        return CutOff()


@pytest.mark.slow
class TestRestart(Outage):
    @pytest.fixture
    def broker(self, own_rabbitmq: RabbitMQServer) -> Broker:
        class Killed(Broker):
            url = own_rabbitmq.url

            async def go(self) -> None:
                # A quorum queue that is killed within half a second of its declaration is broken for good (see kill).
                await asyncio.sleep(1)
                await asyncio.to_thread(own_rabbitmq.kill)

            async def come_back(self) -> None:
                await asyncio.to_thread(own_rabbitmq.start)

            async def lose_everything(self) -> None:
                await asyncio.to_thread(own_rabbitmq.stop)
                await asyncio.to_thread(own_rabbitmq.erase)
                await asyncio.to_thread(own_rabbitmq.start)

        return Killed()


async def publish_without_end(
    publisher: Publisher, publish_like_a_relay: Relay, a_message: Callable[..., Message], published: list[str]
) -> None:
    """Batches of changing size, each published until it is confirmed."""
    for batch in itertools.count():
        messages = [a_message(batch * 100 + number) for number in range(1 + batch % 50)]
        await publish_like_a_relay(publisher, messages)
        published.extend(message.id for message in messages)


async def grows_to(published: list[str], count: int) -> None:
    await until(lambda: len(published) >= count, f"{count} messages are confirmed")


def number_of(message_id: str) -> int:
    return int(message_id.removeprefix("event-"))


def in_order_of_first_sight(ids: Sequence[str]) -> list[str]:
    """Without the repetitions."""
    return list(dict.fromkeys(ids))


def assert_nothing_was_logged_for_each_attempt(logs: Sequence[Any]) -> None:
    for role in ("publisher", "consumer"):
        spoken = [line["event"] for line in logs if line.get("role") == role]
        assert spoken.count("outage of RabbitMQ is over") >= 1
        # On the way back there is a line for each kind of trouble: refused, closed while it boots, and the like.
        assert len(spoken) <= 8, spoken
