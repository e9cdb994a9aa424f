"""Dead letters in somebody's hands, on a real RabbitMQ."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from operator import methodcaller
from typing import Any

import aio_pika
import pytest
from aio_pika import IncomingMessage
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from book_runtime.broker.amqp import AmqpConsumer, AmqpPublisher, DeadLetter, DeadLetters, Rejected, Topology
from book_runtime.broker.amqp.dead_letters import BrokerAway, DeadLettersLocked, NoSuchQueue
from book_runtime.broker.amqp.topology import declare
from book_runtime.broker.messages import Message
from book_runtime.broker.ports import Undeliverable
from support.waiting import patience, until

TOPOLOGY = Topology(
    exchange="books.events",
    queue="book-log",
    binding_keys=["book.*"],
    dead_letter_exchange="book-log.dead",
    dead_letter_queue="book-log.dead-letters",
)


@pytest.fixture
async def channel(amqp_url: str) -> AsyncIterator[AbstractChannel]:
    """Somebody else's look at the broker, on which everything is declared."""
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        await declare(channel, TOPOLOGY)
        yield channel


async def put(channel: AbstractChannel, *letters: aio_pika.Message) -> None:
    """Puts letters among the dead ones, past every consumer."""
    exchange = await channel.get_exchange(TOPOLOGY.dead_letter_exchange, ensure=False)
    for start in range(0, len(letters), 500):
        await asyncio.gather(*(exchange.publish(each, "book.created") for each in letters[start : start + 500]))


def a_letter(number: int = 0, *, queue: str = TOPOLOGY.queue, body: bytes = b"") -> aio_pika.Message:
    return aio_pika.Message(body, message_id=f"event-{number}", headers={"x-queue": queue, "x-reason": "a test"})


async def waiting_in(channel: AbstractChannel, queue: str) -> int:
    found = await channel.declare_queue(queue, passive=True)
    return found.declaration_result.message_count or 0


async def becomes(channel: AbstractChannel, **counts: int) -> None:
    """Waits until so many messages are ready, in nobody's hands: `log` in the queue, `dead` among its dead letters."""
    queues = {"log": TOPOLOGY.queue, "dead": TOPOLOGY.dead_letter_queue}

    async def is_so() -> bool:
        return {name: await waiting_in(channel, queues[name]) for name in counts} == counts

    await until(is_so, f"so many messages are ready: {counts}")


async def seen(amqp_url: str) -> list[DeadLetter]:
    async with DeadLetters.exclusive(amqp_url, TOPOLOGY) as letters:
        return [letter async for letter in letters]


async def taken_from(channel: AbstractChannel, queue: str, count: int) -> list[AbstractIncomingMessage]:
    """So many messages, taken out for good. No other way leads to a queue with a single active consumer."""
    taken: list[AbstractIncomingMessage] = []
    found = await channel.get_queue(queue, ensure=False)
    async with patience(f"{count} messages are taken from {queue}"), found.iterator(no_ack=True) as messages:
        while len(taken) < count:
            taken.append(await anext(messages))
    return taken


async def ids_in(channel: AbstractChannel, queue: str) -> list[str]:
    """Of all that is there, which is gone then."""
    return [message.message_id or "" for message in await taken_from(channel, queue, await waiting_in(channel, queue))]


async def refuse(messages: Sequence[Message]) -> None:
    raise Undeliverable("no such kind of event", messages[0])


