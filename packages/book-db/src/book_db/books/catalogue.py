"""The catalogue: every way to read and to write books.

A write and its event are one statement, hence one transaction and one round trip: book and outbox row are there
together or not at all. Telling the cache and waking the relay come after the commit.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from book_runtime.retry import retry
from book_runtime.telemetry import current_traceparent
from sqlalchemy import Row

from book_db.books import pages, statements
from book_db.books.coalescing import Coalescer
from book_db.books.model import Book, Change, Draft, Page
from book_db.cache import Cache, Found
from book_db.database import Database
from book_db.errors import BookNotFound, DatabaseUnavailable, NotCommitted
from book_db.outbox import OutboxBell

PAGE_SIZE_DEFAULT: Final = 50
PAGE_SIZE_MAX: Final = 1_000

_reading = retry(times=2, delay=0.05, backoff=4, exceptions=DatabaseUnavailable)
_writing = retry(times=2, delay=0.05, backoff=4, exceptions=NotCommitted)
"""A read may always be repeated, a write only where it is certain that nothing was committed."""


class Catalogue:
    """The books. ``actor`` is always the id of the user who writes, and goes into the event."""

    def __init__(self, database: Database, cache: Cache, bell: OutboxBell) -> None:
        self._database = database
        self._cache = cache
        self._bell = bell
        self._cached = Coalescer(cache.get)
        self._stored = Coalescer(self._fetch)

    async def get(self, book_id: int) -> Book:
        """The book with this id. Raises BookNotFound."""
        return Book.from_json(await self.get_json(book_id))

    async def get_json(self, book_id: int) -> bytes:
        """The JSON of the book with this id, as it stands in the cache. Raises BookNotFound."""
        answer = await self._cached.load(book_id)
        if isinstance(answer, Found):
            json = answer.json
        else:
            # A cache that was asked and knew nothing shows that no newer version had been answered to a writer,
            # so a look-up that is under way is fresh enough. Without a cache only a new one is.
            json = await self._stored.load(book_id, join=answer.asked)
        if json is None:
            raise BookNotFound(book_id)
        return json

    @_reading
    async def page(self, size: int = PAGE_SIZE_DEFAULT, token: str | None = None) -> Page:
        """At most ``size`` books by ascending id, 1,000 at the very most. Raises InvalidPageToken."""
        size = min(size, PAGE_SIZE_MAX)
        after = pages.decode(token) if token else 0
        async with self._database.statement() as connection:
            rows = (await connection.execute(statements.PAGE, {"after": after, "at_most": size + 1})).all()
        books = [_book(row) for row in rows[:size]]
        return Page(books, pages.encode(books[-1].id) if len(rows) > size else None)

    async def add(self, draft: Draft, actor: UUID) -> Book:
        """Puts a new book into the catalogue."""
        [book] = await self.add_many([draft], actor)
        return book

    async def add_many(self, drafts: Sequence[Draft], actor: UUID) -> list[Book]:
        """Puts new books into the catalogue, all or none, and returns them in the same order."""
        rows = await self._write(
            statements.ADD,
            actor,
            titles=[draft.title for draft in drafts],
            authors=[draft.author for draft in drafts],
            dates=[draft.publication_date for draft in drafts],
        )
        books = sorted((_book(row) for row in rows), key=lambda book: book.id)
        await self._cache.put(books)
        return books

    async def replace(self, book_id: int, draft: Draft, actor: UUID) -> Book:
        """Writes every field of a book anew. Raises BookNotFound."""
        return await self.change(book_id, Change(draft.title, draft.author, draft.publication_date), actor)

    async def change(self, book_id: int, change: Change, actor: UUID) -> Book:
        """Writes some fields of a book. Raises BookNotFound."""
        rows = await self._write(
            statements.CHANGE,
            actor,
            book_id=book_id,
            title=change.title,
            author=change.author,
            publication_date=change.publication_date,
        )
        book = self._the_one(book_id, rows)
        await self._cache.put([book])
        return book

    async def remove(self, book_id: int, actor: UUID) -> None:
        """Takes a book out of the catalogue. Raises BookNotFound."""
        rows = await self._write(statements.REMOVE, actor, book_id=book_id)
        await self._cache.bury(self._the_one(book_id, rows))

    @_writing
    async def _write(self, statement: Any, actor: UUID, **values: object) -> Sequence[Row[*tuple[Any, ...]]]:
        values |= {"actor": actor, "traceparent": current_traceparent()}
        async with self._database.statement() as connection:
            rows = (await connection.execute(statement, values)).all()
        self._bell.ring()
        return rows

    def _the_one(self, book_id: int, rows: Sequence[Row[*tuple[Any, ...]]]) -> Book:
        if not rows:
            raise BookNotFound(book_id)
        self._stored.part(book_id)
        return _book(rows[0])

    @_reading
    async def _fetch(self, book_ids: Collection[int]) -> Mapping[int, bytes | None]:
        async with self._database.statement() as connection:
            rows = await connection.execute(statements.BY_IDS, {"book_ids": list(book_ids)})
        books = [_book(row) for row in rows]
        await self._cache.fill(books)
        return dict.fromkeys(book_ids) | {book.id: book.to_json() for book in books}


def _book(row: Row[*tuple[Any, ...]]) -> Book:
    return Book(*row)
