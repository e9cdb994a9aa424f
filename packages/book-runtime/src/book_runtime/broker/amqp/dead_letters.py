"""The dead letters of a queue, held exclusively: to look at, to send again, or to drop."""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NoReturn, Self, TypeVar, cast

import aiormq
from aio_pika.abc import AbstractConnection, AbstractIncomingMessage, AbstractQueue
from aio_pika.exceptions import ChannelClosed, ChannelNotFoundEntity, DeliveryError, PublishError
from aiormq.exceptions import ChannelLockedResource

from book_runtime.broker.amqp.envelope import DEATHS, QUEUE, REASON, STACK, TIME, from_amqp, from_dead_letter
from book_runtime.broker.amqp.inbox import Inbox
from book_runtime.broker.amqp.reading import Content, content_of
from book_runtime.broker.amqp.reconnecting import LOST, BrokerLost, address_of, close, connect, translate_stray_failures
from book_runtime.broker.amqp.sending import Sender
from book_runtime.broker.amqp.tables import Table
from book_runtime.broker.amqp.topology import Topology
from book_runtime.broker.messages import Message
from book_runtime.broker.ports import BrokerError

T = TypeVar("T")

_TIMEOUT_SECONDS: Final = 10.0
"""For a confirm, and for letters that the queue is known to have."""

_BATCH_LETTERS: Final = 50
"""So many are in memory, which can be some megabytes."""

_ADDRESSABLE: Final = re.compile(r"\w[\w.:/+=@-]*", re.ASCII)
"""An id that can be typed into a shell as it stands."""


class BrokerAway(BrokerError):
    """The broker at {address} cannot be reached, or was lost: {reason}"""

    def __init__(self, address: str, reason: object) -> None:
        self.address = address
        self.reason = reason


class NoSuchQueue(BrokerError):
    """There is no queue {queue} on this broker. Whoever consumes declares it when it first connects."""

    def __init__(self, queue: str) -> None:
        self.queue = queue


class DeadLettersLocked(BrokerError):
    """Somebody else holds the dead letters in {queue} just now. Try again when they are done."""

    def __init__(self, queue: str) -> None:
        self.queue = queue


