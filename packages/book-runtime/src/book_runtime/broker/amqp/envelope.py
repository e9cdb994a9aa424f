"""A message in the terms of AMQP, and back."""

from datetime import UTC, datetime
from typing import Final

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

from book_runtime.broker.messages import Message
from book_runtime.broker.tracebacks import traceback_of

_LONGEST_REASON: Final = 1_000
"""Characters. All headers together must fit into one frame, which is 128 KiB."""


def to_amqp(message: Message) -> aio_pika.Message:
    """Everything but the routing key, which is not a part of an AMQP message."""
    return aio_pika.Message(
        message.body,
        message_id=message.id,
        type=message.type,
        content_type=message.content_type,
        headers=dict(message.headers),
        timestamp=message.timestamp,
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
    )


def from_amqp(delivery: AbstractIncomingMessage) -> Message:
    """What a foreign publisher left out is empty, and the time is that of the arrival."""
    return Message(
        id=delivery.message_id or "",
        type=delivery.type or "",
        routing_key=delivery.routing_key or "",
        body=delivery.body,
        content_type=delivery.content_type or "",
        headers={name: value for name, value in delivery.headers.items() if isinstance(value, str)},
        timestamp=delivery.timestamp or datetime.now(UTC),
    )


def delivery_count(delivery: AbstractIncomingMessage) -> int:
    """How often the message was delivered before and came back to the queue."""
    count = delivery.headers.get("x-delivery-count")
    return count if isinstance(count, int) else 0


def to_dead_letter(
    delivery: AbstractIncomingMessage, *, queue: str, reason: str, error: BaseException
) -> aio_pika.Message:
    """The message as it was, and in headers why and where it was set aside."""
    # The count belongs to the queue it comes from: sent there again, the message would start with it.
    headers = {name: value for name, value in delivery.headers.items() if name != "x-delivery-count"}
    headers["x-reason"] = reason[:_LONGEST_REASON]
    headers["x-exception"] = traceback_of(error)
    headers["x-queue"] = queue
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
