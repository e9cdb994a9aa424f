"""Publishing to a real RabbitMQ."""

import asyncio
import gc
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import aio_pika
import pytest
from aio_pika.abc import HeadersType
from book_runtime.broker import metrics
from book_runtime.broker.amqp import AmqpPublisher
from book_runtime.broker.messages import Message
from book_runtime.broker.seam import NotConfirmed, Publisher
from structlog.testing import capture_logs
from yarl import URL

EXCHANGE = "books.events"


@asynccontextmanager
async def bound_to_everything(amqp_url: str, name: str, arguments: HeadersType) -> AsyncIterator[Any]:
    """A queue that is read without our own consumer."""
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange(EXCHANGE, aio_pika.ExchangeType.TOPIC, durable=True)
        queue = await channel.declare_queue(name, durable=True, arguments=arguments)
        await queue.bind(exchange, "book.*")
        yield queue


@pytest.fixture
async def queue(amqp_url: str) -> AsyncIterator[Any]:
    async with bound_to_everything(amqp_url, "everything", {"x-queue-type": "quorum"}) as queue:
        yield queue


@pytest.fixture
async def small_queue(amqp_url: str) -> AsyncIterator[Any]:
    """Takes one message, and refuses what comes while it is there."""
    async with bound_to_everything(amqp_url, "small", {"x-max-length": 1, "x-overflow": "reject-publish"}) as queue:
        yield queue


async def ids_in(queue: Any, count: int) -> list[str]:
    return [(await queue.get(timeout=10)).message_id for _ in range(count)]


class TestPublish:
    async def test_a_message_is_persistent_and_carries_its_properties(
        self, amqp_url: str, queue: Any, a_message: Callable[..., Message]
    ) -> None:
        sent = a_message(headers={"traceparent": "00-a-b-01"})
        async with AmqpPublisher(amqp_url, EXCHANGE) as publisher:
            await publisher.ready()
            await publisher.publish([sent])
        arrived = await queue.get()
        assert arrived.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
        assert (arrived.message_id, arrived.type, arrived.routing_key) == (sent.id, sent.type, sent.routing_key)
        assert (arrived.content_type, arrived.timestamp) == (sent.content_type, sent.timestamp)
        assert arrived.headers["traceparent"] == "00-a-b-01"

    async def test_confirms_are_pipelined(
        self, cable: Any, queue: Any, messages: Callable[[int], list[Message]]
    ) -> None:
        async with AmqpPublisher(cable.url, EXCHANGE) as publisher:
            await publisher.ready()
            cable.delay = 0.01
            began = time.perf_counter()
            await publisher.publish(messages(1000))
            at_once = time.perf_counter() - began
            began = time.perf_counter()
            for message in messages(100):
                await publisher.publish([message])
            one_by_one = 10 * (time.perf_counter() - began)
        assert one_by_one / at_once > 4, f"1000 at once {at_once:.3f} s, one by one {one_by_one:.3f} s"

    @pytest.mark.parametrize("in_flight", [pytest.param(1, id="one"), pytest.param(7, id="few")])
    async def test_order_holds_whatever_may_be_in_flight(
        self, amqp_url: str, queue: Any, messages: Callable[[int], list[Message]], in_flight: int
    ) -> None:
        async with AmqpPublisher(amqp_url, EXCHANGE, in_flight=in_flight) as publisher:
            await publisher.ready()
            await publisher.publish(messages(100))
        assert await ids_in(queue, 100) == [f"event-{number}" for number in range(100)]

    async def test_concurrent_batches_do_not_mix(
        self, amqp_url: str, queue: Any, messages: Callable[[int], list[Message]]
    ) -> None:
        sent = messages(60)
        async with AmqpPublisher(amqp_url, EXCHANGE) as publisher:
            await publisher.ready()
            await asyncio.gather(*(publisher.publish(sent[start : start + 20]) for start in (0, 20, 40)))
        assert await ids_in(queue, 60) == [message.id for message in sent]

    async def test_it_counts(self, amqp_url: str, queue: Any, messages: Callable[[int], list[Message]]) -> None:
        def counted() -> list[float]:
            return [counter.labels(EXCHANGE)._value.get() for counter in (metrics.PUBLISHED, metrics.CONFIRMED)]

        before = counted()
        async with AmqpPublisher(amqp_url, EXCHANGE) as publisher:
            await publisher.ready()
            await publisher.publish(messages(3))
        assert counted() == [count + 3 for count in before]


