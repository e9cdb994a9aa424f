"""Answers as the messages that callers see.

protobuf decodes them and betterproto2's dataclasses are filled from that: fifteen times as fast as betterproto2 itself,
which holds the event loop for 90 ms over a page of a thousand books. docs/decisions/0021 has the
numbers.
"""

from datetime import UTC, datetime, timedelta
from typing import Final, Literal, TypeAlias

from books.v1 import book_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from book_contracts import Book, Date

BookField: TypeAlias = Literal["id", "title", "author", "publication_date", "version", "create_time", "update_time"]
"""A field of a book, for a read mask."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def book_of(book: book_pb2.Book) -> Book:
    """The same book. What a read mask has left out is empty or None."""
    return Book(
        id=book.id,
        title=book.title,
        author=book.author,
        publication_date=_date_of(book.publication_date) if book.HasField("publication_date") else None,
        version=book.version,
        create_time=time_of(book.create_time) if book.HasField("create_time") else None,
        update_time=time_of(book.update_time) if book.HasField("update_time") else None,
    )


def time_of(time: Timestamp) -> datetime:
    """In UTC, to the microsecond."""
    return _EPOCH + timedelta(seconds=time.seconds, microseconds=time.nanos // 1_000)


def _date_of(date: book_pb2.Date) -> Date:
    return Date(year=date.year, month=date.month, day=date.day)
