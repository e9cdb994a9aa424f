"""The catalogue on a real PostgreSQL: what a write does, and what a reader sees of it."""

import asyncio
import itertools
import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from book_db.book import Book, BookPatch, Draft
from book_db.books import statements
from book_db.books.catalogue import Catalogue
from book_db.books.pages import encode
from book_db.errors import BatchTooLarge, BookNotFound, BooksNotFound, DatabaseUnavailable, InvalidPageToken
from book_db.postgres.database import Database
from book_runtime.telemetry import context_of
from msgspec.structs import replace
from opentelemetry import context
from psycopg.errors import IntegrityError
from support.data_layer import Query, StatementsOf, a_draft
from support.waiting import until

OUTBOX = "SELECT book_id, version, kind FROM outbox ORDER BY id"


def a_title_of_many_words(number: int) -> str:
    """Of the greatest length, with hardly a pair of characters in it twice."""
    return "".join(chr(0x4E00 + (number * 2_003 + place * place * 31) % 20_000) for place in range(2_000))


class TestAdd:
    async def test_a_new_book_has_version_1_and_can_be_read(self, catalogue: Catalogue, actor: UUID) -> None:
        began = datetime.now(UTC)
        book = await catalogue.add(a_draft(title="Emma"), actor)
        assert (book.title, book.version, book.created_at) == ("Emma", 1, book.updated_at)
        assert began <= book.created_at <= datetime.now(UTC)
        assert await catalogue.get(book.id) == book

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            pytest.param('"{},\\"', [], id="what-quotes-in-JSON-and-arrays"),
            pytest.param("null", ["null"], id="what-is-nothing-in-both"),
            pytest.param("line\u2028end \U0001f4da", ["end", "line"], id="what-is-no-single-unit-of-UTF-16"),
            pytest.param("Emma " * 199 + "Emma", ["emma"], id="the-longest"),
        ],
    )
    async def test_a_text_is_kept_to_the_letter_and_found_by_its_words(
        self, catalogue: Catalogue, actor: UUID, query: Query, text: str, words: list[str]
    ) -> None:
        book = await catalogue.add(Draft(text, text, date(1, 1, 1)), actor)
        kept = query("SELECT title, author, publication_date, title_words, author_words FROM books")
        assert kept == [(book.title, book.author, book.publication_date, words, words)]
        assert kept[0][:3] == (text, text, date(1, 1, 1))

    async def test_more_than_fits_into_a_statement_is_refused_and_said_how_much_fits(
        self, catalogue: Catalogue, actor: UUID, query: Query
    ) -> None:
        drafts = [a_draft(title=a_title_of_many_words(number)) for number in range(100)]
        with pytest.raises(BatchTooLarge) as refused:
            await catalogue.add_many(drafts, actor)
        fit = refused.value.fit
        assert 0 < fit < 100
        assert query("SELECT count(*) FROM books") == [(0,)]
        assert len(await catalogue.add_many(drafts[:fit], actor)) == fit
        with pytest.raises(BatchTooLarge):
            await catalogue.add_many(drafts[: fit + 1], actor)

    async def test_long_ones_that_come_at_the_same_time_do_not_all_go_into_one_statement(
        self, catalogue: Catalogue, actor: UUID, database: Database, statements_of: StatementsOf
    ) -> None:
        drafts = [a_draft(title=a_title_of_many_words(number)) for number in range(100)]
        with statements_of(database) as written:
            added = await asyncio.gather(*(catalogue.add(draft, actor) for draft in drafts))
        assert sorted(book.title for book in added) == sorted(draft.title for draft in drafts)
        assert 2 <= len(written) <= 10

    async def test_its_event_says_what_was_added_and_by_whom(
        self, catalogue: Catalogue, actor: UUID, query: Query
    ) -> None:
        book = await catalogue.add(a_draft(title="Emma", author="Jane Austen"), actor)
        told = query(
            "SELECT kind, actor, occurred_at, book_id, title, author, publication_date, version, created_at, updated_at"
            " FROM outbox"
        )
        fields = (book.id, "Emma", "Jane Austen", book.publication_date, 1, book.created_at, book.updated_at)
        assert told == [("created", actor, book.created_at, *fields)]

    async def test_many_books_come_back_in_the_order_they_were_given(
        self, catalogue: Catalogue, actor: UUID, query: Query
    ) -> None:
        titles = [f"Volume {number * 7919 % 1000}" for number in range(1_000)]
        books = await catalogue.add_many([a_draft(title) for title in titles], actor)
        assert [book.title for book in books] == titles
        assert [book.id for book in books] == sorted(book.id for book in books)
        assert query(OUTBOX) == [(book.id, 1, "created") for book in books]

    async def test_one_that_the_database_refuses_takes_all_others_with_it(
        self, catalogue: Catalogue, actor: UUID, query: Query
    ) -> None:
        with pytest.raises(IntegrityError, match="books_title_check"):
            await catalogue.add_many([a_draft(), a_draft(title=""), a_draft()], actor)
        assert query("SELECT * FROM books") == query(OUTBOX) == []

    async def test_books_of_several_users_that_come_together_are_one_statement(
        self, catalogue: Catalogue, query: Query, database: Database, statements_of: StatementsOf
    ) -> None:
        actors = [uuid4() for _ in range(3)]
        with statements_of(database) as made:
            books = await asyncio.gather(
                *(catalogue.add(a_draft(f"Volume {place}"), who) for place, who in enumerate(actors))
            )
        assert len([statement for statement in made if "INSERT INTO books" in statement]) == 1
        assert [book.title for book in books] == ["Volume 0", "Volume 1", "Volume 2"]
        told = query("SELECT book_id, title, actor FROM outbox ORDER BY id")
        assert told == [(book.id, book.title, who) for book, who in zip(books, actors, strict=True)]

    async def test_of_those_that_come_together_each_event_has_the_trace_of_its_request(
        self, catalogue: Catalogue, actor: UUID, query: Query
    ) -> None:
        async def add(traceparent: str) -> int:
            context.attach(context_of(traceparent))
            return (await catalogue.add(a_draft(), actor)).id

        traces = [f"00-{number:032x}-{number:016x}-01" for number in (7, 8)]
        ids = await asyncio.gather(*(asyncio.create_task(add(trace)) for trace in traces))
        assert query("SELECT book_id, traceparent FROM outbox ORDER BY id") == list(zip(ids, traces, strict=True))

    async def test_one_that_the_database_refuses_leaves_those_that_came_with_it_alone(
        self, catalogue: Catalogue, actor: UUID, query: Query
    ) -> None:
        good, bad, other = await asyncio.gather(
            *(catalogue.add(a_draft(title), actor) for title in ("Emma", "", "Persuasion")), return_exceptions=True
        )
        assert isinstance(bad, IntegrityError)
        assert query("SELECT id, title FROM books ORDER BY id") == [
            (book.id, book.title) for book in (good, other) if isinstance(book, Book)
        ]
        assert query("SELECT title FROM outbox ORDER BY id") == [("Emma",), ("Persuasion",)]

    async def test_of_no_books_at_all_nothing_is_told(self, catalogue: Catalogue, actor: UUID, query: Query) -> None:
        assert await catalogue.add_many([], actor) == []
        assert query(OUTBOX) == []

    @pytest.mark.parametrize(
        "draft",
        [
            pytest.param(Draft("x" * 2_000, "y" * 1_000, date(1, 1, 1)), id="longest-texts-and-the-first-day"),
            pytest.param(Draft("x", "y", date(9999, 12, 31)), id="shortest-texts-and-the-last-day"),
            pytest.param(Draft("Ἰλιάς", "Ὅμηρος", date(1488, 12, 9)), id="greek-with-breathings"),
            pytest.param(Draft("𝔉𝔞𝔲𝔰𝔱 📚", "Гёте", date(1808, 1, 1)), id="beyond-the-basic-plane"),
            pytest.param(Draft("'; DROP TABLE books; --", '"\\%s :title {x}', date(1970, 1, 1)), id="sql-is-text"),
        ],
    )
    async def test_what_is_written_is_what_is_read(self, catalogue: Catalogue, actor: UUID, draft: Draft) -> None:
        book = await catalogue.get((await catalogue.add(draft, actor)).id)
        assert Draft(book.title, book.author, book.publication_date) == draft


