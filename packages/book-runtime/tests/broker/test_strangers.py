"""Messages of strangers that a consumer cannot read, and letters of theirs, on a real RabbitMQ."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from functools import partial
from operator import methodcaller
from typing import Any

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel
from book_runtime.broker.amqp import (
    AmqpConsumer,
    AmqpPublisher,
    DeadLetter,
    DeadLetters,
    Rejected,
    Topology,
    reconnecting,
)
from book_runtime.broker.amqp.pauses import Pauses
from book_runtime.broker.amqp.reading import ContentReader
from book_runtime.broker.amqp.topology import declare
from book_runtime.broker.messages import Message
from book_runtime.broker.ports import Undeliverable
from structlog.testing import capture_logs
from support.amqp import RawMessage, header, long_text, publish_raw, raw_publisher
from support.waiting import patiently, until

TOPOLOGY = Topology(
    exchange="books.events",
    queue="book-log",
    binding_keys=["book.*"],
    dead_letter_exchange="book-log.dead",
    dead_letter_queue="book-log.dead-letters",
)

STRANGE = RawMessage(
    b"book.\xff",
    {"timestamp": b"\xff" * 8, "message_id": b"\xff", "type": b"caf\xe9", "priority": b"\xff"},
    (
        header(b"\xff", b"S", long_text(b"\xff")),
        header(b"price", b"d", b"\x3f\xb9\x99\x99\x99\x99\x99\x9a"),
        header(b"when", b"T", b"\xff" * 8),
    ),
    b"strange",
)


@pytest.fixture
async def channel(amqp_url: str) -> AsyncIterator[AbstractChannel]:
    """Somebody else's look at the broker, on which everything is declared."""
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        await declare(channel, TOPOLOGY)
        yield channel


async def becomes(channel: AbstractChannel, queue: str, count: int) -> None:
    async def is_so() -> bool:
        found = await channel.declare_queue(queue, passive=True)
        return found.declaration_result.message_count == count

    await until(is_so, f"{count} messages are in {queue}")


async def letters(amqp_url: str) -> list[DeadLetter]:
    async with DeadLetters.exclusive(amqp_url, TOPOLOGY) as letters:
        return [letter async for letter in letters]


async def send_all_again(amqp_url: str) -> list[Rejected]:
    """What was not taken."""
    refusals = []
    async with DeadLetters.exclusive(amqp_url, TOPOLOGY) as letters:
        async for letter in letters:
            try:
                await letters.send_again(letter)
            except Rejected as refusal:
                refusals.append(refusal)
    return refusals


async def refuse(messages: Sequence[Message]) -> None:
    raise Undeliverable("no such kind of event", messages[0])


class TestOneThatIsSetAside:
    async def test_tells_where_there_was_no_room_for_all_of_it(self, amqp_url: str, channel: AbstractChannel) -> None:
        """One frame holds all properties, and it was nearly full before ours were added."""
        fields = tuple(header(name, b"x", long_text(bytes(size))) for name, size in ((b"a", 100_000), (b"b", 31_000)))
        async with AmqpConsumer(amqp_url, TOPOLOGY).consuming(refuse):
            await publish_raw(amqp_url, TOPOLOGY.exchange, [RawMessage(b"book.created", {}, fields)])
            await becomes(channel, TOPOLOGY.dead_letter_queue, 1)
        [letter] = await letters(amqp_url)
        assert letter.reason == "no such kind of event (left out, as too great for a dead letter: a)"
        assert [field.name for field in letter.content.properties.headers.fields][-1] == b"b"

    async def test_by_rabbitmq_itself_can_be_read_and_sent_again(self, amqp_url: str, channel: AbstractChannel) -> None:
        fragile = replace(TOPOLOGY, queue="fragile", delivery_limit=0)
        await declare(channel, fragile)
        await publish_raw(amqp_url, "", [replace(STRANGE, routing_key=b"fragile")])
        connection = await reconnecting.connect(amqp_url, "tests")
        try:
            again = await (await connection.channel()).get_queue("fragile")
            await again.consume(methodcaller("nack", requeue=True))
            await becomes(channel, TOPOLOGY.dead_letter_queue, 1)
        finally:
            await reconnecting.close(connection)
        [letter] = await letters(amqp_url)
        assert (letter.queue, letter.reason, letter.message.body) == ("fragile", "delivery_limit", b"strange")
        assert letter.time
        assert await send_all_again(amqp_url) == []
        await becomes(channel, TOPOLOGY.dead_letter_queue, 0)
        await becomes(channel, "fragile", 1)