class TestALetter:
    async def test_tells_what_is_known_of_it(
        self, amqp_url: str, channel: AbstractChannel, a_message: Callable[..., Message]
    ) -> None:
        sent = a_message(5, headers={"traceparent": "00-a-b-01"}, body=b"\xff")
        began = datetime.now(UTC).replace(microsecond=0)  # AMQP tells whole seconds
        async with (
            AmqpPublisher(amqp_url, TOPOLOGY.exchange) as publisher,
            AmqpConsumer(amqp_url, TOPOLOGY).consuming(refuse),
        ):
            await publisher.ready()
            await publisher.publish([sent])
            await becomes(channel, dead=1)
        (letter,) = await seen(amqp_url)
        assert (letter.key, letter.queue, letter.reason) == ("event-5", "book-log", "no such kind of event")
        assert "in refuse" in letter.stack
        assert letter.time
        assert began <= letter.time <= datetime.now(UTC)
        assert (letter.message.body, letter.message.type) == (b"\xff", "book.created")

    async def test_that_rabbitmq_has_set_aside_tells_the_same_but_for_a_stack(
        self, amqp_url: str, channel: AbstractChannel
    ) -> None:
        fragile = replace(TOPOLOGY, queue="fragile", delivery_limit=0)
        queue = await declare(channel, fragile)
        await channel.default_exchange.publish(
            aio_pika.Message(b"", delivery_mode=aio_pika.DeliveryMode.PERSISTENT), queue.name
        )
        await queue.consume(methodcaller("nack", requeue=True))
        await becomes(channel, dead=1)
        (letter,) = await seen(amqp_url)
        assert (letter.queue, letter.reason, letter.stack) == ("fragile", "delivery_limit", "")
        assert letter.time

    @pytest.mark.parametrize(
        "message_id",
        [
            pytest.param(None, id="none"),
            pytest.param("a b", id="a-blank"),
            pytest.param("--all", id="an-option"),
            pytest.param("\x1b[2J", id="an-order-to-the-terminal"),
            pytest.param("書", id="not-on-every-keyboard"),
        ],
    )
    async def test_without_an_id_that_can_be_typed_has_a_name_that_stays(
        self, amqp_url: str, channel: AbstractChannel, rabbitmq: Any, message_id: str | None
    ) -> None:
        for body in ("one", "another"):
            # aiormq gives an id to what has none.
            letter = {"properties": {"message_id": message_id} if message_id else {}, "payload": body}
            letter |= {"routing_key": "", "payload_encoding": "string"}
            address = f"/exchanges/{amqp_url.rsplit('/', 1)[1]}/{TOPOLOGY.dead_letter_exchange}/publish"
            assert rabbitmq.manage("POST", address, letter) == {"routed": True}
        first = [letter.key for letter in await seen(amqp_url)]
        assert len(set(first)) == 2
        assert all(key.startswith("letter-") for key in first)
        assert sorted(letter.key for letter in await seen(amqp_url)) == sorted(first)

    async def test_written_by_anybody_is_no_trouble(self, amqp_url: str, channel: AbstractChannel) -> None:
        strange: Any = {"x-queue": 1, "x-reason": [], "x-exception": {}, "x-time": "now", "x-death": [1]}
        await put(channel, aio_pika.Message(b"", headers=strange), aio_pika.Message(b"", headers={"x-death": 7}))
        for letter in await seen(amqp_url):
            assert (letter.queue, letter.reason, letter.stack, letter.time) == (TOPOLOGY.queue, "", "", None)


