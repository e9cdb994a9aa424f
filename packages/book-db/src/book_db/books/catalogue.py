"""The catalogue: every way to read and to write books.

A write and its event are one statement, hence one transaction and one round trip: book and outbox row are there
together or not at all. Telling the cache and waking the relay come after the commit.
"""

import asyncio
import time
from collections.abc import Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, LiteralString, TypeVar
from uuid import UUID

import msgspec
import psycopg
from book_runtime.batching import IDLE_TURNS, BatchLoader, WriteBatcher
from book_runtime.telemetry import current_traceparent
from psycopg.errors import UniqueViolation

from book_db.book import ANY_VERSION, Added, Book, BookPatch, Draft, Page, Precondition
from book_db.books import finding, statements
from book_db.books.cache import Cache, Hit, Miss
from book_db.books.idempotency import IdempotencyKey, IdempotencyKeys, is_taken
from book_db.books.selection import BY_ID, EVERYTHING, Order, Selection
from book_db.books.words import words_of
from book_db.errors import BatchTooLarge, BookNotFound, BooksNotFound, ConnectionLost, SafeToRepeat, VersionMismatch
from book_db.events.outbox import OutboxNotifier
from book_db.postgres.database import Database, Reader, retry_read, retry_write

PAGE_SIZE_DEFAULT: Final = 50
PAGE_SIZE_MAX: Final = 1_000

_ID_MAX: Final = 2**63 - 1

_TOGETHER: Final = 500
"""Books that are looked up together: 6 MB of the longest, which Redis sends well within the time it is given."""

STATEMENT_MAX: Final = 2 * 2**20
"""Bytes of books, with the words that they are found by, in one statement: a thousand of 2 KiB each. PostgreSQL indexes
the words of so much in a second or two, and gives up after ten (`Settings.statement_timeout`).
"""

_LOOK_UPS: Final = 2
"""Those in PostgreSQL at a time; in Redis it is one. A look-up of one book costs half as much of this process as one
of thirty, so under load many go together; a second one passes by the first should that take long.
"""

R = TypeVar("R")

_json: Final = msgspec.json.Encoder()

_Rows = Sequence[tuple[Any, ...]]


