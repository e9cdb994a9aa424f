"""A message in the terms of AMQP, and back."""

from datetime import UTC, datetime
from typing import Final

import aio_pika
from pamqp.commands import Basic

from book_runtime.broker.amqp.properties import Properties
from book_runtime.broker.amqp.reading import Content
from book_runtime.broker.amqp.tables import Field, Table
from book_runtime.broker.messages import Message
from book_runtime.broker.tracebacks import traceback_of

_REASON_MAX_CHARACTERS: Final = 1_000
"""All headers together must fit into one frame, which is 128 KiB."""

_REMARK_MAX_CHARACTERS: Final = 300
"""All of ASCII; says what did not fit."""

REASON: Final = "x-reason"
STACK: Final = "x-exception"
QUEUE: Final = "x-queue"
TIME: Final = "x-time"
"""The headers of a dead letter: why it was set aside, in a sentence and as a traceback, from where, and when."""

DEATHS: Final = "x-death"
"""The header in which RabbitMQ tells the same of a letter that it has set aside itself."""

# Counts belong to the queue that a message comes from: sent there again, it would start with them.
_COUNTS: Final = frozenset((b"x-delivery-count", b"x-acquired-count"))
_OURS: Final = _COUNTS | {name.encode() for name in (REASON, STACK, QUEUE, TIME)}
_OF_DEATH: Final = _OURS | {DEATHS.encode()}
_OF_FIRST_AND_LAST_DEATH: Final = (b"x-first-death-", b"x-last-death-")

_CARBON_COPIES: Final = b"CC"
"""Further routing keys. Through the default exchange, as a letter is sent again, these would be queues."""


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


def from_amqp(content: Content) -> Message:
    """What a foreign publisher left out is empty, and the time is that of the arrival.

    Headers that are no text are left out; they stand in the content.
    """
    properties = content.properties
    return Message(
        id=properties.text("message_id"),
        type=properties.text("type"),
        routing_key=content.routing_key.decode("utf-8", "backslashreplace"),
        body=content.body,
        content_type=properties.text("content_type"),
        headers=properties.headers.texts(),
        timestamp=properties.timestamp or datetime.now(UTC),
    )


def delivery_count(content: Content) -> int:
    """How often the message was delivered before and came back to the queue."""
    count = content.properties.headers.read().get("x-delivery-count")
    return count if isinstance(count, int) else 0


def to_dead_letter(content: Content, *, queue: str, reason: str, error: BaseException, room: int) -> Properties:
    """The properties as they were, and in headers why, when and where the message was set aside.

    `room`: the bytes that there may be of them. Where it is short, the traceback is left out, and then the greatest of
    the foreign headers, which the reason says.
    """
    headers = content.properties.headers.without(_OURS)
    told = [Field.of_text(QUEUE, queue), Field.of_time(TIME, datetime.now(UTC))]
    why = [Field.of_text(REASON, reason[:_REASON_MAX_CHARACTERS]), Field.of_text(STACK, traceback_of(error))]
    letter = _kept(content, headers.after([*told, *why]))
    if _excess(letter, room) <= 0:
        return letter
    letter = _kept(content, headers.after([*told, why[0]]))
    if (excess := _excess(letter, room)) <= 0:
        return letter
    fewer, left_out = headers.without_greatest(excess + _REMARK_MAX_CHARACTERS)
    remark = f" (left out, as too great for a dead letter: {left_out})"[:_REMARK_MAX_CHARACTERS]
    return _kept(content, fewer.after([*told, Field.of_text(REASON, reason[:_REASON_MAX_CHARACTERS] + remark)]))


def from_dead_letter(content: Content) -> Properties:
    """The properties as they were before the message was set aside, without the queues that it was to go to beside."""
    headers = content.properties.headers
    of_death = {field.name for field in headers.fields if field.name.startswith(_OF_FIRST_AND_LAST_DEATH)}
    return _kept(content, headers.without(of_death | _OF_DEATH | {_CARBON_COPIES}))


def _kept(content: Content, headers: Table) -> Properties:
    """All but the expiration, which has begun, and the user, who was another one: the broker takes no such message."""
    return content.properties.to_be_kept(headers, without={"expiration", "user_id"})


def _excess(properties: Properties, room: int) -> int:
    return len(properties.encode()) - room
