"""Finding books as people type them, on a real PostgreSQL: the table is `as_people_type.tsv`."""

import csv
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final, NamedTuple
from uuid import UUID

import pytest
from book_db.book import AUTHOR_MAX, TITLE_MAX, Draft
from book_db.books.cache import NoCache
from book_db.books.catalogue import Catalogue
from book_db.books.selection import Selection
from book_db.books.words import words_asked_for
from book_db.events.outbox import OutboxNotifier
from book_db.postgres.database import Database
from book_db.text import clean
from support.data_layer import a_draft
from support.postgresql import PostgreSQLServer

TABLE: Final = Path(__file__).with_name("as_people_type.tsv")
NOBODY: Final = UUID(int=0)


class Row(NamedTuple):
    language: str
    title: str
    author: str
    typed: str
    found: str
    why: str

    @property
    def draft(self) -> Draft:
        """The book as the services take it."""
        return a_draft(clean(self.title, at_most=TITLE_MAX), clean(self.author, at_most=AUTHOR_MAX))

    @property
    def selection(self) -> Selection:
        """The question as the services take it."""
        return Selection(words=tuple(words_asked_for(clean(self.typed, at_most=TITLE_MAX))))


def rows() -> Iterator[Row]:
    with TABLE.open(encoding="utf-8", newline="") as lines:
        next(lines)
        reader = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        assert next(reader) == list(Row._fields)
        for cells in reader:
            yield Row(*(cell.encode("ascii", "backslashreplace").decode("unicode_escape") for cell in cells))


ROWS: Final = [pytest.param(row, id=f"{row.language}: {row.why}".replace(" ", "-")) for row in rows()]


@pytest.fixture(scope="module")
def books_of_the_world(postgresql: PostgreSQLServer, migrated_template: str) -> Iterator[str]:
    """The address of a database for the books of the table."""
    name = postgresql.create_database(template=migrated_template)
    yield postgresql.url_of(name)
    postgresql.drop_database(name)


@pytest.fixture
async def shelf(books_of_the_world: str) -> AsyncIterator[Catalogue]:
    """A catalogue of all books of the table, each once."""
    database = Database.open(books_of_the_world)
    notifier = OutboxNotifier(database)
    catalogue = Catalogue(database, NoCache(), notifier)
    if not await catalogue.count():
        await catalogue.add_many(list(dict.fromkeys(row.draft for row in rows())), NOBODY)
    yield catalogue
    await notifier.close()
    await database.close()


class TestWhatIsTyped:
    @pytest.mark.parametrize("row", ROWS)
    async def test_finds_the_book_or_does_not(self, shelf: Catalogue, row: Row) -> None:
        books = (await shelf.page(1_000, selection=row.selection)).books
        is_found = (row.draft.title, row.draft.author) in {(book.title, book.author) for book in books}
        assert row.found == ("yes" if is_found else "no")

    async def test_finds_few_others(self, shelf: Catalogue) -> None:
        """Folding must not make all words one."""
        everything = await shelf.count()
        numbers = [await shelf.count(row.selection) for row in rows()]
        assert max(numbers) <= everything / 10

    def test_is_of_many_languages(self) -> None:
        assert len({row.language for row in rows()}) >= 20
        assert {row.found for row in rows()} == {"yes", "no"}
