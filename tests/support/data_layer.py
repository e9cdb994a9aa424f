"""What the tests of the data layer have in common: makers of data, and the types of their fixtures."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, date, datetime
from typing import Any, LiteralString
from unittest.mock import patch
from uuid import uuid4

from book_db.book import Book, Draft
from book_db.events.model import BookEvent
from book_db.postgres.database import Database
from msgspec.structs import replace
from sqlalchemy import event

Query = Callable[..., list[tuple[Any, ...]]]
"""Sends SQL past the data layer and returns the rows."""

StatementsOf = Callable[[Database], AbstractContextManager[list[str]]]
"""Gathers the SQL that is sent through a database in the block."""


def a_draft(
    title: str = "Middlemarch", author: str = "George Eliot", publication_date: date = date(1871, 1, 1)
) -> Draft:
    """A book to be added, of which a test says only what matters."""
    return Draft(title, author, publication_date)


def an_event(book_id: int = 1, version: int = 1, **changed: Any) -> BookEvent:
    """An event of the log, of which a test says only what matters: a field of the event, or one of its book."""
    made = datetime(2026, 11, 23, 12, 0, 0, 123456, UTC)
    of_event = {name: changed.pop(name) for name in BookEvent._fields if name in changed}
    book = Book(book_id, "Emma", "Jane Austen", date(1815, 12, 23), version, made, made)
    event = BookEvent(uuid4(), "created" if version == 1 else "updated", str(uuid4()), made, replace(book, **changed))
    return event._replace(**of_event)


@contextmanager
def statements_sent_to(database: Database) -> Iterator[list[str]]:
    """Gathers the SQL that is sent in the block."""
    sent: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        sent.append(statement)

    fetch = database.fetch

    async def noted_fetch(query: LiteralString, values: Mapping[str, object], **how: bool) -> list[tuple[Any, ...]]:
        sent.append(query)
        return await fetch(query, values, **how)

    event.listen(database.engine.sync_engine, "before_cursor_execute", note)
    with patch.object(database, "fetch", noted_fetch):
        try:
            yield sent
        finally:
            event.remove(database.engine.sync_engine, "before_cursor_execute", note)
