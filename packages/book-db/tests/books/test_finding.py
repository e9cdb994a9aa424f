"""Finding books, on a real PostgreSQL: the same books in the same order as a filter and a sort in Python."""

from collections.abc import AsyncIterator, Iterator
from datetime import date, timedelta
from typing import get_args
from uuid import UUID, uuid4

import pytest
from book_db.book import Book, BookPatch
from book_db.books.cache import NoCache
from book_db.books.catalogue import Catalogue
from book_db.books.selection import BY_ID, EVERYTHING, Field, Order, Selection
from book_db.books.words import ways_of, words_asked_for, words_of
from book_db.events.outbox import OutboxNotifier
from book_db.postgres.database import Database
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.data_layer import a_draft
from support.postgresql import PostgreSQLServer

LONG = "Of the Same Two Hundred Characters " * 6

TEXTS = (
    "Emma", "Emma", "emma", "EMMA", "Emm", "Émma", "Emma*", "Emma ", "Emma Emma", "Émile, ou De l’éducation",
    LONG[:199], LONG[:200], LONG[:200], LONG[:200] + "a", LONG[:200] + "b", LONG[:200] + "a tale", LONG + LONG,
    "\U0010ffff", "\U0010ffff\U0010ffff", "\U0010ffff" * 250, "\ud7ff", "\ud7ffa", "\ue000", "\ue000b",
    "\uffff", "\U00010000",    "𝔉𝔞𝔲𝔰𝔱 📚", "📚", "!!!", "…", "¿", "\u200bEmma", "a\u200bb",
    "שָׁלוֹם עֲלֵיכֶם", "شَمْس", "شمس", "\u200fEmma\u200f",
    "紅樓夢", "红楼梦", "紅 樓 夢", "源氏物語", "ยาขอบ", "Мастер и Маргарита", "ΟΔΥΣΣΕΥΣ", "Ὀδυσσεύς",
    "Straße", "STRASSE", "Eugene O’Neill", "Oneill", "O Neill", "J. R. R.", "JRR", "Müller", "Mueller", "al-Qurʼān",
    "%", "_", "\\", "\\*", "'; --", "a:b", ":words", "{}",
)  # fmt: skip
"""Equal ones, ones that differ after what an index holds, the ends of planes, and those that say nothing in words."""

DAYS = (date(1, 1, 1), date(1815, 12, 23), date(1815, 12, 24), date(9999, 12, 31))


@pytest.fixture(scope="module")
def peculiar_books(postgresql: PostgreSQLServer, migrated_template: str) -> Iterator[str]:
    """The address of a database for peculiar books."""
    name = postgresql.create_database(template=migrated_template)
    yield postgresql.url_of(name)
    postgresql.drop_database(name)


@pytest.fixture
async def shelf(peculiar_books: str) -> AsyncIterator[Catalogue]:
    """A catalogue of books with all those texts."""
    database = Database.open(peculiar_books)
    notifier = OutboxNotifier(database)
    catalogue = Catalogue(database, NoCache(), notifier)
    if not await catalogue.count():
        await fill(catalogue)
    yield catalogue
    await notifier.close()
    await database.close()


async def fill(catalogue: Catalogue) -> None:
    actor = uuid4()
    texts = [text for text in TEXTS if text.strip()]
    drafts = [a_draft(title, texts[-place], DAYS[place % len(DAYS)]) for place, title in enumerate(texts)]
    books = await catalogue.add_many(drafts, actor)
    for book in books[::3]:
        await catalogue.change(book.id, BookPatch.only(title=book.title), actor)


async def all_of(catalogue: Catalogue, selection: Selection, order: Order, size: int = 1_000) -> list[Book]:
    books, token = [], None
    while True:
        page = await catalogue.page(size, token, selection, order)
        books += page.books
        assert len(page.books) == size or page.next_token is None
        token = page.next_token
        if token is None:
            return books


def meets(book: Book, selection: Selection) -> bool:
    words = {*words_of(book.title), *words_of(book.author)}
    return (
        (selection.author is None or book.author == selection.author)
        and (selection.title is None or book.title == selection.title)
        and book.author.startswith(selection.author_prefix or "")
        and book.title.startswith(selection.title_prefix or "")
        and all(any(words.issuperset(way) for way in ways_of(word)) for word in selection.words)
        and (selection.published_from or date.min) <= book.publication_date <= (selection.published_to or date.max)
    )


def in_order(books: list[Book], order: Order) -> list[Book]:
    def key(book: Book) -> tuple[object, int]:
        value = getattr(book, order.field)
        return (value[:200] if isinstance(value, str) else value), book.id

    return sorted(books, key=key, reverse=order.descending)


