"""Words for books of writers that know nothing of words: the release before, or somebody with psql."""

from collections.abc import Callable
from datetime import date
from uuid import UUID

import pytest
from book_db import migrations
from book_db.book import BookPatch
from book_db.books import indexing
from book_db.books.catalogue import Catalogue
from book_db.books.selection import Selection
from book_db.books.words import words_asked_for
from book_db.tables import words_version_of
from sqlalchemy import Connection, event
from support.data_layer import Query, a_draft

NOBODY = UUID(int=0)
ADD = "INSERT INTO books (title, author, publication_date) VALUES (%s, %s, '1815-12-23') RETURNING id"
CHANGE = "UPDATE books SET title = %s, version = version + 1 WHERE id = %s"
WORDS = f"SELECT title_words, author_words, words_version = {words_version_of('version')} FROM books ORDER BY id"  # noqa: S608 - of constants


async def found(catalogue: Catalogue, question: str) -> list[str]:
    selection = Selection(words=tuple(words_asked_for(question)))
    return [book.title for book in (await catalogue.page(selection=selection)).books]


class TestABookOfTheReleaseBefore:
    async def test_is_found_when_the_new_one_has_started(
        self, catalogue: Catalogue, database_url: str, query: Query
    ) -> None:
        query(ADD, ("Émma", "Jane Austen"))
        assert await found(catalogue, "emma") == []
        migrations.upgrade(database_url)
        assert await found(catalogue, "emma austen") == ["Émma"]
        assert query(WORDS) == [(["emma"], ["austen", "jane"], True)]

    async def test_that_it_has_changed_is_found_by_its_new_words(
        self, catalogue: Catalogue, database_url: str, query: Query
    ) -> None:
        book = await catalogue.add(a_draft("Emma"), actor=NOBODY)
        query(CHANGE, ("Persuasion", book.id))
        migrations.upgrade(database_url)
        assert await found(catalogue, "emma") == []
        assert await found(catalogue, "persuasion") == ["Persuasion"]

    async def test_that_the_new_one_has_changed_in_part_is_found_by_all_of_it(
        self, catalogue: Catalogue, database_url: str, query: Query
    ) -> None:
        [[book_id]] = query(ADD, ("Emma", "Jane Austen"))
        await catalogue.change(book_id, BookPatch.only(title="Persuasion"), NOBODY)
        migrations.upgrade(database_url)
        assert await found(catalogue, "persuasion austen") == ["Persuasion"]
        assert query(WORDS) == [(["persuasion"], ["austen", "jane"], True)]

    async def test_without_any_word_is_not_looked_at_again(self, database_url: str, query: Query) -> None:
        query(ADD, ("!!!", "?"))
        migrations.upgrade(database_url)
        assert query(WORDS) == [([], [], True)]


class TestABookOfAReleaseThatFoldsOtherwise:
    """The release before keeps the version alone with the words, and adds one to it when it changes a book."""

    ADD = (
        "INSERT INTO books (title, author, publication_date, title_words, author_words, words_version)"
        " VALUES ('Sömmer', 'Søren', '1815-12-23', '{sommer}', '{søren}', 1) RETURNING id"
    )
    CHANGE = (
        "UPDATE books SET title = 'Wïnter', title_words = '{old}', version = version + 1,"
        " words_version = words_version + CAST(words_version = version AS integer)"
    )

    async def test_is_found_as_it_is_folded_now_when_the_new_one_has_started(
        self, catalogue: Catalogue, database_url: str, query: Query
    ) -> None:
        query(self.ADD)
        assert await found(catalogue, "soren") == []
        migrations.upgrade(database_url)
        assert await found(catalogue, "soren soemmer") == ["Sömmer"]
        assert query(WORDS) == [(["soemmer", "sommer"], ["soeren", "soren"], True)]

    async def test_that_the_other_one_has_changed_is_found_by_its_new_words(
        self, catalogue: Catalogue, database_url: str, query: Query
    ) -> None:
        await catalogue.add(a_draft("Sommer", "Søren"), actor=NOBODY)
        query(self.CHANGE)
        migrations.upgrade(database_url)
        assert query(WORDS) == [(["winter"], ["soeren", "soren"], True)]

    async def test_that_this_one_has_changed_in_part_is_found_by_all_of_it(
        self, catalogue: Catalogue, database_url: str, query: Query
    ) -> None:
        [[book_id]] = query(self.ADD)
        await catalogue.change(book_id, BookPatch.only(title="Winter"), NOBODY)
        migrations.upgrade(database_url)
        assert query(WORDS) == [(["winter"], ["soeren", "soren"], True)]

    async def test_that_was_changed_many_times_is_not_taken_for_one_of_this(
        self, database_url: str, query: Query
    ) -> None:
        query(self.ADD)
        for _ in range(20):
            query(self.CHANGE)
        migrations.upgrade(database_url)
        assert query(WORDS) == [(["winter"], ["soeren", "soren"], True)]


