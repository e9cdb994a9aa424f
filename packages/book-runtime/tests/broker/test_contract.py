"""What the port promises, shown with each broker behind it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from book_runtime.broker.amqp import AmqpConsumer, AmqpPublisher, Topology
from book_runtime.broker.local import LocalBroker
from book_runtime.broker.messages import Message
from book_runtime.broker.ports import (
    AlreadyConsuming,
    Consumer,
    NotConfirmed,
    Publisher,
    TryAgainLater,
    Undeliverable,
)


@dataclass
class Broker:
    """Both ends."""

    publisher: Publisher
    consumer: Consumer


class Contract:
    async def test_a_message_arrives_as_it_was_published(
        self, broker: Broker, handler: Any, a_message: Callable[..., Message]
    ) -> None:
        sent = a_message(
            body=b"\x00\xff binary",
            headers={
                "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                "cloudEvents:source": "/colophon/catalogue",
                "cloudEvents:subject": "Ünïcødé 書",
            },
        )
        async with broker.consumer.consuming(handler):
            await broker.publisher.ready()
            await broker.consumer.ready()
            await broker.publisher.publish([sent])
            await handler.has([sent.id])
        assert handler.handled == [sent]

    @pytest.mark.parametrize(
        "body", [pytest.param(b"", id="empty"), pytest.param(b"x" * 1_000_000, id="larger-than-a-frame")]
    )
    async def test_a_body_of_any_size_arrives(
        self, broker: Broker, handler: Any, a_message: Callable[..., Message], body: bytes
    ) -> None:
        async with broker.consumer.consuming(handler):
            await broker.publisher.ready()
            await broker.consumer.ready()
            await broker.publisher.publish([a_message(body=body)])
            await handler.has(["event-1"])
        assert handler.handled[0].body == body

    async def test_messages_arrive_in_the_order_of_the_batch(
        self, broker: Broker, handler: Any, messages: Callable[[int], list[Message]]
    ) -> None:
        sent = messages(700)
        async with broker.consumer.consuming(handler):
            await broker.publisher.ready()
            await broker.consumer.ready()
            await broker.publisher.publish(sent[:600])
            await broker.publisher.publish(sent[600:])
            await handler.has([message.id for message in sent])
        assert handler.ids == [message.id for message in sent]

    async def test_an_empty_batch_is_published_at_once(self, broker: Broker, handler: Any) -> None:
        async with broker.consumer.consuming(handler):
            await broker.publisher.ready()
            await broker.publisher.publish([])
        assert handler.batches == []

    async def test_an_id_may_stand_only_once_in_a_batch(
        self, broker: Broker, handler: Any, a_message: Callable[..., Message]
    ) -> None:
        async with broker.consumer.consuming(handler):
            await broker.publisher.ready()
            with pytest.raises(ValueError, match="event-1 stands twice"):
                await broker.publisher.publish([a_message(1), a_message(1)])

    async def test_the_same_message_may_be_published_again(
        self, broker: Broker, handler: Any, a_message: Callable[..., Message]
    ) -> None:
        async with broker.consumer.consuming(handler):
            await broker.publisher.ready()
            await broker.consumer.ready()
            await broker.publisher.publish([a_message(1)])
            await broker.publisher.publish([a_message(1), a_message(2)])
            await handler.has(["event-2"])
        assert handler.ids == ["event-1", "event-1", "event-2"]

    async def test_without_a_consumer_nothing_is_confirmed(
        self, broker: Broker, messages: Callable[[int], list[Message]]
    ) -> None:
        with pytest.raises(NotConfirmed) as refused:
            await broker.publisher.publish(messages(3))
        assert refused.value.ids == {"event-0", "event-1", "event-2"}

    async def test_is_connected_only_while_the_block_runs(self, broker: Broker, handler: Any) -> None:
        seen = [broker.consumer.is_connected]
        async with broker.consumer.consuming(handler):
            await broker.consumer.ready()
            await broker.publisher.ready()
            seen += [broker.consumer.is_connected, broker.publisher.is_connected]
        seen += [broker.consumer.is_connected]
        assert seen == [False, True, True, False]

    async def test_there_is_one_handler_at_a_time(self, broker: Broker, handler: Any) -> None:
        async with broker.consumer.consuming(handler):
            with pytest.raises(AlreadyConsuming, match="This consumer has a handler already"):
                async with broker.consumer.consuming(handler):
                    pass

    async def test_consuming_can_begin_again(
        self, broker: Broker, handler: Any, a_message: Callable[..., Message]
    ) -> None:
        for number in (1, 2):
            async with broker.consumer.consuming(handler):
                await broker.publisher.ready()
                await broker.consumer.ready()
                await broker.publisher.publish([a_message(number)])
                await handler.has([f"event-{number}"])
        assert handler.ids == ["event-1", "event-2"]

    async def test_a_message_that_can_never_be_handled_does_not_hold_up_the_others(
        self, broker: Broker, handler: Any, messages: Callable[[int], list[Message]]
    ) -> None:
        async def refuse_the_fifth(batch: Sequence[Message]) -> None:
            for message in batch:
                if message.id == "event-5":
                    raise Undeliverable("no such kind of event", message)

        handler.first = refuse_the_fifth
        async with broker.consumer.consuming(handler):
            await broker.publisher.ready()
            await broker.consumer.ready()
            publishing = asyncio.gather(broker.publisher.publish(messages(10)), return_exceptions=True)
            await handler.has(["event-9"])
            await publishing
        assert handler.ids == [f"event-{number}" for number in range(10) if number != 5]

    @pytest.mark.parametrize(
        "trouble",
        [
            pytest.param(TryAgainLater("the database is away"), id="the-database-is-away"),
            pytest.param(ValueError("a bug that passes"), id="an-error-nobody-knows"),
        ],
    )
    async def test_trouble_that_passes_neither_loses_nor_reorders(
        self,
        broker: Broker,
        handler: Any,
        messages: Callable[[int], list[Message]],
        publish_like_a_relay: Callable[[Publisher, Sequence[Message]], Awaitable[None]],
        trouble: Exception,
    ) -> None:
        left = 4

        async def fail_for_a_while(batch: Sequence[Message]) -> None:
            nonlocal left
            if left and any(message.id == "event-3" for message in batch):
                left -= 1
                raise trouble

        handler.first = fail_for_a_while
        sent = messages(20)
        async with broker.consumer.consuming(handler):
            await publish_like_a_relay(broker.publisher, sent)
            await handler.has([message.id for message in sent])
        assert handler.ids == [message.id for message in sent]

    async def test_the_batch_in_hand_is_finished_at_the_end(
        self, broker: Broker, handler: Any, a_message: Callable[..., Message]
    ) -> None:
        begun, may_end = asyncio.Event(), asyncio.Event()

        async def take_time(_: Sequence[Message]) -> None:
            begun.set()
            await may_end.wait()

        handler.first = take_time
        async with broker.consumer.consuming(handler):
            await broker.publisher.ready()
            await broker.consumer.ready()
            publishing = asyncio.create_task(broker.publisher.publish([a_message(1)]))
            await begun.wait()
            # In the next turn of the loop, when the block has begun to end.
            asyncio.get_running_loop().call_soon(may_end.set)
        assert handler.ids == ["event-1"]
        await publishing


class TestLocalBroker(Contract):
    @pytest.fixture
    async def broker(self) -> Broker:
        both = LocalBroker()
        return Broker(both, both)


class TestRabbitMQ(Contract):
    @pytest.fixture
    async def broker(self, amqp_url: str) -> AsyncIterator[Broker]:
        topology = Topology(
            exchange="books.events",
            queue="book-log",
            binding_keys=["book.*"],
            dead_letter_exchange="book-log.dead-letters",
            dead_letter_queue="book-log.dead-letters",
        )
        async with AmqpPublisher(amqp_url, topology.exchange) as publisher:
            yield Broker(publisher, AmqpConsumer(amqp_url, topology))