exact = st.none() | st.sampled_from(TEXTS)
prefixes = st.none() | st.builds(lambda text, length: text[:length], st.sampled_from(TEXTS), st.integers(1, 260))
words = st.lists(st.sampled_from(TEXTS), max_size=2).map(lambda texts: tuple(words_asked_for(" ".join(texts))))
days = st.none() | st.sampled_from(DAYS) | st.sampled_from(DAYS[1:]).map(lambda day: day - timedelta(days=1))
rarely = st.sampled_from([False, False, True])
selections = st.builds(
    Selection,
    author=rarely.flatmap(lambda given: exact if given else st.none()),
    author_prefix=rarely.flatmap(lambda given: prefixes if given else st.none()),
    title=rarely.flatmap(lambda given: exact if given else st.none()),
    title_prefix=rarely.flatmap(lambda given: prefixes if given else st.none()),
    words=rarely.flatmap(lambda given: words if given else st.just(())),
    published_from=days,
    published_to=days,
)
orders = st.builds(Order, st.sampled_from(get_args(Field)), st.booleans())


class TestPagingThroughASelection:
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
    @given(selection=selections, order=orders, size=st.integers(1, 12))
    async def test_gives_each_book_that_meets_it_once_and_in_order(
        self, shelf: Catalogue, selection: Selection, order: Order, size: int
    ) -> None:
        everything = await all_of(shelf, EVERYTHING, BY_ID)
        expected = in_order([book for book in everything if meets(book, selection)], order)
        assert await all_of(shelf, selection, order, size) == expected
        assert await shelf.count(selection) == len(expected)

    @pytest.mark.parametrize("descending", [False, True], ids=["ascending", "descending"])
    @pytest.mark.parametrize("field", get_args(Field))
    async def test_gives_every_book_in_each_order(self, shelf: Catalogue, field: Field, descending: bool) -> None:
        everything = await all_of(shelf, EVERYTHING, BY_ID)
        order = Order(field, descending)
        assert await all_of(shelf, EVERYTHING, order, 1) == in_order(everything, order)


class TestTheBeginningOfATitle:
    @pytest.mark.parametrize(
        "beginning",
        [
            pytest.param("\ud7ff", id="before-the-surrogates"),
            pytest.param("\ue000", id="after-the-surrogates"),
            pytest.param("\uffff", id="last-of-the-basic-plane"),
            pytest.param("\U0010ffff", id="the-last-character"),
            pytest.param("\U0010ffff" * 2, id="the-last-character-twice"),
            pytest.param("\U0010ffff" * 199, id="the-last-character-199-times"),
            pytest.param("\U0010ffff" * 200, id="the-last-character-200-times"),
            pytest.param("\U0010ffff" * 201, id="the-last-character-201-times"),
            pytest.param(LONG[:199], id="199-characters"),
            pytest.param(LONG[:200], id="200-characters"),
            pytest.param(LONG[:200] + "a", id="201-characters"),
            pytest.param("%", id="a-wildcard-of-sql"),
            pytest.param("\\", id="a-backslash"),
        ],
    )
    async def test_finds_those_that_begin_so_and_no_others(self, shelf: Catalogue, beginning: str) -> None:
        found = await all_of(shelf, Selection(title_prefix=beginning), BY_ID)
        everything = await all_of(shelf, EVERYTHING, BY_ID)
        assert found
        assert found == [book for book in everything if book.title.startswith(beginning)]


class TestWords:
    @pytest.mark.parametrize(
        ("question", "titles"),
        [
            pytest.param(
                "éMMA",
                {"Emma", "emma", "EMMA", "Émma", "Emma*", "Emma ", "Emma Emma", "\u200bEmma", "\u200fEmma\u200f"},
                id="latin",
            ),
            pytest.param("οδυσσευσ", {"ΟΔΥΣΣΕΥΣ", "Ὀδυσσεύς"}, id="greek"),
            pytest.param("strasse", {"Straße", "STRASSE"}, id="sharp-s"),
            pytest.param("שלום", {"שָׁלוֹם עֲלֵיכֶם"}, id="hebrew-with-points"),
            pytest.param("شمس", {"شَمْس", "شمس"}, id="arabic-with-vowels"),
            pytest.param("樓夢", {"紅樓夢", "紅 樓 夢"}, id="a-part-of-a-chinese-title"),
            pytest.param("夢", {"紅樓夢", "紅 樓 夢"}, id="one-chinese-character"),
            pytest.param("faust", {"𝔉𝔞𝔲𝔰𝔱 📚"}, id="fraktur"),
            pytest.param("маргарита мастер", {"Мастер и Маргарита"}, id="russian-in-another-order"),
        ],
    )
    async def test_find_titles_in_any_script(self, shelf: Catalogue, question: str, titles: set[str]) -> None:
        selection = Selection(words=tuple(words_asked_for(question)))
        found = await all_of(shelf, selection, BY_ID)
        assert titles <= {book.title for book in found}
        assert [book for book in found if not {book.title, book.author} & titles] == []

    async def test_of_a_title_may_be_joined_by_words_of_the_author(self, catalogue: Catalogue, actor: UUID) -> None:
        book = await catalogue.add(a_draft("Les Misérables", "Victor Hugo"), actor)
        selection = Selection(words=tuple(words_asked_for("hugo miserables")))
        assert await all_of(catalogue, selection, BY_ID) == [book]
