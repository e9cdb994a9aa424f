"""An event as it goes on the wire."""

from datetime import UTC, date, datetime
from uuid import UUID

import pytest
from book_contracts import BookEvent, BookEventKind, Date
from book_db.book import Book
from book_db.events import model
from book_db.events.outbox import OutboxEvent
from rest_api.relay.events import message_of

CREATED = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
UPDATED = datetime(2026, 11, 24, 12, 0, 0, 1, tzinfo=UTC)


def an_event(*, kind: str = "updated", traceparent: str | None = None) -> OutboxEvent:
    event = model.BookEvent(
        id=UUID("1f8d3c7e-9f0a-4d27-8f1b-0a1b2c3d4e5f"),
        kind=kind,
        actor="7c1e1a52-3d5c-4a43-9f69-6e5f4d3c2b1a",
        occurred_at=UPDATED,
        book=Book(42, "Война и мир", "Лев Толстой", date(1869, 1, 1), 3, CREATED, UPDATED),
    )
    return OutboxEvent(7, traceparent, event)


class TestMessageOf:
    @pytest.mark.parametrize(
        ("kind", "type_", "on_the_wire"),
        [
            ("created", "book.created", BookEventKind.CREATED),
            ("updated", "book.updated", BookEventKind.UPDATED),
            ("deleted", "book.deleted", BookEventKind.DELETED),
        ],
    )
    def test_names_the_kind_where_each_reader_looks(self, kind: str, type_: str, on_the_wire: BookEventKind) -> None:
        message = message_of(an_event(kind=kind))
        assert (message.type, message.routing_key, message.headers["cloudEvents:type"]) == (type_,) * 3
        assert BookEvent.parse(message.body).kind is on_the_wire

    def test_says_everything_in_the_body(self) -> None:
        event = BookEvent.parse(message_of(an_event()).body)
        assert event.id == "1f8d3c7e-9f0a-4d27-8f1b-0a1b2c3d4e5f"
        assert event.actor == "7c1e1a52-3d5c-4a43-9f69-6e5f4d3c2b1a"
        assert event.time == UPDATED
        assert event.book is not None
        assert (event.book.id, event.book.version) == (42, 3)
        assert (event.book.title, event.book.author) == ("Война и мир", "Лев Толстой")
        assert event.book.publication_date == Date(year=1869, month=1, day=1)
        assert (event.book.create_time, event.book.update_time) == (CREATED, UPDATED)

    def test_is_a_cloud_event_in_binary_mode(self) -> None:
        message = message_of(an_event())
        assert message.content_type == "application/protobuf"
        assert message.headers == {
            "cloudEvents:specversion": "1.0",
            "cloudEvents:id": "1f8d3c7e-9f0a-4d27-8f1b-0a1b2c3d4e5f",
            "cloudEvents:source": "/colophon/catalogue",
            "cloudEvents:type": "book.updated",
            "cloudEvents:subject": "42",
            "cloudEvents:time": "2026-11-24T12:00:00.000001Z",
            "cloudEvents:dataschema": "https://type.googleapis.com/books.v1.BookEvent",
        }

    def test_carries_the_trace_of_the_write(self) -> None:
        traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        assert message_of(an_event(traceparent=traceparent)).headers["traceparent"] == traceparent

    def test_has_the_same_id_each_time(self) -> None:
        assert message_of(an_event()) == message_of(an_event())
