"""What watchers are sent: each change is made into bytes once, however many watch."""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

from book_contracts.filling import write_date, write_time
from book_db.accounts.authentication import Caller
from book_db.events.log import Entry
from book_db.roles import Role
from books.v1 import book_event_pb2
from books.v1.book_service_pb2 import WatchBooksResponse

_KINDS: Final = {
    "created": book_event_pb2.BOOK_EVENT_KIND_CREATED,
    "updated": book_event_pb2.BOOK_EVENT_KIND_UPDATED,
    "deleted": book_event_pb2.BOOK_EVENT_KIND_DELETED,
}


@dataclass(frozen=True)
class WatchMessage:
    """A change, and the responses that tell of it."""

    position: int
    entry: Entry

    @cached_property
    def response(self) -> bytes:
        """For those who may know who made it."""
        return _response(self.position, self.entry)

    def response_for(self, caller: Caller | None) -> bytes:
        """What a caller is told, None being anybody: who made it only editors and admins are, and whoever it was."""
        if caller is not None and (caller.role is not Role.READER or str(caller.user_id) == self.entry.actor):
            return self.response
        return self._response_without_the_actor

    @cached_property
    def _response_without_the_actor(self) -> bytes:
        return _response(self.position, self.entry._replace(actor=""))


def _response(position: int, entry: Entry) -> bytes:
    response = WatchBooksResponse(position=position)
    _write_event(entry, response.event)
    return response.SerializeToString()


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
