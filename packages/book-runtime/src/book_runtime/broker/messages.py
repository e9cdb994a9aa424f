"""What travels."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message as its publisher wrote it and its consumer gets it."""

    id: str
    """Unique among all messages; a message that is delivered again keeps it."""

    type: str
    """What has happened, in the words of the contract: `book.created`."""

    routing_key: str
    """Which queues get it. At most 255 bytes."""

    body: bytes

    content_type: str
    """The media type of the body."""

    timestamp: datetime
    """When it happened, with a time zone. AMQP carries whole seconds: a finer time belongs into a header."""

    headers: Mapping[str, str] = field(default_factory=dict)
    """CloudEvents attributes (`cloudEvents:source`), the trace (`traceparent`), and what else is not in the body."""
