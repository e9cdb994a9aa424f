"""An event of the outbox as a message: CloudEvents 1.0 in binary mode, the body books.v1.BookEvent."""

from book_contracts import events
from book_contracts.codec import write_event
from book_db.events.model import BookEvent
from book_db.events.outbox import OutboxEvent
from book_runtime.broker.messages import Message
from books.v1 import book_event_pb2


def message_of(claimed: OutboxEvent) -> Message:
    """The message that tells of an event. Its id is the event's, on every delivery.

    Raises ValueError when the contract has no place for the event.
    """
    event, traceparent = claimed.event, claimed.traceparent
    body = book_event_pb2.BookEvent()
    write_event(event, body)
    event_id, type_ = body.id, events.type_of(event.kind)
    return Message(
        id=event_id,
        type=type_,
        routing_key=type_,
        body=body.SerializeToString(),
        content_type=events.CONTENT_TYPE,
        timestamp=event.occurred_at,
        headers=_cloud_event(event, event_id, type_) | ({"traceparent": traceparent} if traceparent else {}),
    )


def _cloud_event(event: BookEvent, event_id: str, type_: str) -> dict[str, str]:
    """The attributes, under the prefix that the AMQP binding of CloudEvents gives them."""
    attributes = {
        "specversion": events.SPEC_VERSION,
        "id": event_id,
        "source": events.SOURCE,
        "type": type_,
        "subject": str(event.book.id),
        "time": event.occurred_at.isoformat().replace("+00:00", "Z"),
        "dataschema": events.DATA_SCHEMA,
    }
    return {f"{events.HEADER_PREFIX}{name}": value for name, value in attributes.items()}
