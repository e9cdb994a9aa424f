"""What happened to a book, as it goes from the outbox through the broker into the log."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from msgspec.structs import astuple

from book_db.book import Book


class BookEvent(NamedTuple):
    """One change of one book."""

    id: UUID
    kind: str
    """One of ``book_db.tables.EVENT_KINDS``."""
    actor: str
    """The id of the user who made the change; empty for readers of events who may not know it."""
    occurred_at: datetime
    book: Book
    """As it is after the change; after a deletion as it was last, with the version that the deletion took.

    ``created_at`` and ``updated_at`` are None in an event of a release that knew neither.
    """


COLUMNS: Final = (
    "event_id",
    *BookEvent._fields[1:-1],
    *("book_id" if field == "id" else field for field in Book.__struct_fields__),
)
"""The columns of an event, in the outbox as in the log."""


def row_of(event: BookEvent) -> dict[str, object]:
    return dict(zip(COLUMNS, (*event[:-1], *astuple(event.book)), strict=True))


def event_of(row: Sequence[Any]) -> BookEvent:
    """From the values of ``COLUMNS``, in their order."""
    event_id, kind, actor, occurred_at, *book = row
    return BookEvent(event_id, kind, str(actor), occurred_at, Book(*book))