class TestABookOfThisRelease:
    @pytest.mark.parametrize(
        "change", [BookPatch.only(title="Persuasion"), BookPatch.only(publication_date=date(1816, 1, 1))], ids=str
    )
    async def test_keeps_its_words_when_another_starts(
        self, catalogue: Catalogue, database_url: str, query: Query, change: BookPatch
    ) -> None:
        book = await catalogue.add(a_draft("Emma"), actor=NOBODY)
        await catalogue.change(book.id, change, NOBODY)
        before = query("SELECT xmin, title_words FROM books")
        migrations.upgrade(database_url)
        assert query("SELECT xmin, title_words FROM books") == before
        assert query(WORDS)[0][2]


class TestManyBooks:
    def test_are_given_words_some_at_a_time(
        self, database_url: str, query: Query, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(indexing, "_BATCH_ROWS", 10)
        for number in range(25):
            query(ADD, (f"Volume {number}", "Jane Austen"))
        migrations.upgrade(database_url)
        assert query(WORDS) == [(sorted(["volume", str(number)]), ["austen", "jane"], True) for number in range(25)]


class TestAWriterInBetween:
    """Somebody changes a book after its text was read and before its words are written."""

    def index(self, database_url: str, meanwhile: Callable[[], object]) -> None:
        engine = migrations.engine_of(database_url)
        waiting = [meanwhile]

        def interfere(_connection: Connection, _cursor: object, statement: str, *_rest: object) -> None:
            if "UPDATE books" in statement and waiting:
                waiting.pop()()

        event.listen(engine, "before_cursor_execute", interfere)
        indexing.index_books(engine)
        engine.dispose()

    async def test_of_the_release_before_is_not_overwritten_and_gets_its_words(
        self, catalogue: Catalogue, database_url: str, query: Query
    ) -> None:
        [[book_id]] = query(ADD, ("Emma", "Jane Austen"))
        self.index(database_url, lambda: query(CHANGE, ("Persuasion", book_id)))
        assert query("SELECT title FROM books") == [("Persuasion",)]
        assert query(WORDS) == [(["persuasion"], ["austen", "jane"], True)]

    def test_who_makes_words_is_not_overwritten(self, database_url: str, query: Query) -> None:
        query(ADD, ("Emma", "Jane Austen"))
        change = (
            "UPDATE books SET title = 'Persuasion', title_words = '{persuasion}', author_words = '{its,own}',"  # noqa: S608 - of constants
            f" version = version + 1, words_version = {words_version_of('(version + 1)')}"
        )
        self.index(database_url, lambda: query(change))
        assert query(WORDS) == [(["persuasion"], ["its", "own"], True)]

    def test_who_removes_the_book_has_removed_it(self, database_url: str, query: Query) -> None:
        query(ADD, ("Emma", "Jane Austen"))
        self.index(database_url, lambda: query("DELETE FROM books"))
        assert query(WORDS) == []
