"""The catalogue: every way to read and to write books, one method for each use case.

A write and its event are one statement, hence one transaction and one round trip: book and outbox row are there
together or not at all. Telling the cache (`reads.py`) and waking the relay come after the commit.
"""

import asyncio
from collections.abc import Collection, Coroutine, Sequence
from typing import Any, Final, LiteralString, TypeVar
from uuid import UUID

import psycopg
from book_runtime.batching import IDLE_TURNS, WriteBatcher
from book_runtime.tasks import OwnedTasks
from book_runtime.telemetry import current_traceparent
from msgspec.structs import asdict
from psycopg.errors import UniqueViolation

from book_db.book import ANY_VERSION, Added, Book, BookPatch, Draft, Page, Precondition
from book_db.books import additions, finding, statements
from book_db.books.additions import Addition
from book_db.books.cache import Cache
from book_db.books.idempotency import IdempotencyKey, IdempotencyKeys, is_taken
from book_db.books.reads import BookReads, refuse_impossible
from book_db.books.selection import BY_ID, EVERYTHING, Order, Selection
from book_db.books.words import words_by_column
from book_db.errors import BookNotFound, ConnectionLost, SafeToRepeat, VersionMismatch
from book_db.events.outbox import OutboxNotifier
from book_db.postgres.database import Database, Reader, retry_read, retry_write

PAGE_SIZE_DEFAULT: Final = 50
PAGE_SIZE_MAX: Final = 1_000

R = TypeVar("R")

_Rows = Sequence[tuple[Any, ...]]


class Catalogue:
    """The books. ``actor`` is always the id of the user who writes, and goes into the event."""

    def __init__(self, database: Database, cache: Cache, notifier: OutboxNotifier, reads: Reader | None = None) -> None:
        """``reads`` is where books are read, if not from ``database``."""
        self._database = database
        self._reader = reads or database
        self._notifier = notifier
        self._books = BookReads(self._reader, cache)
        # Two, so that one writes while the other waits for the disk.
        self._additions = WriteBatcher(
            self._add_together,
            max_batch=additions.BOOKS_MAX,
            max_concurrent=2,
            idle_turns=IDLE_TURNS,
            weigh=lambda addition: addition.weight,
            isolate_errors=(psycopg.Error,),
        )
        self._keys = IdempotencyKeys(database)
        self._writes = OwnedTasks()

    async def close(self) -> None:
        """Until the writes whose callers have given up are done."""
        await asyncio.gather(self._additions.close(), self._writes.drain())

    async def get(self, book_id: int) -> Book:
        """The book with this id. Raises BookNotFound."""
        return await self._books.get(book_id)

    async def get_json(self, book_id: int) -> bytes:
        """The JSON of the book with this id, as it stands in the cache. Raises BookNotFound."""
        return await self._books.get_json(book_id)

    async def get_many(self, book_ids: Sequence[int]) -> list[Book]:
        """The books with these ids, all or none, in the same order. Raises BooksNotFound, which names every one."""
        return await self._books.get_many(book_ids)

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
        return await finding.page(self._reader, selection, order, max(1, min(size, PAGE_SIZE_MAX)), token)

    @retry_read
    async def count(self, selection: Selection = EVERYTHING) -> int:
        """How many books are in a selection. Goes through all of them."""
        return await finding.count(self._reader, selection)

    @retry_read
    async def estimate(self, selection: Selection = EVERYTHING) -> int:
        """About how many books are in a selection, at least one, from PostgreSQL's statistics."""
        return await finding.estimate(self._reader, selection)

    async def add(self, draft: Draft, actor: UUID) -> Book:
        """Puts a new book into the catalogue. Those that are put there at the same time are committed together."""
        return await self._additions.load(additions.addition_of(draft, actor, current_traceparent()))

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
        return await self.change(book_id, BookPatch.of(draft), actor, condition)

    async def change(self, book_id: int, patch: BookPatch, actor: UUID, condition: Precondition = ANY_VERSION) -> Book:
        """Writes some fields of a book. Raises BookNotFound and VersionMismatch."""
        return await self._shielded(self._change(book_id, patch, actor, condition))

    async def remove(self, book_id: int, actor: UUID, condition: Precondition = ANY_VERSION) -> None:
        """Takes a book out of the catalogue. Raises BookNotFound and VersionMismatch."""
        await self._shielded(self._remove(book_id, actor, condition))

    async def _shielded(self, write: Coroutine[Any, Any, R]) -> R:
        # A caller that gives up between the commit and the cache must not leave the older version in the cache.
        return await asyncio.shield(self._writes.spawn(write))

    async def _add(self, drafts: Sequence[Draft], actor: UUID) -> list[Book]:
        rows = await self._write(statements.ADD, drafts=await additions.all_of(drafts, actor))
        return await self._added(rows)

    async def _add_together(self, books: Collection[Addition]) -> dict[Addition, Book]:
        added = await self._added(await self._write(statements.ADD, drafts=additions.joined(books)))
        return dict(zip(books, added, strict=True))

    async def _add_once(self, drafts: Sequence[Draft], actor: UUID, key: IdempotencyKey) -> Added:
        if not drafts:
            return Added([], replayed=False)
        encoded = await additions.all_of(drafts, actor)
        once = {"actor": actor, "key": key.name, "fingerprint": key.fingerprint(drafts)}
        while not (rows := await self._write_once(**once, drafts=encoded)):
            if remembered := await self._keys.find(actor, key.name):
                return Added(remembered.books(key, drafts), replayed=True)
            await self._keys.forget_expired(actor, key.name)
        return Added(await self._added(rows), replayed=False)

    async def _added(self, rows: _Rows) -> list[Book]:
        books = sorted((Book(*row) for row in rows), key=lambda book: book.id)
        await self._books.added(books)
        return books

    async def _change(self, book_id: int, patch: BookPatch, actor: UUID, condition: Precondition) -> Book:
        values = asdict(patch) | words_by_column(patch)
        book = await self._write_one(statements.CHANGE, book_id, actor, condition, **values)
        await self._books.wrote(book)
        return book

    async def _remove(self, book_id: int, actor: UUID, condition: Precondition) -> None:
        await self._books.removed(await self._write_one(statements.REMOVE, book_id, actor, condition))

    async def _write_one(
        self, statement: LiteralString, book_id: int, actor: UUID, condition: Precondition, **values: object
    ) -> Book:
        refuse_impossible(book_id)
        versions = None if condition.versions is None else list(condition.versions)
        values |= {"book_id": book_id, "versions": versions, "excluded_versions": list(condition.excluded_versions)}
        values |= {"actor": actor, "traceparent": current_traceparent()}
        try:
            rows = await self._write(statement, **values)
        except ConnectionLost:
            await self._books.uncertain(book_id)
            raise
        if not rows:
            raise await self._why_not_written(book_id)
        return Book(*rows[0])

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