class TestLooking:
    @pytest.mark.parametrize("count", [1_000, pytest.param(10_000, marks=pytest.mark.slow)])
    async def test_takes_nothing_away_and_little_memory_however_many_there_are(
        self, amqp_url: str, channel: AbstractChannel, count: int
    ) -> None:
        most = 0
        await put(channel, *(a_letter(number, body=b"x" * 1000) for number in range(count)))
        keys = set()
        async with DeadLetters.exclusive(amqp_url, TOPOLOGY) as letters:
            async for letter in letters:
                keys.add(letter.key)
                if len(keys) % (count // 5) == 0:
                    most = max(most, sum(isinstance(each, IncomingMessage) for each in gc.get_objects()))
        assert len(keys) == count
        assert 0 < most <= 100
        await becomes(channel, dead=count)

    async def test_sees_nothing_where_there_is_nothing(self, amqp_url: str, channel: AbstractChannel) -> None:
        assert await seen(amqp_url) == []

    async def test_is_for_one_at_a_time(self, amqp_url: str, channel: AbstractChannel) -> None:
        await put(channel, a_letter())
        async with DeadLetters.exclusive(amqp_url, TOPOLOGY):
            with pytest.raises(DeadLettersLocked, match=r"dead letters in book-log\.dead-letters just now"):
                await seen(amqp_url)
        assert len(await seen(amqp_url)) == 1

    async def test_of_somebody_whose_machine_is_gone_is_over(
        self, amqp_url: str, channel: AbstractChannel, cable: Any
    ) -> None:
        await put(channel, *map(a_letter, range(5)))

        async def look_until_it_is_cut() -> None:
            async with DeadLetters.exclusive(cable.url, TOPOLOGY) as letters:
                async for letter in letters:
                    cable.cut()
                    await letters.send_again(letter)

        with pytest.raises(BrokerAway):
            await look_until_it_is_cut()
        await becomes(channel, dead=5)
        assert len(await seen(amqp_url)) == 5

    async def test_says_that_there_is_no_queue(self, amqp_url: str) -> None:
        with pytest.raises(NoSuchQueue, match=r"no queue book-log.dead-letters on this broker"):
            await seen(amqp_url)

    async def test_says_that_there_is_no_broker(self, unused_tcp_port: int) -> None:
        with pytest.raises(BrokerAway, match=f"broker at 127.0.0.1:{unused_tcp_port} cannot be reached") as error:
            await seen(f"amqp://me:s3cret@127.0.0.1:{unused_tcp_port}/")
        assert "s3cret" not in str(error.value)


class TestSendingAgain:
    async def test_brings_the_message_back_as_it_was(
        self,
        amqp_url: str,
        channel: AbstractChannel,
        a_message: Callable[..., Message],
        handler: Any,
    ) -> None:
        sent = a_message(1, headers={"traceparent": "00-a-b-01", "x-custom": "kept"})
        async with AmqpPublisher(amqp_url, TOPOLOGY.exchange) as publisher:
            await publisher.ready()
            async with AmqpConsumer(amqp_url, TOPOLOGY).consuming(refuse):
                await publisher.publish([sent])
                await becomes(channel, dead=1)
        await send_all_again(amqp_url)
        await becomes(channel, log=1, dead=0)
        async with AmqpConsumer(amqp_url, TOPOLOGY).consuming(handler):
            await handler.has(["event-1"])
        assert handler.handled == [replace(sent, routing_key=TOPOLOGY.queue)]

    async def test_brings_it_back_without_what_rabbitmq_has_written_on_it(
        self, amqp_url: str, channel: AbstractChannel
    ) -> None:
        deaths: Any = [{"queue": TOPOLOGY.queue, "reason": "delivery_limit", "count": 1}]
        headers = {"x-death": deaths, "x-first-death-queue": "a", "x-last-death-reason": "b", "x-delivery-count": 7}
        await put(channel, aio_pika.Message(b"", headers=headers | {"kept": 1}))
        await send_all_again(amqp_url)
        (found,) = await taken_from(channel, TOPOLOGY.queue, 1)
        assert set(found.headers) - {"x-delivery-count"} == {"kept"}
        assert found.headers.get("x-delivery-count") in {None, 0}

    async def test_does_not_lose_what_the_queue_does_not_take(self, amqp_url: str, channel: AbstractChannel) -> None:
        await channel.declare_queue("full", arguments={"x-max-length": 0, "x-overflow": "reject-publish"})
        await put(channel, a_letter(1, queue="nowhere"), a_letter(2, queue="full"), a_letter(3, queue="x" * 256))
        await put(channel, a_letter(4))
        refusals: list[Rejected] = []
        async with DeadLetters.exclusive(amqp_url, TOPOLOGY) as letters:
            async for letter in letters:
                try:
                    await letters.send_again(letter)
                except Rejected as error:
                    refusals.append(error)
        assert [(error.key, error.queue) for error in refusals[:2]] == [("event-1", "nowhere"), ("event-2", "full")]
        assert [error.reason for error in refusals] == [
            "There is no such queue",
            "It is full",
            "Routing key too long (max 255 bytes)",
        ]
        await becomes(channel, log=1, dead=3)

    async def test_ends_though_all_come_back_at_once(self, amqp_url: str, channel: AbstractChannel) -> None:
        await put(channel, *map(a_letter, range(20)))
        async with AmqpConsumer(amqp_url, TOPOLOGY).consuming(refuse), patience("all are sent again"):
            await send_all_again(amqp_url)
            await becomes(channel, dead=20)
        assert sorted(await ids_in(channel, TOPOLOGY.dead_letter_queue)) == sorted(f"event-{n}" for n in range(20))

    async def test_that_is_broken_off_loses_nothing(self, amqp_url: str, channel: AbstractChannel, cable: Any) -> None:
        await put(channel, *map(a_letter, range(50)))

        async def send_until_it_is_cut() -> None:
            async with DeadLetters.exclusive(cable.url, TOPOLOGY) as letters:
                async for letter in letters:
                    await letters.send_again(letter)
                    if letter.key == "event-25":
                        cable.cut()

        with pytest.raises(BrokerAway):
            await send_until_it_is_cut()

        async def are_back() -> bool:
            return await waiting_in(channel, TOPOLOGY.dead_letter_queue) >= 24

        await until(are_back, "those that were not sent are dead letters again")
        sent, dead = await ids_in(channel, TOPOLOGY.queue), await ids_in(channel, TOPOLOGY.dead_letter_queue)
        assert {*sent, *dead} == {f"event-{number}" for number in range(50)}
        print(f"cut in the 26th of 50: {len(sent)} sent, {len(dead)} still dead, {len(sent) + len(dead) - 50} in both")


async def send_all_again(amqp_url: str) -> None:
    async with DeadLetters.exclusive(amqp_url, TOPOLOGY) as letters:
        async for letter in letters:
            await letters.send_again(letter)


class TestDropping:
    async def test_drops_the_named_letters_and_leaves_the_others(self, amqp_url: str, channel: AbstractChannel) -> None:
        await put(channel, *map(a_letter, range(5)))
        async with DeadLetters.exclusive(amqp_url, TOPOLOGY) as letters:
            async for letter in letters:
                if letter.key in {"event-1", "event-3"}:
                    await letters.drop(letter)
        await becomes(channel, dead=3)
        assert sorted(await ids_in(channel, TOPOLOGY.dead_letter_queue)) == ["event-0", "event-2", "event-4"]

    async def test_that_fails_midway_leaves_the_rest(self, amqp_url: str, channel: AbstractChannel) -> None:
        await put(channel, *map(a_letter, range(5)))

        async def fail_at_the_third() -> None:
            async with DeadLetters.exclusive(amqp_url, TOPOLOGY) as letters:
                async for letter in letters:
                    if letter.key == "event-2":
                        raise BrokenPipeError("the pager has gone")
                    await letters.drop(letter)

        with pytest.raises(BrokenPipeError):
            await fail_at_the_third()
        await becomes(channel, dead=3)
