"""An event of the outbox as a message: CloudEvents 1.0 in binary mode, the body books.v1.BookEvent."""

from typing import Final

from book_contracts import events
from book_contracts.filling import write_book, write_time
from book_db.events.outbox import OutboxEvent
from book_runtime.broker.messages import Message
from books.v1 import book_event_pb2

_KINDS: Final = {
    "created": (events.CREATED, book_event_pb2.BOOK_EVENT_KIND_CREATED),
    "updated": (events.UPDATED, book_event_pb2.BOOK_EVENT_KIND_UPDATED),
    "deleted": (events.DELETED, book_event_pb2.BOOK_EVENT_KIND_DELETED),
}


def message_of(event: OutboxEvent) -> Message:
    """The message that tells of an event. Its id is the event's, on every delivery.

    Raises ValueError when the contract has no place for the event.
    """
    type_, kind = _kind_of(event)
    event_id = str(event.id)
    body = book_event_pb2.BookEvent(id=event_id, kind=kind, actor=str(event.actor))
    write_time(event.occurred_at, body.time)
    write_book(event.book, body.book)
    return Message(
        id=event_id,
        type=type_,
        routing_key=type_,
        body=body.SerializeToString(),
        content_type=events.CONTENT_TYPE,
        timestamp=event.occurred_at,
        headers=_cloud_event(event, event_id, type_)
        | ({"traceparent": event.traceparent} if event.traceparent else {}),
    )


def _kind_of(event: OutboxEvent) -> tuple[str, book_event_pb2.BookEventKind]:
    try:
        return _KINDS[event.kind]
    except KeyError:
        raise ValueError(f"this release knows no event of the kind {event.kind!r}") from None


def _cloud_event(event: OutboxEvent, event_id: str, type_: str) -> dict[str, str]:
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
