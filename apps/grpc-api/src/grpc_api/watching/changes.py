"""What watchers are sent: each change is made into bytes once, however many watch."""

from typing import Final, NamedTuple

from book_contracts.filling import write_date, write_time
from book_db.event_log import Entry, Recorded
from books.v1 import book_event_pb2
from books.v1.book_service_pb2 import WatchBooksResponse

_KINDS: Final = {
    "created": book_event_pb2.BOOK_EVENT_KIND_CREATED,
    "updated": book_event_pb2.BOOK_EVENT_KIND_UPDATED,
    "deleted": book_event_pb2.BOOK_EVENT_KIND_DELETED,
}


class Change(NamedTuple):
    """A change, and the response that tells of it."""

    position: int
    entry: Entry
    response: bytes


def change_of(recorded: Recorded) -> Change:
    response = WatchBooksResponse(position=recorded.position)
    _write_event(recorded.entry, response.event)
    return Change(recorded.position, recorded.entry, response.SerializeToString())


def reached(position: int) -> bytes:
    """The response that tells only how far the stream has come."""
    return WatchBooksResponse(position=position).SerializeToString()


def _write_event(entry: Entry, event: book_event_pb2.BookEvent) -> None:
    event.id = str(entry.event_id)
    event.kind = _KINDS[entry.kind]
    event.actor = entry.actor
    write_time(entry.occurred_at, event.time)
    book = event.book
    book.id = entry.book_id
    book.title = entry.title
    book.author = entry.author
    book.version = entry.version
    write_date(entry.publication_date, book.publication_date)
    if entry.created_at and entry.updated_at:
        write_time(entry.created_at, book.create_time)
        write_time(entry.updated_at, book.update_time)
