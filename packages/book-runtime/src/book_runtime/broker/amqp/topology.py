"""What a consumer needs on the broker, and declares there each time it connects."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aio_pika import ExchangeType
from aio_pika.abc import AbstractChannel, AbstractQueue, HeadersType

_SPARE_DELIVERIES: Final = 5
"""The broker gives up so many deliveries after this consumer should have done so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """A queue, what it gets, and where messages go that cannot be handled.

    The queue is a quorum queue with a single active consumer: of several replicas that consume from it, one gets the
    messages and the others stand by, which keeps the messages in order.
    """

    exchange: str
    """A durable topic exchange."""

    queue: str

    binding_keys: Sequence[str]
    """Which routing keys of the exchange the queue gets: `book.*`."""

    dead_letter_exchange: str
    """A durable fanout exchange for this queue's dead letters alone."""

    dead_letter_queue: str

    prefetch: int = 200
    """How many messages may be on their way to the consumer or in its hands; also the largest batch."""

    attempts: int = 5
    """How often a message is tried that fails for an unknown reason, before it is dead-lettered."""

    delivery_limit: int = 50
    """How often a message may be delivered without an answer (it took the process down each time) before it is
    dead-lettered.

    Generous, because every lost connection counts for whatever was on its way: with RabbitMQ up to 4.2 each restart of
    the consumer, and every 30 minutes that it holds messages because its database is away.
    """


async def declare_topic_exchange(channel: AbstractChannel, name: str) -> None:
    """Declare the exchange that publishers write to and queues are bound to. Publishers and consumers both do."""
    await channel.declare_exchange(name, ExchangeType.TOPIC, durable=True)


async def declare(channel: AbstractChannel, topology: Topology) -> AbstractQueue:
    """Declare everything, where the dead letters go first, and give back the queue."""
    await _declare_dead_letter_queue(channel, topology)
    await declare_topic_exchange(channel, topology.exchange)
    queue = await channel.declare_queue(topology.queue, durable=True, arguments=_arguments(topology))
    for key in topology.binding_keys:
        await queue.bind(topology.exchange, key)
    return queue


async def _declare_dead_letter_queue(channel: AbstractChannel, topology: Topology) -> None:
    await channel.declare_exchange(topology.dead_letter_exchange, ExchangeType.FANOUT, durable=True)
    # The default limit of RabbitMQ 4 would drop a letter for good that someone has looked at 20 times.
    arguments: HeadersType = {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000}
    queue = await channel.declare_queue(topology.dead_letter_queue, durable=True, arguments=arguments)
    await queue.bind(topology.dead_letter_exchange)


def _arguments(topology: Topology) -> HeadersType:
    return {
        "x-queue-type": "quorum",
        "x-single-active-consumer": True,
        "x-delivery-limit": topology.delivery_limit + _SPARE_DELIVERIES,
        "x-dead-letter-exchange": topology.dead_letter_exchange,
        # The default strategy, at-most-once, forgets a letter that cannot be queued just then.
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",  # which at-least-once requires
    }
