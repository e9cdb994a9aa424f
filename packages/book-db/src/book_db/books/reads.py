"""Reads of books by their ids, through the cache.

What makes them right: a read that starts after a write was answered never sees an older version. `BookReads` keeps this
by two steps after every write, in this order:

1. Detach the look-up that is in flight in PostgreSQL for the book. It may have begun before the write, so no later
   reader may share it.
2. Tell the cache. From now on a reader finds the new version there, or nothing.
"""

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from book_runtime.batching import IDLE_TURNS, BatchLoader

from book_db.book import Book
from book_db.books import statements
from book_db.books.cache import Cache, Hit, Miss
from book_db.errors import BookNotFound, BooksNotFound
from book_db.postgres.database import Reader, retry_read

_ID_MAX: Final = 2**63 - 1

_MAX_BATCH: Final = 500
"""Books in one look-up: 6 MB of the longest, which Redis sends well within its timeout."""

_MAX_CONCURRENT: Final = 2
"""Look-ups in PostgreSQL at a time. A look-up of one book costs half as much of this process as one of thirty, so under
load few large ones are best. With two, a quick one need not wait for a slow one.
"""


class BookReads:
    """Reads books by id, and takes in what `Catalogue` has written."""

    def __init__(self, reader: Reader, cache: Cache) -> None:
        """``reader`` is where books are read that the cache does not hold."""
        self._reader = reader
        self._cache = cache
        self._cached = BatchLoader(cache.get, max_batch=_MAX_BATCH, max_concurrent=1, idle_turns=IDLE_TURNS)
        self._stored = BatchLoader(
            self._fetch, max_batch=_MAX_BATCH, max_concurrent=_MAX_CONCURRENT, idle_turns=IDLE_TURNS
        )

    async def get(self, book_id: int) -> Book:
        """The book with this id. Raises BookNotFound."""
        return Book.from_json(await self.get_json(book_id))

    async def get_json(self, book_id: int) -> bytes:
        """The JSON of the book with this id, as it stands in the cache. Raises BookNotFound."""
        refuse_impossible(book_id)
        answer = await self._cached.load(book_id)
        if isinstance(answer, Hit):
            json = answer.json
        else:
            json = await self._stored.load(book_id, share_in_flight=_may_share(answer))
        if json is None:
            raise BookNotFound(book_id)
        return json

    async def get_many(self, book_ids: Sequence[int]) -> list[Book]:
        """The books with these ids, all or none, in the same order. Raises BooksNotFound, which names every one."""
        possible = {book_id for book_id in book_ids if _is_possible(book_id)}
        jsons = await self._jsons(possible)
        books = {book_id: Book.from_json(json) for book_id, json in jsons.items() if json is not None}
        if missing := [book_id for book_id in dict.fromkeys(book_ids) if book_id not in books]:
            raise BooksNotFound(missing)
        return [books[book_id] for book_id in book_ids]

    async def added(self, books: Sequence[Book]) -> None:
        """Takes in books that were added."""
        for book in books:
            self._stored.detach(book.id)
        # No cache holds an older version of a new book, so nothing is pending for one that cannot be told now.
        await self._cache.fill(books, read_at=time.monotonic())

    async def wrote(self, book: Book) -> None:
        """Takes in a book that was changed."""
        self._stored.detach(book.id)
        await self._cache.put(book)

    async def removed(self, book: Book) -> None:
        """Takes in that a book was removed; ``book`` carries the version that the removal took."""
        self._stored.detach(book.id)
        await self._cache.put_tombstone(book)

    async def uncertain(self, book_id: int) -> None:
        """Takes in a write that may have been committed or not."""
        self._stored.detach(book_id)
        await self._cache.invalidate(book_id)

    async def _jsons(self, book_ids: Collection[int]) -> dict[int, bytes | None]:
        answers = await self._cached.load_many(book_ids)
        known = {book_id: answer.json for book_id, answer in answers.items() if isinstance(answer, Hit)}
        misses = {book_id: answer for book_id, answer in answers.items() if isinstance(answer, Miss)}
        # One look-up for all of them, so all must be free to share it.
        share_in_flight = all(map(_may_share, misses.values()))
        return known | await self._stored.load_many(misses, share_in_flight=share_in_flight)

    @retry_read
    async def _fetch(self, book_ids: Collection[int]) -> Mapping[int, bytes | None]:
        read_at = time.monotonic()
        rows = await self._reader.fetch(statements.BY_IDS, {"book_ids": list(book_ids)})
        books = [Book(*row) for row in rows]
        await self._cache.fill(books, read_at=read_at)
        return dict.fromkeys(book_ids) | {book.id: book.to_json() for book in books}


def refuse_impossible(book_id: int) -> None:
    """Raises BookNotFound for an id that no book can have."""
    if not _is_possible(book_id):
        raise BookNotFound(book_id)


def _is_possible(book_id: int) -> bool:
    # PostgreSQL would refuse the whole look-up, and with it the books that others wait for.
    return 0 < book_id <= _ID_MAX


def _may_share(miss: Miss) -> bool:
    """Whether a look-up that is already in flight is fresh enough after this miss.

    A writer tells the cache before it answers. So a cache that was asked, and has no entry, shows that no write has
    been answered which that look-up could have missed. Without a cache nothing shows it: only a new look-up will do.
    """
    return miss.cache_available
