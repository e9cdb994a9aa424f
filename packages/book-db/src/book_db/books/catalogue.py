"""The catalogue: every way to read and to write books.

A write and its event are one statement, hence one transaction and one round trip: book and outbox row are there
together or not at all. Telling the cache and waking the relay come after the commit.
"""

import asyncio
import time
from collections.abc import Collection, Coroutine, Mapping, Sequence
from typing import Any, Final, TypeVar
from uuid import UUID

from book_runtime.telemetry import current_traceparent
from sqlalchemy import Row, TextClause

from book_db.books import pages, statements
from book_db.books.coalescing import Coalescer
from book_db.books.model import Book, Change, Draft, Page
from book_db.books.words import words_of
from book_db.cache import Cache, Found
from book_db.database import Database, repeat_read, repeat_write
from book_db.errors import BookNotFound, ConnectionLost
from book_db.outbox import OutboxBell

PAGE_SIZE_DEFAULT: Final = 50
PAGE_SIZE_MAX: Final = 1_000

_ID_MAX: Final = 2**63 - 1

R = TypeVar("R")


class Catalogue:
    """The books. ``actor`` is always the id of the user who writes, and goes into the event."""

    def __init__(self, database: Database, cache: Cache, bell: OutboxBell) -> None:
        self._database = database
        self._cache = cache
        self._bell = bell
        self._cached = Coalescer(cache.get)
        self._stored = Coalescer(self._fetch)
        self._writes: set[asyncio.Task[Any]] = set()

    async def close(self) -> None:
        """Until the writes whose callers have given up are done."""
        await asyncio.gather(*self._writes, return_exceptions=True)

    async def get(self, book_id: int) -> Book:
        """The book with this id. Raises BookNotFound."""
        return Book.from_json(await self.get_json(book_id))

    async def get_json(self, book_id: int) -> bytes:
        """The JSON of the book with this id, as it stands in the cache. Raises BookNotFound."""
        _refuse_impossible(book_id)
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

    @repeat_read
    async def page(self, size: int = PAGE_SIZE_DEFAULT, token: str | None = None) -> Page:
        """At most ``size`` books by ascending id, 1,000 at the very most. Raises InvalidPageToken."""
        size = max(1, min(size, PAGE_SIZE_MAX))
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
        return await self._to_the_end(self._add(drafts, actor))

    async def replace(self, book_id: int, draft: Draft, actor: UUID) -> Book:
        """Writes every field of a book anew. Raises BookNotFound."""
        return await self.change(book_id, Change(draft.title, draft.author, draft.publication_date), actor)

    async def change(self, book_id: int, change: Change, actor: UUID) -> Book:
        """Writes some fields of a book. Raises BookNotFound."""
        return await self._to_the_end(self._change(book_id, change, actor))

    async def remove(self, book_id: int, actor: UUID) -> None:
        """Takes a book out of the catalogue. Raises BookNotFound."""
        await self._to_the_end(self._remove(book_id, actor))

    async def _to_the_end(self, write: Coroutine[Any, Any, R]) -> R:
        # A caller that gives up between the commit and the cache must not leave the older version in the cache.
        task = asyncio.create_task(write)
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
        return await asyncio.shield(task)

    async def _add(self, drafts: Sequence[Draft], actor: UUID) -> list[Book]:
        rows = await self._write(
            statements.ADD,
            actor,
            titles=[draft.title for draft in drafts],
            authors=[draft.author for draft in drafts],
            dates=[draft.publication_date for draft in drafts],
            title_words=[" ".join(words_of(draft.title)) for draft in drafts],
            author_words=[" ".join(words_of(draft.author)) for draft in drafts],
        )
        books = sorted((_book(row) for row in rows), key=lambda book: book.id)
        for book in books:
            self._stored.part(book.id)
        # No cache holds an older version of a new book, so nothing is owed to one that cannot be told now.
        await self._cache.fill(books, read_at=time.monotonic())
        return books

    async def _change(self, book_id: int, change: Change, actor: UUID) -> Book:
        book = await self._write_one(
            statements.CHANGE,
            book_id,
            actor,
            title=change.title,
            author=change.author,
            publication_date=change.publication_date,
            title_words=change.title and words_of(change.title),
            author_words=change.author and words_of(change.author),
        )
        await self._cache.put(book)
        return book

    async def _remove(self, book_id: int, actor: UUID) -> None:
        await self._cache.bury(await self._write_one(statements.REMOVE, book_id, actor))

    async def _write_one(self, statement: TextClause, book_id: int, actor: UUID, **values: object) -> Book:
        _refuse_impossible(book_id)
        try:
            rows = await self._write(statement, actor, book_id=book_id, **values)
        except ConnectionLost:
            # It may have been committed all the same.
            self._stored.part(book_id)
            await self._cache.forget(book_id)
            raise
        if not rows:
            raise BookNotFound(book_id)
        self._stored.part(book_id)
        return _book(rows[0])

    @repeat_write
    async def _write(self, statement: TextClause, actor: UUID, **values: object) -> Sequence[Row[*tuple[Any, ...]]]:
        values |= {"actor": actor, "traceparent": current_traceparent()}
        async with self._database.statement() as connection:
            rows = (await connection.execute(statement, values)).all()
        self._bell.ring()
        return rows

    @repeat_read
    async def _fetch(self, book_ids: Collection[int]) -> Mapping[int, bytes | None]:
        read_at = time.monotonic()
        async with self._database.statement() as connection:
            rows = (await connection.execute(statements.BY_IDS, {"book_ids": list(book_ids)})).all()
        books = [_book(row) for row in rows]
        await self._cache.fill(books, read_at=read_at)
        return dict.fromkeys(book_ids) | {book.id: book.to_json() for book in books}


def _book(row: Row[*tuple[Any, ...]]) -> Book:
    return Book(*row)


def _refuse_impossible(book_id: int) -> None:
    # PostgreSQL would refuse the whole look-up, and with it the books that others wait for.
    if not 0 < book_id <= _ID_MAX:
        raise BookNotFound(book_id)