class TestChange:
    async def test_what_is_not_named_stays(self, catalogue: Catalogue, actor: UUID) -> None:
        added = await catalogue.add(a_draft(title="Emma", author="Jane"), actor)
        changed = await catalogue.change(added.id, BookPatch.only(author="Jane Austen"), actor)
        assert (changed.title, changed.author, changed.publication_date) == (
            "Emma",
            "Jane Austen",
            added.publication_date,
        )
        assert await catalogue.get(added.id) == changed

    async def test_every_field_can_be_replaced(self, catalogue: Catalogue, actor: UUID) -> None:
        added = await catalogue.add(a_draft(), actor)
        replaced = await catalogue.replace(added.id, Draft("Persuasion", "Jane Austen", date(1817, 12, 20)), actor)
        assert (replaced.title, replaced.author, replaced.publication_date) == (
            "Persuasion",
            "Jane Austen",
            date(1817, 12, 20),
        )

    async def test_version_and_events_rise_by_one(self, catalogue: Catalogue, actor: UUID, query: Query) -> None:
        book = await catalogue.add(a_draft(), actor)
        for title in ("Emma", "Persuasion"):
            book = await catalogue.change(book.id, BookPatch.only(title=title), actor)
        await catalogue.remove(book.id, actor)
        assert query("SELECT version, kind, title FROM outbox ORDER BY id") == [
            (1, "created", "Middlemarch"),
            (2, "updated", "Emma"),
            (3, "updated", "Persuasion"),
            (4, "deleted", "Persuasion"),
        ]

    async def test_the_time_of_change_never_goes_back(self, catalogue: Catalogue, actor: UUID, query: Query) -> None:
        book = await catalogue.add(a_draft(), actor)
        [[ahead]] = query("UPDATE books SET updated_at = now() + interval '1 hour' RETURNING updated_at")
        changed = await catalogue.change(book.id, BookPatch.only(title="Emma"), actor)
        assert changed.updated_at == ahead
        assert changed.created_at == book.created_at
        await catalogue.remove(book.id, actor)
        assert query("SELECT occurred_at FROM outbox ORDER BY id DESC LIMIT 1") == [(ahead,)]

    async def test_fifty_at_once_give_each_version_once_in_the_order_of_their_events(
        self, catalogue: Catalogue, actor: UUID, query: Query
    ) -> None:
        book = await catalogue.add(a_draft(), actor)
        changes = [BookPatch.only(title=f"Title {number}") for number in range(50)]
        changed: list[Book] = await asyncio.gather(*(catalogue.change(book.id, change, actor) for change in changes))
        assert sorted(book.version for book in changed) == list(range(2, 52))
        told = query("SELECT version, title, occurred_at FROM outbox ORDER BY id")
        assert [version for version, *_ in told] == list(range(1, 52))
        assert {(book.version, book.title) for book in changed} == {tuple(row[:2]) for row in told[1:]}
        assert [occurred_at for *_, occurred_at in told] == sorted(occurred_at for *_, occurred_at in told)


