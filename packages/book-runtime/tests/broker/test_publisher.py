"""Publishing to a real RabbitMQ."""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any
from unittest.mock import Mock

import aio_pika
import pytest
from aio_pika.abc import HeadersType
from book_runtime.broker import metrics
from book_runtime.broker.amqp import AmqpPublisher, reconnecting
from book_runtime.broker.messages import Message
from book_runtime.broker.ports import NotConfirmed, Publisher
from structlog.testing import capture_logs
from support.waiting import PATIENCE, patiently, until
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
    return [(await queue.get(timeout=PATIENCE)).message_id for _ in range(count)]


def _is_connected_for_the(time: int, cable: Any, publisher: AmqpPublisher) -> bool:
    return bool(cable.connections == time and publisher.is_connected)


async def are_sent(publisher: AmqpPublisher, count: int) -> None:
    """Wait until so many messages are on their way, and none of them is confirmed."""

    def sent() -> bool:
        session = publisher._session
        return session is not None and len(session._sender._unconfirmed) == count

    await until(sent, f"{count} messages are sent")


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
        async def half_has_arrived() -> bool:
            return bool((await queue.declare()).message_count == 501)

        async with AmqpPublisher(cable.url, EXCHANGE, confirm_timeout=PATIENCE) as publisher:
            await publisher.ready()
            await publisher.publish(messages(1))
            cable.hold_answers()
            publishing = asyncio.create_task(publisher.publish(messages(1000)))
            await until(half_has_arrived, "half of the messages arrive before any of them is confirmed")
            assert not publishing.done()
            cable.resume()
            await patiently(publishing, "all are confirmed")

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
            attempts = metrics.PUBLISHED.labels(EXCHANGE)._value
            before = attempts.get()
            publishing = asyncio.create_task(publish_like_a_relay(publisher, messages(300)))
            await until(lambda: attempts.get() > before + 300, "all were refused, and are published again")
            channel = await connection.channel()
            queue = await channel.declare_queue("late", exclusive=True)
            await queue.bind(EXCHANGE, "book.*")
            await patiently(publishing, "all are confirmed")
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

    async def test_without_a_waiter_is_not_logged(
        self, cable: Any, small_queue: Any, a_message: Callable[..., Message], caplog: pytest.LogCaptureFixture
    ) -> None:
        async with AmqpPublisher(cable.url, EXCHANGE) as publisher:
            await publisher.ready()
            await publisher.publish([a_message(0)])
            cable.silence()
            publishing = asyncio.create_task(publisher.publish([a_message(number) for number in range(1, 6)]))
            await are_sent(publisher, 5)
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
        async with AmqpPublisher(cable.url, EXCHANGE, confirm_timeout=3_600) as publisher:
            await publisher.ready()
            await publisher.publish(messages(1))
            cable.silence()
            publishing = asyncio.create_task(publisher.publish(messages(50)))
            await are_sent(publisher, 50)
            cable.cut()
            with pytest.raises(NotConfirmed, match="BrokerLost") as refused:
                await patiently(publishing, "the publisher gives up")
            assert len(refused.value.ids) == 50
            assert not refused.value.hopeless

    async def test_without_a_connection_it_says_so_at_once(
        self, unused_tcp_port: int, a_message: Callable[..., Message]
    ) -> None:
        nowhere = f"amqp://127.0.0.1:{unused_tcp_port}/"
        async with AmqpPublisher(nowhere, EXCHANGE, confirm_timeout=3_600) as publisher:
            assert not publisher.is_connected
            with pytest.raises(NotConfirmed, match="not connected to the broker"):
                await patiently(publisher.publish([a_message()]), "the publisher gives up")

    async def test_a_broker_that_does_not_confirm_is_left(
        self, cable: Any, queue: Any, messages: Callable[[int], list[Message]]
    ) -> None:
        async with AmqpPublisher(cable.url, EXCHANGE, confirm_timeout=0.05) as publisher:
            await publisher.ready()
            cable.silence()
            with pytest.raises(NotConfirmed, match="TimeoutError") as refused:
                await publisher.publish(messages(50))
            assert len(refused.value.ids) == 50
            publisher._confirm_timeout = PATIENCE
            cable.resume()
            await until(lambda: cable.connections == 2 and publisher.is_connected, "the publisher connects again")
            await publisher.publish(messages(1))

    async def test_a_publish_can_be_cancelled(
        self, cable: Any, queue: Any, messages: Callable[[int], list[Message]]
    ) -> None:
        async with AmqpPublisher(cable.url, EXCHANGE) as publisher:
            await publisher.ready()
            await publisher.publish(messages(1))
            cable.silence()
            publishing = asyncio.create_task(publisher.publish(messages(5)))
            await are_sent(publisher, 5)
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
            await patiently(publisher.ready(), "the exchange is declared again")
            await queue.bind(EXCHANGE, "book.*")
            await patiently(publish_like_a_relay(publisher, [a_message()]), "the message is confirmed")

    async def test_an_absent_broker_is_mentioned_once(
        self, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        attempts = Mock(wraps=reconnecting.connect)
        monkeypatch.setattr(reconnecting, "connect", attempts)
        with capture_logs() as logs:
            async with AmqpPublisher(f"amqp://127.0.0.1:{unused_tcp_port}/", EXCHANGE):
                await until(lambda: attempts.call_count == 4, "three attempts have failed")
        assert [line["event"] for line in logs] == ["outage of RabbitMQ: trying to connect"]

    async def test_a_lost_and_a_new_connection_are_mentioned_once_each(self, cable: Any) -> None:
        with capture_logs() as logs:
            async with AmqpPublisher(cable.url, EXCHANGE) as publisher:
                await publisher.ready()
                cable.silence()
                cable.cut()
                await until(lambda: not publisher.is_connected, "the publisher knows that the connection is lost")
                cable.resume()
                await patiently(publisher.ready(), "the publisher connects again")
        assert [line["event"] for line in logs] == [
            "connected to the broker",
            "outage of RabbitMQ: trying to connect",
            "outage of RabbitMQ is over",
        ]

    async def test_a_broker_that_never_confirms_is_not_said_to_be_lost_and_found_each_time(
        self, cable: Any, queue: Any, messages: Callable[[int], list[Message]]
    ) -> None:
        with capture_logs() as logs:
            async with AmqpPublisher(cable.url, EXCHANGE, confirm_timeout=0.05) as publisher:
                for attempt in (1, 2, 3):
                    is_new = partial(_is_connected_for_the, attempt, cable, publisher)
                    await until(is_new, f"the publisher is connected for time {attempt}")
                    cable.silence()
                    with pytest.raises(NotConfirmed, match="TimeoutError"):
                        await publisher.publish(messages(1))
                    cable.resume()
        assert [line["event"] for line in logs] == ["connected to the broker"]

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