class Rejected(BrokerError):
    """The letter {key} stays where it is, since {queue} did not take it: {reason}"""

    def __init__(self, key: str, queue: str, reason: str) -> None:
        self.key = key
        self.queue = queue
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A message that was set aside, and what is known of that."""

    key: str
    """What it is called: its id where it has one that can be typed, else a digest, the same each time it is seen."""

    message: Message

    queue: str
    """Where it comes from."""

    reason: str
    stack: str
    """The traceback; empty when RabbitMQ has set it aside itself."""

    time: datetime | None
    """When it was set aside."""

    content: Content = field(repr=False)
    """The message as it stands on the wire."""

    delivery: AbstractIncomingMessage = field(repr=False)


class DeadLetters:
    """The dead letters that were in the queue when the block began, each once.

        async with DeadLetters.exclusive(url, topology) as letters:
            async for letter in letters:
                await letters.send_again(letter)

    What was neither sent again nor dropped is in its queue again at the end of the block, or when the process dies in
    it. Nothing of a letter is kept here, so there may be any number of them. Every method raises `BrokerAway`.
    """

    def __init__(self, address: str, connection: AbstractConnection, queue: AbstractQueue, origin: str) -> None:
        self._address = address
        self._connection = connection
        self._queue = queue
        self._outgoing: Sender | None = None
        self._origin = origin
        self._inbox: Inbox[AbstractIncomingMessage] = Inbox(_BATCH_LETTERS)
        queue.channel.close_callbacks.add(lambda _, cause: self._inbox.close(BrokerLost(cause)))

    async def __aiter__(self) -> AsyncIterator[DeadLetter]:
        """In the order in which they came; RabbitMQ promises no order for those that were held before."""
        # Bounded by their number now: one that is sent again may be back before the last one is seen.
        left = self._queue.declaration_result.message_count or 0
        while left > 0:
            with _asking(self._address):
                deliveries = await self._take(min(left, _BATCH_LETTERS))
            for delivery in deliveries:
                yield _letter_of(delivery, self._origin)
            left -= _BATCH_LETTERS

    async def _take(self, count: int) -> list[AbstractIncomingMessage]:
        """The next of them, as many as a consumer gets that answers none: what it has got stays out when it is gone.

        To get them one by one would take ten times as long.
        """
        consumer = await self._queue.consume(self._inbox.put)
        taken: list[AbstractIncomingMessage] = []
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            while len(taken) < count:
                taken += await self._inbox.take() or _no_more(self._inbox)
        await self._queue.cancel(consumer)
        # There are more when some came while we looked. They go back with the rest.
        return taken[:count]

    async def send_again(self, letter: DeadLetter) -> None:
        """Put it into the queue it comes from, as it was, with that queue's name for a routing key.

        Raises `Rejected`, and then it is still a dead letter. A crash in between leaves it in both queues.
        """
        properties, to = from_dead_letter(letter.content), letter.queue.encode()
        with _asking(self._address):
            try:
                async with asyncio.timeout(_TIMEOUT_SECONDS):
                    await (await self._sender()).send_alone(to, properties, letter.content.body)
            except (DeliveryError, ChannelClosed, ValueError) as error:
                raise Rejected(letter.key, letter.queue, _refusal(error)) from error
            # Confirm before the ack: a crash here repeats, never loses.
            await letter.delivery.ack()

    async def drop(self, letter: DeadLetter) -> None:
        """Take it away for good."""
        with _asking(self._address):
            await letter.delivery.ack()

    async def _sender(self) -> Sender:
        """To the default exchange. A broker that refuses more than the message closes the channel."""
        if self._outgoing is None or not self._outgoing.is_open:
            channel = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
            sender = self._outgoing = Sender(cast(aiormq.Channel, await channel.get_underlay_channel()), "")
            channel.close_callbacks.add(lambda _, cause: sender.give_up(cause or BrokerLost()))
        return self._outgoing

    async def _give_back(self) -> None:
        # Without a connection there is nothing to give back: the broker has taken it.
        with suppress(*LOST), translate_stray_failures():
            underlying = await self._queue.channel.get_underlay_channel()
            # From RabbitMQ 4.3 on this does not count as a failed delivery, as closing the channel does.
            await underlying.basic_nack(0, multiple=True, requeue=True)

    @classmethod
    @asynccontextmanager
    async def exclusive(cls, url: str, topology: Topology) -> AsyncIterator[Self]:
        """The dead letters of the queue in `topology`, held exclusively for the length of the block.

        Raises `BrokerAway`, `NoSuchQueue` and `DeadLettersLocked`.
        """
        address = address_of(url)
        with _asking(address):
            connection = await connect(url, f"dead letters of {topology.queue}")
        try:
            with _asking(address):
                queue = await _alone_at(connection, topology.dead_letter_queue)
            letters = cls(address, connection, queue, topology.queue)
            try:
                yield letters
            finally:
                await letters._give_back()
        finally:
            await close(connection)


def _no_more(inbox: Inbox[AbstractIncomingMessage]) -> NoReturn:
    raise inbox.reason or BrokerLost


async def _alone_at(connection: AbstractConnection, queue: str) -> AbstractQueue:
    channel = await connection.channel(publisher_confirms=False)
    await channel.set_qos(prefetch_count=_BATCH_LETTERS)
    try:
        # Those who come second are told so, or they would see a part of the letters and take it for all. The broker
        # removes this queue with the connection.
        await channel.declare_queue(f"{queue}.in-hand", exclusive=True)
        return await channel.declare_queue(queue, passive=True)
    except ChannelLockedResource as error:
        raise DeadLettersLocked(queue) from error
    except ChannelNotFoundEntity as error:
        raise NoSuchQueue(queue) from error


@contextmanager
def _asking(address: str) -> Iterator[None]:
    """Not around the caller's code, whose own failures are among those that aio-pika raises."""
    try:
        with translate_stray_failures():
            yield
    except LOST as error:
        raise BrokerAway(address, str(error) or repr(error)) from error


def _letter_of(delivery: AbstractIncomingMessage, origin: str) -> DeadLetter:
    content = content_of(delivery, delivery.body)
    headers = content.properties.headers.read()
    death = _newest_death(headers)
    return DeadLetter(
        key=_key_of(content),
        message=from_amqp(content),
        queue=_first(str, headers.get(QUEUE), death.get("queue")) or origin,
        reason=_first(str, headers.get(REASON), death.get("reason")) or "",
        stack=_first(str, headers.get(STACK)) or "",
        time=_first(datetime, headers.get(TIME), death.get("time")),
        content=content,
        delivery=delivery,
    )


def _newest_death(headers: Mapping[str, object]) -> Mapping[str, object]:
    newest = headers.get(DEATHS)
    return newest.read() if isinstance(newest, Table) else {}


def _first(kind: type[T], *values: object) -> T | None:
    """The first of these that is of this kind: anybody may have written the headers."""
    return next((value for value in values if isinstance(value, kind)), None)


def _key_of(content: Content) -> str:
    message_id = content.properties.text("message_id")
    if _ADDRESSABLE.fullmatch(message_id):
        return message_id
    facts = [content.properties.values.get(name) for name in ("message_id", "type", "timestamp")]
    return f"letter-{hashlib.sha256(repr(facts).encode() + content.body).hexdigest()[:16]}"


def _refusal(error: DeliveryError | ChannelClosed | ValueError) -> str:
    match error:
        case PublishError():
            return "There is no such queue"
        case DeliveryError():
            return "It is full"
    return str(error)