class TestNotConfirmed:
    async def test_a_message_that_no_queue_gets_is_an_error_and_not_a_loss(
        self, amqp_url: str, queue: Any, a_message: Callable[..., Message]
    ) -> None:
        batch = [a_message(1), a_message(2, routing_key="nobody.listens"), a_message(3)]
        async with AmqpPublisher(amqp_url, EXCHANGE) as publisher:
            await publisher.ready()
            with pytest.raises(NotConfirmed, match="NO_ROUTE") as refused:
                await publisher.publish(batch)
            assert refused.value.ids == {"event-2"}
        assert await ids_in(queue, 2) == ["event-1", "event-3"]

    async def test_a_queue_that_is_declared_in_between_does_not_get_half_a_batch(
        self, amqp_url: str, messages: Callable[[int], list[Message]], publish_like_a_relay: Any
    ) -> None:
        async with AmqpPublisher(amqp_url, EXCHANGE) as publisher, await aio_pika.connect(amqp_url) as connection:
            await publisher.ready()
            publishing = asyncio.create_task(publish_like_a_relay(publisher, messages(300)))
            await asyncio.sleep(0.1)
            channel = await connection.channel()
            queue = await channel.declare_queue("late", exclusive=True)
            await queue.bind(EXCHANGE, "book.*")
            await asyncio.wait_for(publishing, 20)
            assert await ids_in(queue, 300) == [f"event-{number}" for number in range(300)]

    async def test_what_stands_behind_a_first_refusal_is_not_sent(
        self, amqp_url: str, a_message: Callable[..., Message]
    ) -> None:
        async with AmqpPublisher(amqp_url, EXCHANGE) as publisher:
            await publisher.ready()
            with pytest.raises(NotConfirmed, match="NO_ROUTE") as refused:
                await publisher.publish([a_message(1), a_message(2)])
        assert refused.value.reasons["event-2"] == "waits behind event-1"

    async def test_a_queue_that_is_full_refuses(
        self, amqp_url: str, small_queue: Any, a_message: Callable[..., Message]
    ) -> None:
        async with AmqpPublisher(amqp_url, EXCHANGE) as publisher:
            await publisher.ready()
            await publisher.publish([a_message(1)])
            with pytest.raises(NotConfirmed, match="Nack") as refused:
                await publisher.publish([a_message(2)])
        assert refused.value.ids == {"event-2"}

    async def test_a_routing_key_that_is_too_long_spoils_only_its_message(
        self, amqp_url: str, queue: Any, a_message: Callable[..., Message]
    ) -> None:
        async with AmqpPublisher(amqp_url, EXCHANGE) as publisher:
            await publisher.ready()
            with pytest.raises(NotConfirmed, match="Routing key too long") as refused:
                await publisher.publish([a_message(1, routing_key="x" * 256), a_message(2)])
            assert refused.value.ids == {"event-1"}
        assert await ids_in(queue, 1) == ["event-2"]

    @pytest.mark.parametrize(
        ("what", "reason"),
        [
            pytest.param({"type": "x" * 256}, "255 bytes", id="too-long-a-type"),
            pytest.param({"timestamp": datetime(1969, 12, 31, tzinfo=UTC)}, "error", id="a-time-before-1970"),
        ],
    )
    async def test_and_so_does_what_else_amqp_cannot_carry(
        self, amqp_url: str, queue: Any, a_message: Callable[..., Message], what: dict[str, object], reason: str
    ) -> None:
        async with AmqpPublisher(amqp_url, EXCHANGE) as publisher:
            await publisher.ready()
            with pytest.raises(NotConfirmed, match=reason) as refused:
                await publisher.publish([a_message(1, **what), a_message(2)])
            assert refused.value.ids == refused.value.hopeless == {"event-1"}
        assert await ids_in(queue, 1) == ["event-2"]

    async def test_a_message_without_an_id_is_not_sent(
        self, amqp_url: str, queue: Any, a_message: Callable[..., Message]
    ) -> None:
        """Were it returned, nobody would know which it was."""
        async with AmqpPublisher(amqp_url, EXCHANGE) as publisher:
            await publisher.ready()
            with pytest.raises(NotConfirmed, match="has none") as refused:
                await publisher.publish([a_message(id="")])
            assert refused.value.hopeless == {""}

    async def test_whom_nobody_waits_for_any_more_is_not_complained_about(
        self, cable: Any, small_queue: Any, a_message: Callable[..., Message], caplog: pytest.LogCaptureFixture
    ) -> None:
        async with AmqpPublisher(cable.url, EXCHANGE) as publisher:
            await publisher.ready()
            await publisher.publish([a_message(0)])
            cable.silence()
            publishing = asyncio.create_task(publisher.publish([a_message(number) for number in range(1, 6)]))
            await asyncio.sleep(0.05)
            publishing.cancel()
            await asyncio.wait([publishing])
            cable.resume()
            with pytest.raises(NotConfirmed, match="Nack"):
                await publisher.publish([a_message(6)])
        gc.collect()
        assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []

    async def test_nothing_of_a_batch_is_when_the_connection_breaks(
        self, cable: Any, queue: Any, messages: Callable[[int], list[Message]]
    ) -> None:
        async with AmqpPublisher(cable.url, EXCHANGE) as publisher:
            await publisher.ready()
            await publisher.publish(messages(1))
            cable.silence()
            publishing = asyncio.create_task(publisher.publish(messages(50)))
            await asyncio.sleep(0.05)
            cable.cut()
            with pytest.raises(NotConfirmed, match="BrokerLost") as refused:
                await asyncio.wait_for(publishing, 2)
            assert len(refused.value.ids) == 50
            assert not refused.value.hopeless

    async def test_without_a_connection_it_says_so_at_once(
        self, unused_tcp_port: int, a_message: Callable[..., Message]
    ) -> None:
        async with AmqpPublisher(f"amqp://127.0.0.1:{unused_tcp_port}/", EXCHANGE) as publisher:
            assert not publisher.is_connected
            began = time.perf_counter()
            with pytest.raises(NotConfirmed, match="not connected to the broker"):
                await publisher.publish([a_message()])
            assert time.perf_counter() - began < 0.5

    async def test_a_broker_that_does_not_confirm_is_left(
        self, cable: Any, queue: Any, messages: Callable[[int], list[Message]]
    ) -> None:
        async with AmqpPublisher(cable.url, EXCHANGE, confirm_timeout=0.3) as publisher:
            await publisher.ready()
            cable.silence()
            with pytest.raises(NotConfirmed, match="TimeoutError") as refused:
                await publisher.publish(messages(50))
            assert len(refused.value.ids) == 50
            cable.resume()
            await asyncio.wait_for(publisher.ready(), 10)
            await publisher.publish(messages(1))
            assert cable.connections == 2

    async def test_a_publish_can_be_cancelled(
        self, cable: Any, queue: Any, messages: Callable[[int], list[Message]]
    ) -> None:
        async with AmqpPublisher(cable.url, EXCHANGE) as publisher:
            await publisher.ready()
            await publisher.publish(messages(1))
            cable.silence()
            publishing = asyncio.create_task(publisher.publish(messages(5)))
            await asyncio.sleep(0.05)
            publishing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await publishing
            cable.resume()
            # The confirms of the first attempt come now, and count for nothing.
            await publisher.publish(messages(20))
        assert await ids_in(queue, 26) == [f"event-{number}" for number in [0, *range(5), *range(20)]]


