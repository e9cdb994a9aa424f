"""A message in the terms of AMQP, and back."""

from datetime import UTC, datetime
from typing import Final

import aio_pika
from aio_pika.abc import AbstractIncomingMessage, HeadersType
from pamqp.commands import Basic

from book_runtime.broker.messages import Message
from book_runtime.broker.tracebacks import traceback_of

_LONGEST_REASON: Final = 1_000
"""Characters. All headers together must fit into one frame, which is 128 KiB."""

REASON: Final = "x-reason"
STACK: Final = "x-exception"
QUEUE: Final = "x-queue"
TIME: Final = "x-time"
"""The headers of a dead letter: why it was set aside, in a sentence and as a traceback, from where, and when."""

DEATHS: Final = "x-death"
"""The header in which RabbitMQ tells the same of a letter that it has set aside itself."""

# Counts belong to the queue that a message comes from: sent there again, it would start with them.
_COUNTS: Final = ("x-delivery-count", "x-acquired-count")
_OF_DEATH: Final = (REASON, STACK, QUEUE, TIME, DEATHS, *_COUNTS)
_OF_FIRST_AND_LAST_DEATH: Final = ("x-first-death-", "x-last-death-")


def properties_of(message: Message) -> Basic.Properties:
    """Everything but the body, and the routing key, which is not a part of an AMQP message."""
    return Basic.Properties(
        message_id=message.id,
        message_type=message.type,
        content_type=message.content_type,
        headers=dict(message.headers),
        timestamp=message.timestamp,
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
    )


def from_amqp(properties: Basic.Properties, routing_key: str | None, body: bytes) -> Message:
    """What a foreign publisher left out is empty, and the time is that of the arrival."""
    return Message(
        id=properties.message_id or "",
        type=properties.message_type or "",
        routing_key=routing_key or "",
        body=body,
        content_type=properties.content_type or "",
        headers={name: value for name, value in (properties.headers or {}).items() if isinstance(value, str)},
        timestamp=properties.timestamp or datetime.now(UTC),
    )


def delivery_count(properties: Basic.Properties) -> int:
    """How often the message was delivered before and came back to the queue."""
    count = (properties.headers or {}).get("x-delivery-count")
    return count if isinstance(count, int) else 0


def to_dead_letter(
    delivery: AbstractIncomingMessage, *, queue: str, reason: str, error: BaseException
) -> aio_pika.Message:
    """The message as it was, and in headers why, when and where it was set aside."""
    headers = {name: value for name, value in delivery.headers.items() if name not in _COUNTS}
    headers[REASON] = reason[:_LONGEST_REASON]
    headers[STACK] = traceback_of(error)
    headers[QUEUE] = queue
    headers[TIME] = datetime.now(UTC)
    return _copy(delivery, headers)


def from_dead_letter(letter: AbstractIncomingMessage) -> aio_pika.Message:
    """The message as it was before it was set aside."""
    headers = {
        name: value
        for name, value in letter.headers.items()
        if name not in _OF_DEATH and not name.startswith(_OF_FIRST_AND_LAST_DEATH)
    }
    return _copy(letter, headers)


def _copy(delivery: AbstractIncomingMessage, headers: HeadersType) -> aio_pika.Message:
    """All but the expiration, which has begun, and the user, who was another one: the broker takes no such message."""
    return aio_pika.Message(
        delivery.body,
        message_id=delivery.message_id,
        type=delivery.type,
        content_type=delivery.content_type,
        content_encoding=delivery.content_encoding,
        correlation_id=delivery.correlation_id,
        reply_to=delivery.reply_to,
        app_id=delivery.app_id,
        priority=delivery.priority,
        timestamp=delivery.timestamp,
        headers=headers,
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
    )