class Catalogue:
    """The books. ``actor`` is always the id of the user who writes, and goes into the event."""

    def __init__(self, database: Database, cache: Cache, notifier: OutboxNotifier, reads: Reader | None = None) -> None:
        """``reads`` is where books are read, if not from ``database``."""
        self._database = database
        self._reads = reads or database
        self._cache = cache
        self._notifier = notifier
        self._cached = BatchLoader(cache.get, max_batch=_TOGETHER, max_concurrent=1, idle_turns=IDLE_TURNS)
        self._stored = BatchLoader(self._fetch, max_batch=_TOGETHER, max_concurrent=_LOOK_UPS, idle_turns=IDLE_TURNS)
        # Two, so that one writes while the other waits for the disk.
        self._additions = WriteBatcher(
            self._add_together,
            max_batch=_TOGETHER,
            max_concurrent=2,
            idle_turns=IDLE_TURNS,
            weigh=_share_of_statement,
            isolate_errors=(psycopg.Error,),
        )
        self._keys = IdempotencyKeys(database)
        self._writes: set[asyncio.Task[Any]] = set()

    async def close(self) -> None:
        """Until the writes whose callers have given up are done."""
        await asyncio.gather(self._additions.close(), *self._writes, return_exceptions=True)

    async def get(self, book_id: int) -> Book:
        """The book with this id. Raises BookNotFound."""
        return Book.from_json(await self.get_json(book_id))

    async def get_json(self, book_id: int) -> bytes:
        """The JSON of the book with this id, as it stands in the cache. Raises BookNotFound."""
        _refuse_impossible(book_id)
        answer = await self._cached.load(book_id)
        if isinstance(answer, Hit):
            json = answer.json
        else:
            # A cache that was asked and knew nothing shows that no newer version had been answered to a writer,
            # so a look-up that is under way is fresh enough. Without a cache only a new one is.
            json = await self._stored.load(book_id, share_in_flight=answer.cache_available)
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

    async def _jsons(self, book_ids: Collection[int]) -> dict[int, bytes | None]:
        answers = await self._cached.load_many(book_ids)
        known = {book_id: answer.json for book_id, answer in answers.items() if isinstance(answer, Hit)}
        missed = {book_id: answer for book_id, answer in answers.items() if isinstance(answer, Miss)}
        # As for a single one. They are asked for together, so the strictest of the answers holds for all.
        asked = all(answer.cache_available for answer in missed.values())
        return known | await self._stored.load_many(missed, share_in_flight=asked)

    @retry_read
    async def page(
        self,
        size: int = PAGE_SIZE_DEFAULT,
        token: str | None = None,
        selection: Selection = EVERYTHING,
        order: Order = BY_ID,
    ) -> Page:
        """At most ``size`` books of a selection, in order, 1,000 at the very most.

        Raises InvalidPageToken when the token was not given for this selection in this order.
        """
        return await finding.page(self._reads, selection, order, max(1, min(size, PAGE_SIZE_MAX)), token)

    @retry_read
    async def count(self, selection: Selection = EVERYTHING) -> int:
        """How many books are in a selection. Goes through all of them."""
        return await finding.count(self._reads, selection)

    @retry_read
    async def estimate(self, selection: Selection = EVERYTHING) -> int:
        """About how many books are in a selection, at least one, from PostgreSQL's statistics."""
        return await finding.estimate(self._reads, selection)

    async def add(self, draft: Draft, actor: UUID) -> Book:
        """Puts a new book into the catalogue. Those that are put there at the same time are committed together."""
        return await self._additions.load(_addition(draft, actor, current_traceparent()))

    async def add_many(self, drafts: Sequence[Draft], actor: UUID) -> list[Book]:
        """Puts new books into the catalogue, all or none, and returns them in the same order. Raises BatchTooLarge."""
        return await self._shielded(self._add(drafts, actor))

    async def add_once(self, drafts: Sequence[Draft], actor: UUID, key: IdempotencyKey) -> Added:
        """As ``add_many``, but only once for each key of the actor: the second time, what was added the first time.

        Raises IdempotencyKeyReused when the first time it was something else, and BatchTooLarge. Whatever of
        DatabaseUnavailable it raises, SafeToRepeat included, it may be called again with the same key.
        """
        try:
            return await self._shielded(self._add_once(drafts, actor, key))
        except ConnectionLost as error:
            raise SafeToRepeat from error

    async def replace(self, book_id: int, draft: Draft, actor: UUID, condition: Precondition = ANY_VERSION) -> Book:
        """Writes every field of a book anew. Raises BookNotFound and VersionMismatch."""
        return await self.change(
            book_id, BookPatch(draft.title, draft.author, draft.publication_date), actor, condition
        )

    async def change(self, book_id: int, patch: BookPatch, actor: UUID, condition: Precondition = ANY_VERSION) -> Book:
        """Writes some fields of a book. Raises BookNotFound and VersionMismatch."""
        return await self._shielded(self._change(book_id, patch, actor, condition))

    async def remove(self, book_id: int, actor: UUID, condition: Precondition = ANY_VERSION) -> None:
        """Takes a book out of the catalogue. Raises BookNotFound and VersionMismatch."""
        await self._shielded(self._remove(book_id, actor, condition))

    async def _shielded(self, write: Coroutine[Any, Any, R]) -> R:
        # A caller that gives up between the commit and the cache must not leave the older version in the cache.
        task = asyncio.create_task(write)
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
        return await asyncio.shield(task)

    async def _add(self, drafts: Sequence[Draft], actor: UUID) -> list[Book]:
        return await self._added(await self._write(statements.ADD, drafts=await _together(drafts, actor)))

    async def _add_together(self, additions: Collection["_Addition"]) -> dict["_Addition", Book]:
        books = await self._added(await self._write(statements.ADD, drafts=_joined(additions)))
        return dict(zip(additions, books, strict=True))

    async def _add_once(self, drafts: Sequence[Draft], actor: UUID, key: IdempotencyKey) -> Added:
        if not drafts:
            return Added([], replayed=False)
        together = await _together(drafts, actor)
        once = {"actor": actor, "key": key.name, "fingerprint": key.fingerprint(drafts)}
        while not (rows := await self._write_once(**once, drafts=together)):
            if remembered := await self._keys.find(actor, key.name):
                return Added(remembered.books(key, drafts), replayed=True)
            await self._keys.forget_expired(actor, key.name)
        return Added(await self._added(rows), replayed=False)

    async def _added(self, rows: _Rows) -> list[Book]:
        books = sorted((_book(row) for row in rows), key=lambda book: book.id)
        for book in books:
            self._stored.detach(book.id)
        # No cache holds an older version of a new book, so nothing is owed to one that cannot be told now.
        await self._cache.fill(books, read_at=time.monotonic())
        return books

    async def _change(self, book_id: int, patch: BookPatch, actor: UUID, condition: Precondition) -> Book:
        book = await self._write_one(
            statements.CHANGE,
            book_id,
            actor,
            condition,
            title=patch.title,
            author=patch.author,
            publication_date=patch.publication_date,
            title_words=patch.title and words_of(patch.title),
            author_words=patch.author and words_of(patch.author),
        )
        await self._cache.put(book)
        return book

    async def _remove(self, book_id: int, actor: UUID, condition: Precondition) -> None:
        await self._cache.put_tombstone(await self._write_one(statements.REMOVE, book_id, actor, condition))

    async def _write_one(
        self, statement: LiteralString, book_id: int, actor: UUID, condition: Precondition, **values: object
    ) -> Book:
        _refuse_impossible(book_id)
        versions = None if condition.versions is None else list(condition.versions)
        values |= {"book_id": book_id, "versions": versions, "excluded_versions": list(condition.excluded_versions)}
        values |= {"actor": actor, "traceparent": current_traceparent()}
        try:
            rows = await self._write(statement, **values)
        except ConnectionLost:
            # It may have been committed all the same.
            self._stored.detach(book_id)
            await self._cache.invalidate(book_id)
            raise
        if not rows:
            raise await self._why_not_written(book_id)
        self._stored.detach(book_id)
        return _book(rows[0])

    @retry_read
    async def _why_not_written(self, book_id: int) -> BookNotFound | VersionMismatch:
        rows = await self._database.fetch(statements.VERSION, {"book_id": book_id})
        return VersionMismatch(book_id, rows[0][0]) if rows else BookNotFound(book_id)

    @retry_read  # since the key makes it as safe as a read
    async def _write_once(self, **values: object) -> _Rows:
        """What was written; nothing where the key is known, or somebody else has just written with it."""
        try:
            return await self._send(statements.ADD_ONCE, **values)
        except UniqueViolation as error:
            if is_taken(error):
                return []
            raise

    @retry_write
    async def _write(self, statement: LiteralString, **values: object) -> _Rows:
        return await self._send(statement, **values)

    async def _send(self, statement: LiteralString, **values: object) -> _Rows:
        rows = await self._database.fetch(statement, values)
        if rows:
            self._notifier.notify()
        return rows

    @retry_read
    async def _fetch(self, book_ids: Collection[int]) -> Mapping[int, bytes | None]:
        read_at = time.monotonic()
        rows = await self._reads.fetch(statements.BY_IDS, {"book_ids": list(book_ids)})
        books = [_book(row) for row in rows]
        await self._cache.fill(books, read_at=read_at)
        return dict.fromkeys(book_ids) | {book.id: book.to_json() for book in books}


