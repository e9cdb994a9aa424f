"""Writes with a condition: of those who saw the same version, one writes."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest
from book_db.book import Book, BookPatch, Precondition
from book_db.books.catalogue import Catalogue
from book_db.errors import BookNotFound, VersionMismatch
from book_db.postgres.database import Database
from support.data_layer import Query, StatementsOf, a_draft
from support.waiting import until

WRITERS = 100
FIRST = Precondition(versions=frozenset([1]))
"""What a writer says who has seen the book at version 1."""

Write = Callable[[Catalogue, int, UUID, Precondition], Awaitable[Book | None]]

WRITES = [
    pytest.param(lambda to, book_id, actor, on: to.replace(book_id, a_draft(), actor, on), id="replace"),
    pytest.param(
        lambda to, book_id, actor, on: to.change(book_id, BookPatch.only(title="Emma"), actor, on), id="change"
    ),
    pytest.param(lambda to, book_id, actor, on: to.remove(book_id, actor, on), id="remove"),
]

MISMATCHES = [
    pytest.param(Precondition(versions=frozenset([2, 3])), id="another-version-is-wanted"),
    pytest.param(Precondition(versions=frozenset()), id="no-version-is-good-enough"),
    pytest.param(Precondition(excluded_versions=frozenset([7, 1])), id="this-version-is-not-wanted"),
    pytest.param(Precondition(versions=frozenset([1]), excluded_versions=frozenset([1])), id="both-must-hold"),
]

MATCHES = [
    pytest.param(Precondition(), id="none"),
    pytest.param(Precondition(versions=frozenset([3, 1, 2**63 - 1])), id="one-of-several"),
    pytest.param(Precondition(excluded_versions=frozenset([2])), id="another-one-is-not-wanted"),
]


class TestManyWritersAtOnce:
    @pytest.mark.parametrize("write", WRITES)
    async def test_of_a_hundred_who_saw_one_version_exactly_one_wins(
        self, catalogue: Catalogue, actor: UUID, query: Query, write: Write
    ) -> None:
        book = await catalogue.add(a_draft(), actor)
        tries = [write(catalogue, book.id, actor, FIRST) for _ in range(WRITERS)]
        outcomes = await asyncio.gather(*tries, return_exceptions=True)
        lost = [each for each in outcomes if isinstance(each, VersionMismatch | BookNotFound)]
        print(f"{WRITERS} writers with version 1: {WRITERS - len(lost)} won, {len(lost)} lost")
        assert len(lost) == WRITERS - 1
        assert query("SELECT version FROM outbox ORDER BY id") == [(1,), (2,)]

    async def test_one_who_had_to_wait_is_judged_by_what_the_other_one_left(
        self, catalogue: Catalogue, actor: UUID, query: Query
    ) -> None:
        book = await catalogue.add(a_draft(), actor)
        query("BEGIN")
        query("UPDATE books SET version = 2")
        change = asyncio.create_task(catalogue.change(book.id, BookPatch.only(title="Emma"), actor, FIRST))
        await until(lambda: query("SELECT 1 FROM pg_locks WHERE NOT granted"), "it waits for its lock")
        query("COMMIT")
        with pytest.raises(VersionMismatch) as refused:
            await change
        assert refused.value.version == 2
        assert query("SELECT title FROM books") == [("Middlemarch",)]


class TestACondition:
    @pytest.mark.parametrize("write", WRITES)
    @pytest.mark.parametrize("condition", MISMATCHES)
    async def test_that_does_not_hold_lets_nothing_be_written(
        self, catalogue: Catalogue, actor: UUID, query: Query, condition: Precondition, write: Write
    ) -> None:
        book = await catalogue.add(a_draft(), actor)
        with pytest.raises(VersionMismatch, match="is at version 1 now"):
            await write(catalogue, book.id, actor, condition)
        assert await catalogue.get(book.id) == book
        assert query("SELECT version FROM outbox") == [(1,)]

    @pytest.mark.parametrize("write", WRITES)
    @pytest.mark.parametrize("condition", MATCHES)
    async def test_that_holds_is_no_hindrance(
        self, catalogue: Catalogue, actor: UUID, query: Query, condition: Precondition, write: Write
    ) -> None:
        book = await catalogue.add(a_draft(), actor)
        await write(catalogue, book.id, actor, condition)
        assert query("SELECT version FROM outbox ORDER BY id") == [(1,), (2,)]

    @pytest.mark.parametrize("write", WRITES)
    async def test_on_a_book_that_is_not_there_makes_no_difference(
        self, catalogue: Catalogue, actor: UUID, write: Write
    ) -> None:
        for condition in (FIRST, Precondition(versions=frozenset())):
            with pytest.raises(BookNotFound):
                await write(catalogue, 1, actor, condition)

    async def test_is_part_of_the_one_statement_that_writes(
        self, database: Database, catalogue: Catalogue, actor: UUID, statements_of: StatementsOf
    ) -> None:
        book = await catalogue.add(a_draft(), actor)
        with statements_of(database) as statements:
            await catalogue.change(book.id, BookPatch.only(title="Emma"), actor, FIRST)
        assert len([statement for statement in statements if "books" in statement]) == 1

    async def test_is_not_judged_by_the_cache(self, cached_catalogue: Catalogue, actor: UUID, query: Query) -> None:
        book = await cached_catalogue.add(a_draft(), actor)
        query("UPDATE books SET version = 5")
        assert (await cached_catalogue.get(book.id)).version == 1
        with pytest.raises(VersionMismatch) as refused:
            await cached_catalogue.change(book.id, BookPatch.only(title="Emma"), actor, FIRST)
        assert refused.value.version == 5