class TestRemove:
    async def test_a_removed_book_is_not_found(self, catalogue: Catalogue, actor: UUID) -> None:
        book = await catalogue.add(a_draft(), actor)
        await catalogue.remove(book.id, actor)
        with pytest.raises(BookNotFound):
            await catalogue.get(book.id)

    async def test_its_id_is_never_given_again(self, catalogue: Catalogue, actor: UUID) -> None:
        removed = await catalogue.add(a_draft(), actor)
        await catalogue.remove(removed.id, actor)
        assert (await catalogue.add(a_draft(), actor)).id > removed.id


NOT_THERE = [
    pytest.param(1, id="never-given"),
    pytest.param(0, id="zero"),
    pytest.param(-1, id="negative"),
    pytest.param(2**63 - 1, id="the-last-int64"),
    pytest.param(2**63, id="beyond-int64"),
    pytest.param(10**30, id="far-beyond-int64"),
]


class TestBookNotFound:
    @pytest.mark.parametrize("book_id", NOT_THERE)
    async def test_every_way_to_a_book_says_so(
        self, catalogue: Catalogue, actor: UUID, query: Query, book_id: int
    ) -> None:
        ways: list[Callable[[], Any]] = [
            lambda: catalogue.get(book_id),
            lambda: catalogue.get_json(book_id),
            lambda: catalogue.change(book_id, BookPatch.only(title="Emma"), actor),
            lambda: catalogue.replace(book_id, a_draft(), actor),
            lambda: catalogue.remove(book_id, actor),
        ]
        for way in ways:
            with pytest.raises(BookNotFound, match=f"No book has the id {book_id}\\."):
                await way()
        assert query(OUTBOX) == []

    async def test_an_impossible_id_spoils_no_other_look_up_of_its_turn(
        self, catalogue: Catalogue, actor: UUID
    ) -> None:
        book = await catalogue.add(a_draft(), actor)
        found, refused = await asyncio.gather(catalogue.get(book.id), catalogue.get(2**64), return_exceptions=True)
        assert found == book
        assert isinstance(refused, BookNotFound)