@dataclass(frozen=True, slots=True, eq=False)
class _Addition:
    """A book to be added, and in whose name. Each is another one, whatever is in it."""

    json: bytes
    """As JSON, since psycopg writes arrays value by value in Python (docs/decisions/0024)."""


def _addition(draft: Draft, actor: UUID, traceparent: str | None) -> _Addition:
    return _Addition(
        _json.encode(
            {
                "title": draft.title,
                "author": draft.author,
                "publication_date": draft.publication_date,
                "title_words": words_of(draft.title),
                "author_words": words_of(draft.author),
                "actor": actor,
                "traceparent": traceparent,
            }
        )
    )


def _share_of_statement(addition: _Addition) -> int:
    """For how many of those that may be added together it counts."""
    return -(-len(addition.json) * _TOGETHER // STATEMENT_MAX)


async def _together(drafts: Sequence[Draft], actor: UUID) -> str:
    """Beside the event loop: the words of many books take tenths of a second. Raises BatchTooLarge."""
    return await asyncio.to_thread(_all_or_none, drafts, actor, current_traceparent())


def _all_or_none(drafts: Sequence[Draft], actor: UUID, traceparent: str | None) -> str:
    additions, size = [], 0
    for draft in drafts:
        addition = _addition(draft, actor, traceparent)
        additions.append(addition)
        size += len(addition.json)
        if size > STATEMENT_MAX:
            raise BatchTooLarge(len(additions) - 1, STATEMENT_MAX)
    return _joined(additions)


def _joined(additions: Collection[_Addition]) -> str:
    return f"[{b','.join(addition.json for addition in additions).decode()}]"


def _book(row: tuple[Any, ...]) -> Book:
    return Book(*row)


def _refuse_impossible(book_id: int) -> None:
    if not _is_possible(book_id):
        raise BookNotFound(book_id)


def _is_possible(book_id: int) -> bool:
    # PostgreSQL would refuse the whole look-up, and with it the books that others wait for.
    return 0 < book_id <= _ID_MAX