class TestOneThatIsSentAgain:
    async def test_goes_to_no_queue_beside_its_own(self, amqp_url: str, channel: AbstractChannel) -> None:
        elsewhere = await channel.declare_queue("elsewhere", durable=True)
        copies = header(b"CC", b"A", long_text(b"S" + long_text(b"elsewhere")))
        await publish_raw(amqp_url, TOPOLOGY.dead_letter_exchange, [replace(STRANGE, fields=(copies,))])
        assert await send_all_again(amqp_url) == []
        await becomes(channel, TOPOLOGY.queue, 1)
        assert await elsewhere.get(fail=False) is None

    async def test_stays_where_the_broker_refuses_more_than_the_message(
        self, amqp_url: str, channel: AbstractChannel, rabbitmq: Any
    ) -> None:
        await publish_raw(amqp_url, TOPOLOGY.dead_letter_exchange, [STRANGE, replace(STRANGE, body=b"another")])
        address = f"/permissions/{amqp_url.rsplit('/', 1)[1]}/tests"
        rabbitmq.manage("PUT", address, {"configure": ".*", "write": "^book", "read": ".*"})
        refusals = await send_all_again(amqp_url)
        assert [refusal.queue for refusal in refusals] == [TOPOLOGY.queue] * 2
        assert all("ACCESS_REFUSED" in refusal.reason for refusal in refusals)
        await becomes(channel, TOPOLOGY.dead_letter_queue, 2)

    async def test_stays_where_no_queue_takes_it(self, amqp_url: str, channel: AbstractChannel) -> None:
        """Whatever its id, by which aiormq looks for who waits for a message that is returned."""
        nowhere = header(b"x-queue", b"S", long_text(b"nowhere"))
        nameless = [RawMessage(b"", {}, (nowhere,)), replace(STRANGE, fields=(nowhere,))]
        await publish_raw(amqp_url, TOPOLOGY.dead_letter_exchange, nameless)
        assert [refusal.reason for refusal in await send_all_again(amqp_url)] == ["There is no such queue"] * 2
        await becomes(channel, TOPOLOGY.dead_letter_queue, 2)


@pytest.fixture
def unreadable(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A header of a message that ends whatever session it is delivered in: a fault that nobody knows of."""
    poison = b"poison"
    read = ContentReader._header

    def read_or_fail(reader: ContentReader, channel: int, payload: bytes) -> bytes:
        if poison in payload:
            raise ValueError("a fault in reading")
        return read(reader, channel, payload)

    monkeypatch.setattr(ContentReader, "_header", read_or_fail)
    monkeypatch.setattr(reconnecting, "Pauses", partial(Pauses, 0.01, 0.02))
    return header(poison, b"V", b"")


class TestOneThatNoSessionGetsOver:
    async def test_is_set_aside_by_the_broker_and_alone(
        self,
        amqp_url: str,
        channel: AbstractChannel,
        handler: Any,
        messages: Callable[[int], list[Message]],
        unreadable: bytes,
    ) -> None:
        topology = replace(TOPOLOGY, queue="fragile", delivery_limit=1, prefetch=20)
        await declare(channel, topology)
        good = messages(60)
        consumer = AmqpConsumer(amqp_url, topology)
        async with AmqpPublisher(amqp_url, TOPOLOGY.exchange) as publisher, raw_publisher(amqp_url) as stranger:
            await patiently(publisher.ready(), "the publisher is there")
            for start in range(0, 60, 15):
                await publisher.publish(good[start : start + 15])
                await stranger.publish(TOPOLOGY.exchange, RawMessage(b"book.created", {}, (unreadable,)))
            with capture_logs() as logs:
                async with consumer.consuming(handler):
                    await handler.has(message.id for message in good)
                    await becomes(channel, TOPOLOGY.dead_letter_queue, 4)
                    later = messages(200)[60:]
                    await publisher.publish(later)
                    await handler.has(message.id for message in later)
        assert len([line for line in logs if "one message at a time" in line["event"]]) == 1
        assert max(map(len, handler.batches[-20:])) > 1
        dead: Any = await channel.get_queue(TOPOLOGY.dead_letter_queue)
        deaths = [(await dead.get(no_ack=True)).headers["x-death"][0] for _ in range(4)]
        assert [(death["queue"], death["reason"]) for death in deaths] == [("fragile", "delivery_limit")] * 4