class TestConnection:
    async def test_the_exchange_is_declared_again_when_it_was_deleted(
        self,
        amqp_url: str,
        a_message: Callable[..., Message],
        publish_like_a_relay: Callable[[Publisher, Sequence[Message]], Awaitable[None]],
    ) -> None:
        async with AmqpPublisher(amqp_url, EXCHANGE) as publisher, await aio_pika.connect(amqp_url) as connection:
            await publisher.ready()
            channel = await connection.channel()
            await channel.exchange_delete(EXCHANGE)
            with pytest.raises(NotConfirmed):
                await publisher.publish([a_message()])
            queue = await channel.declare_queue("everything", exclusive=True)
            await asyncio.wait_for(publisher.ready(), 10)
            await queue.bind(EXCHANGE, "book.*")
            await asyncio.wait_for(publish_like_a_relay(publisher, [a_message()]), 10)

    async def test_an_absent_broker_is_mentioned_once(self, unused_tcp_port: int) -> None:
        with capture_logs() as logs:
            async with AmqpPublisher(f"amqp://127.0.0.1:{unused_tcp_port}/", EXCHANGE):
                await asyncio.sleep(1.5)
        assert [line["event"] for line in logs] == ["the broker is not there, trying until it is"]

    async def test_a_lost_and_a_new_connection_are_mentioned_once_each(self, cable: Any) -> None:
        with capture_logs() as logs:
            async with AmqpPublisher(cable.url, EXCHANGE) as publisher:
                await publisher.ready()
                cable.cut()
                await asyncio.sleep(0.05)
                assert not publisher.is_connected
                await asyncio.wait_for(publisher.ready(), 10)
        assert [line["event"] for line in logs] == [
            "connected to the broker",
            "lost the broker",
            "connected to the broker",
        ]

    async def test_the_password_is_not_logged(self, amqp_url: str) -> None:
        with capture_logs() as logs:
            async with AmqpPublisher(amqp_url, EXCHANGE) as publisher:
                await publisher.ready()
        password = URL(amqp_url).password
        assert password
        assert password not in repr(logs)

    async def test_the_gauge_follows(self, cable: Any) -> None:
        gauge = metrics.CONNECTED.labels("publisher", EXCHANGE)
        async with AmqpPublisher(cable.url, EXCHANGE) as publisher:
            await publisher.ready()
            assert gauge._value.get() == 1
        assert gauge._value.get() == 0