class TestGetMany:
    async def test_books_come_in_the_order_of_their_ids_as_often_as_asked_for(
        self, catalogue: Catalogue, actor: UUID
    ) -> None:
        first, second, third = await catalogue.add_many([a_draft(title) for title in "abc"], actor)
        assert await catalogue.get_many([third.id, first.id, third.id, second.id]) == [third, first, third, second]

    async def test_of_no_ids_there_are_no_books(self, catalogue: Catalogue) -> None:
        assert await catalogue.get_many([]) == []

    async def test_all_are_one_statement(
        self, catalogue: Catalogue, actor: UUID, database: Database, statements_of: StatementsOf
    ) -> None:
        books = await catalogue.add_many([a_draft()] * 300, actor)
        with statements_of(database) as statements:
            assert await catalogue.get_many([book.id for book in books]) == books
        # The notifier may tell of the new books meanwhile.
        assert len([statement for statement in statements if "FROM books" in statement]) == 1

    async def test_every_id_that_no_book_has_is_named_once(self, catalogue: Catalogue, actor: UUID) -> None:
        kept, removed = await catalogue.add_many([a_draft()] * 2, actor)
        await catalogue.remove(removed.id, actor)
        missing = (2**64, removed.id, 0, 2**63 - 1, -1)
        with pytest.raises(BooksNotFound) as error:
            await catalogue.get_many([missing[0], kept.id, *missing[1:], *missing])
        assert error.value.book_ids == missing

    @pytest.mark.parametrize(
        ("book_ids", "message"),
        [
            pytest.param([7], "No book has these ids: 7.", id="one"),
            pytest.param([7, 8, 9], "No book has these ids: 7, 8, 9.", id="few"),
            pytest.param(range(1, 301), "No book has these ids: 1, 2, 3, 4, 5 and 295 more.", id="many"),
        ],
    )
    async def test_its_error_is_a_sentence_of_a_few_words(
        self, catalogue: Catalogue, book_ids: Sequence[int], message: str
    ) -> None:
        with pytest.raises(BooksNotFound) as error:
            await catalogue.get_many(book_ids)
        assert str(error.value) == message


class TestAWriteAndItsEvent:
    async def test_a_connection_killed_in_the_middle_leaves_neither(
        self, catalogue: Catalogue, actor: UUID, query: Query
    ) -> None:
        """The row is locked by somebody else, so that the change has begun and cannot end when it is killed."""
        book = await catalogue.add(a_draft(), actor)
        query("BEGIN")
        query("SELECT * FROM books FOR UPDATE")
        change = asyncio.create_task(catalogue.change(book.id, BookPatch.only(title="Emma"), actor))
        # The attempts that a retry makes are killed as well, until it gives up.
        while not change.done():
            query("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted")
            await asyncio.sleep(0.02)
        query("COMMIT")
        with pytest.raises(DatabaseUnavailable):
            await change
        assert query(OUTBOX) == [(book.id, 1, "created")]
        assert query("SELECT version FROM books") == [(1,)]

    async def test_an_event_that_is_refused_takes_the_change_with_it(
        self, catalogue: Catalogue, actor: UUID, query: Query
    ) -> None:
        query("ALTER TABLE outbox ADD CHECK (kind <> 'updated')")
        book = await catalogue.add(a_draft(), actor)
        with pytest.raises(IntegrityError):
            await catalogue.change(book.id, BookPatch.only(title="Emma"), actor)
        assert (await catalogue.get(book.id)).version == 1

    async def test_a_write_is_one_statement(
        self, database: Database, catalogue: Catalogue, actor: UUID, statements_of: StatementsOf
    ) -> None:
        with statements_of(database) as statements:
            await catalogue.add(a_draft(), actor)
        assert len([statement for statement in statements if "books" in statement]) == 1


