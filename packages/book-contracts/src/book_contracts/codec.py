"""Books and events to and from protobuf's own classes: the one place where their fields are listed for the contract.

Messages are filled in place, which takes a third of the time of making messages and putting them together.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Final, Protocol, TypeVar
from uuid import UUID

from books.v1 import book_event_pb2, book_pb2
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

B = TypeVar("B")
E = TypeVar("E")

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

KINDS: Final = {
    "created": book_event_pb2.BOOK_EVENT_KIND_CREATED,
    "updated": book_event_pb2.BOOK_EVENT_KIND_UPDATED,
    "deleted": book_event_pb2.BOOK_EVENT_KIND_DELETED,
}
_NAMES: Final = {kind: name for name, kind in KINDS.items()}


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
    def created_at(self) -> datetime | None: ...
    @property
    def updated_at(self) -> datetime | None: ...


class BookEvent(Protocol):
    """What the contract tells of an event."""

    @property
    def id(self) -> UUID: ...
    @property
    def kind(self) -> str: ...
    @property
    def actor(self) -> str: ...
    @property
    def occurred_at(self) -> datetime: ...
    @property
    def book(self) -> Book: ...


def write_book(book: Book, message: book_pb2.Book) -> None:
    """Fills an empty message. Times that are None stay absent, as in events of a release that knew neither."""
    message.id = book.id
    message.title = book.title
    message.author = book.author
    message.version = book.version
    write_date(book.publication_date, message.publication_date)
    if book.created_at is not None:
        write_time(book.created_at, message.create_time)
    if book.updated_at is not None:
        write_time(book.updated_at, message.update_time)


def read_book(message: book_pb2.Book, make: Callable[..., B]) -> B:
    """What ``make`` gives for the fields of `Book`, by name.

    Raises ValueError and OverflowError when the message is not what the contract says.
    """
    if message.id < 1 or message.version < 1:
        raise ValueError("the event's book has no id or no version")
    day = message.publication_date
    return make(
        id=message.id,
        title=message.title,
        author=message.author,
        publication_date=date(day.year, day.month, day.day),
        version=message.version,
        created_at=message.create_time.ToDatetime(tzinfo=UTC) if message.HasField("create_time") else None,
        updated_at=message.update_time.ToDatetime(tzinfo=UTC) if message.HasField("update_time") else None,
    )


def write_event(event: BookEvent, message: book_event_pb2.BookEvent) -> None:
    """Fills an empty message. Raises ValueError when the contract has no place for the event's kind."""
    if event.kind not in KINDS:
        raise ValueError(f"this release knows no event of the kind {event.kind!r}")
    message.id = str(event.id)
    message.kind = KINDS[event.kind]
    message.actor = event.actor
    write_time(event.occurred_at, message.time)
    write_book(event.book, message.book)


def read_event(body: bytes, make: Callable[..., E], make_book: Callable[..., object]) -> E | None:
    """What ``make`` gives for the fields of `BookEvent`, by name; None for a kind that is newer than this release.

    Raises ValueError when the body is not what the contract says.
    """
    try:
        return _event_of(book_event_pb2.BookEvent.FromString(body), make, make_book)
    except (DecodeError, OverflowError) as error:
        raise ValueError(str(error)) from error


def write_date(day: date, message: book_pb2.Date) -> None:
    message.year = day.year
    message.month = day.month
    message.day = day.day


def write_time(time: datetime, message: Timestamp) -> None:
    since = time - _EPOCH
    message.seconds = since.days * 86_400 + since.seconds
    message.nanos = since.microseconds * 1_000


def _event_of(event: book_event_pb2.BookEvent, make: Callable[..., E], make_book: Callable[..., object]) -> E | None:
    event_id = _uuid("id", event.id)
    if event.kind not in _NAMES:
        return None
    if not (event.HasField("time") and event.HasField("book")):
        raise ValueError("the event has no time or no book")
    return make(
        id=event_id,
        kind=_NAMES[event.kind],
        actor=str(_uuid("actor", event.actor)),
        occurred_at=event.time.ToDatetime(tzinfo=UTC),
        book=read_book(event.book, make_book),
    )


def _uuid(field: str, text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise ValueError(f"the event's {field} is not a UUID") from None
