"""The codec tells all that the catalogue knows of a book and an event, and all that the contract has a place for."""

from datetime import UTC, date, datetime
from uuid import UUID

from book_contracts.codec import KINDS, read_book, read_event, write_book, write_event
from book_db.book import Book
from book_db.events.model import BookEvent
from book_db.tables import EVENT_KINDS
from books.v1 import book_event_pb2, book_pb2

CREATED = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
UPDATED = datetime(2026, 11, 24, 12, 0, 0, 123457, tzinfo=UTC)
BOOK = Book(42, "Middlemarch", "George Eliot", date(1871, 12, 1), 3, CREATED, UPDATED)
EVENT = BookEvent(UUID(int=7), "updated", str(UUID(int=8)), UPDATED, BOOK)


def the_book() -> book_pb2.Book:
    message = book_pb2.Book()
    write_book(BOOK, message)
    return message


def the_event() -> book_event_pb2.BookEvent:
    message = book_event_pb2.BookEvent()
    write_event(EVENT, message)
    return message


class TestABook:
    def test_has_every_field_of_the_contract(self) -> None:
        written = {field.name for field, _ in the_book().ListFields()}
        assert written == set(book_pb2.Book.DESCRIPTOR.fields_by_name), "a new field needs a line in write_book"

    def test_is_read_as_it_was_written(self) -> None:
        assert read_book(the_book(), Book) == BOOK, "a new field needs a line in read_book"


class TestAnEvent:
    def test_has_every_field_of_the_contract(self) -> None:
        written = {field.name for field, _ in the_event().ListFields()}
        assert written == set(book_event_pb2.BookEvent.DESCRIPTOR.fields_by_name)

    def test_is_read_as_it_was_written(self) -> None:
        assert read_event(the_event().SerializeToString(), BookEvent, Book) == EVENT

    def test_has_a_kind_that_all_know(self) -> None:
        contract = set(book_event_pb2.BookEventKind.values()) - {book_event_pb2.BOOK_EVENT_KIND_UNSPECIFIED}
        assert (set(KINDS), set(KINDS.values())) == (set(EVENT_KINDS), contract)