class TestACallerWhoGivesUp:
    async def test_the_write_goes_on_to_its_end(self, catalogue: Catalogue, actor: UUID, query: Query) -> None:
        book = await catalogue.add(a_draft(), actor)
        query("BEGIN")
        query("SELECT * FROM books FOR UPDATE")
        change = asyncio.create_task(catalogue.change(book.id, BookPatch.only(title="Emma"), actor))
        await until(lambda: query("SELECT 1 FROM pg_locks WHERE NOT granted"), "it waits for its lock")
        change.cancel()
        with pytest.raises(asyncio.CancelledError):
            await change
        query("COMMIT")
        await catalogue.close()
        assert (await catalogue.get(book.id)).title == "Emma"


class TestPages:
    async def all_pages(self, catalogue: Catalogue, size: int) -> list[list[Book]]:
        pages, token = [], None
        while True:
            page = await catalogue.page(size, token)
            pages.append(page.books)
            token = page.next_token
            if token is None:
                return pages

    @pytest.mark.parametrize(
        ("count", "lengths"),
        [
            pytest.param(0, [0], id="none"),
            pytest.param(3, [3], id="a-full-page-is-the-last"),
            pytest.param(4, [3, 1], id="one-more-than-a-page"),
            pytest.param(9, [3, 3, 3], id="full-pages-only"),
        ],
    )
    async def test_all_books_come_once_by_ascending_id(
        self, catalogue: Catalogue, actor: UUID, count: int, lengths: list[int]
    ) -> None:
        books = await catalogue.add_many([a_draft()] * count, actor)
        pages = await self.all_pages(catalogue, 3)
        assert [len(page) for page in pages] == lengths
        assert [book for page in pages for book in page] == books

    async def test_what_was_there_all_along_comes_once_whatever_comes_and_goes(
        self, catalogue: Catalogue, actor: UUID
    ) -> None:
        books = await catalogue.add_many([a_draft()] * 60, actor)
        leaving = [book.id for book in books[::3]]
        staying = [book.id for book in books if book.id not in leaving]

        async def disturb() -> None:
            for book_id in leaving:
                await asyncio.gather(catalogue.remove(book_id, actor), catalogue.add(a_draft(), actor))

        disturbing = asyncio.create_task(disturb())
        seen = [book.id for page in await self.all_pages(catalogue, 4) for book in page]
        await disturbing
        assert seen == sorted(set(seen))
        assert set(staying) <= set(seen)

    @pytest.mark.parametrize(
        ("asked", "given"),
        [
            pytest.param(5_000, 1_000, id="capped"),
            pytest.param(0, 1, id="zero-is-raised-to-one"),
            pytest.param(-7, 1, id="negative-is-raised-to-one"),
        ],
    )
    async def test_the_size_is_kept_within_bounds(
        self, catalogue: Catalogue, actor: UUID, asked: int, given: int
    ) -> None:
        await catalogue.add_many([a_draft()] * 1_001, actor)
        assert len((await catalogue.page(asked)).books) == given

    async def test_a_page_after_the_last_id_is_empty(self, catalogue: Catalogue, actor: UUID) -> None:
        book = await catalogue.add(a_draft(), actor)
        assert await catalogue.page(10, encode(replace(book, id=2**63 - 1))) == ([], None)

    async def test_a_token_that_the_catalogue_did_not_give_is_refused(self, catalogue: Catalogue) -> None:
        with pytest.raises(InvalidPageToken):
            await catalogue.page(10, "bogus")


class TestPlans:
    @pytest.fixture
    async def many_books(self, catalogue: Catalogue, actor: UUID, query: Query) -> None:
        for _ in range(5):
            await catalogue.add_many([a_draft()] * 1_000, actor)
        query("ANALYZE books")

    async def test_look_ups_go_by_the_primary_key(self, many_books: None, query: Query) -> None:
        numbers = (f"${number}" for number in itertools.count(1))
        sql = re.sub(r"%\(\w+\)s", lambda _: next(numbers), statements.BY_IDS)
        plan = "\n".join(line for [line] in query(f"EXPLAIN (GENERIC_PLAN) {sql}"))
        assert "books_pkey" in plan
        assert "Seq Scan" not in plan
        assert "Sort" not in plan
