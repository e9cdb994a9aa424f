"""Page tokens: what was given comes back to the same list, everything else is refused."""

import base64
from datetime import UTC, date, datetime
from typing import Any, get_args

import pytest
from book_db.book import Book
from book_db.books import pages
from book_db.books.pages import LENGTH_MAX, Place
from book_db.books.selection import BY_ID, EVERYTHING, Field, Order, Selection
from book_db.errors import InvalidPageToken
from hypothesis import given
from hypothesis import strategies as st

# No NUL: PostgreSQL has no such text.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=300)
int64s = st.integers(min_value=-(2**63), max_value=2**63 - 1)
books = st.builds(
    Book,
    id=int64s,
    title=texts,
    author=texts,
    publication_date=st.dates(),
    version=int64s,
    created_at=st.datetimes(timezones=st.just(UTC)),
    updated_at=st.datetimes(timezones=st.just(UTC)),
)
orders = st.builds(Order, st.sampled_from(get_args(Field)), st.booleans())
selections = st.builds(
    Selection,
    author=st.none() | texts,
    author_prefix=st.none() | texts,
    title=st.none() | texts,
    title_prefix=st.none() | texts,
    words=st.lists(texts, max_size=3).map(tuple),
    published_from=st.none() | st.dates(),
    published_to=st.none() | st.dates(),
)
lists = st.tuples(orders, selections)
A_DAY = date(1871, 12, 1)
A_TIME = datetime(2026, 11, 23, 18, 0, 0, 123456, tzinfo=UTC)


def a_book(book_id: int = 7, title: str = "Middlemarch") -> Book:
    return Book(book_id, title, "George Eliot", A_DAY, 1, A_TIME, A_TIME)


class TestAToken:
    @given(books, orders, selections)
    def test_brings_back_the_place_it_was_made_of(self, book: Book, order: Order, selection: Selection) -> None:
        place = pages.decode(pages.encode(book, order, selection), order, selection)
        assert place.id == book.id
        match order.field:
            case "id":
                assert place.key is None
            case "title" | "author":
                assert place.key == getattr(book, order.field)[:200]
            case field:
                assert place.key == getattr(book, field)

    @pytest.mark.parametrize(
        "book_id",
        [
            pytest.param(0, id="before-the-first"),
            pytest.param(1, id="the-first"),
            pytest.param(2**53 + 1, id="beyond-what-a-double-holds"),
            pytest.param(2**63 - 1, id="the-last-int64"),
            pytest.param(-(2**63), id="the-lowest-int64"),
        ],
    )
    def test_holds_any_int64(self, book_id: int) -> None:
        assert pages.decode(pages.encode(a_book(book_id))) == Place(None, book_id)

    @given(books, orders)
    def test_stands_in_a_url_as_it_is(self, book: Book, order: Order) -> None:
        token = pages.encode(book, order)
        assert 23 <= len(token) <= LENGTH_MAX
        assert token.isascii()
        assert token.replace("-", "").replace("_", "").isalnum()

    def test_of_the_longest_title_is_as_long_as_any(self) -> None:
        assert len(pages.encode(a_book(title="\U0010ffff" * 2_000), Order("title"))) == LENGTH_MAX

    @given(books, books)
    def test_is_another_for_another_book(self, one: Book, other: Book) -> None:
        assert (pages.encode(one) == pages.encode(other)) == (one.id == other.id)


class TestATokenOfAnotherList:
    @given(books, lists, lists)
    def test_is_refused(self, book: Book, one: tuple[Order, Selection], other: tuple[Order, Selection]) -> None:
        if one != other:
            with pytest.raises(InvalidPageToken, match="for these filters in this order"):
                pages.decode(pages.encode(book, *one), *other)

    @pytest.mark.parametrize(
        ("order", "selection"),
        [
            pytest.param(BY_ID, Selection(author="A"), id="with-a-filter"),
            pytest.param(BY_ID, Selection(words=("a",)), id="with-words"),
            pytest.param(Order("id", descending=True), EVERYTHING, id="the-other-way-round"),
            pytest.param(Order("title"), EVERYTHING, id="by-another-field"),
        ],
    )
    def test_is_refused_however_like(self, order: Order, selection: Selection) -> None:
        with pytest.raises(InvalidPageToken):
            pages.decode(pages.encode(a_book()), order, selection)

    def test_is_told_by_what_filters_say_and_not_by_where(self) -> None:
        exact, prefix = Selection(author="A"), Selection(author_prefix="A")
        with pytest.raises(InvalidPageToken):
            pages.decode(pages.encode(a_book(), BY_ID, exact), BY_ID, prefix)


class TestATokenThatWasTamperedWith:
    @given(books, lists, st.data())
    def test_in_one_bit_is_refused(self, book: Book, of: tuple[Order, Selection], data: Any) -> None:
        token = bytearray(pages.encode(book, *of).encode())
        position = data.draw(st.integers(0, len(token) * 7 - 1))
        token[position // 7] ^= 1 << position % 7
        with pytest.raises(InvalidPageToken):
            pages.decode(token.decode("latin-1"), *of)

    @given(books, lists, st.data())
    def test_that_was_cut_is_refused(self, book: Book, of: tuple[Order, Selection], data: Any) -> None:
        token = pages.encode(book, *of)
        with pytest.raises(InvalidPageToken):
            pages.decode(token[: data.draw(st.integers(0, len(token) - 1))], *of)

    @given(books, lists, st.text(min_size=1))
    def test_that_was_extended_is_refused(self, book: Book, of: tuple[Order, Selection], more: str) -> None:
        token = pages.encode(book, *of)
        for longer in (token + more, more + token):
            with pytest.raises(InvalidPageToken):
                pages.decode(longer, *of)

    @given(st.text(), lists)
    def test_that_is_any_text_is_refused(self, token: str, of: tuple[Order, Selection]) -> None:
        with pytest.raises(InvalidPageToken):
            pages.decode(token, *of)

    @given(st.binary(min_size=17, max_size=40), orders)
    def test_that_is_any_bytes_is_refused(self, data: bytes, order: Order) -> None:
        with pytest.raises(InvalidPageToken):
            pages.decode(base64.urlsafe_b64encode(b"\x02" + data).rstrip(b"=").decode(), order)

    @pytest.mark.parametrize(
        "token",
        [
            pytest.param("", id="empty"),
            pytest.param("=", id="padding-alone"),
            pytest.param("A" * 23, id="zeros-of-the-right-length"),
            pytest.param("A" * 100_000, id="very-long"),
            pytest.param("é" * 23, id="not-ascii"),
            pytest.param("\ud800", id="lone-surrogate"),
            pytest.param("50", id="an-offset"),
            pytest.param("AQAAAAAAAAAHs5gHt7rJzUY", id="of-the-release-before"),
            pytest.param(pages.encode(a_book()) + "=", id="with-its-padding"),
            pytest.param(" " + pages.encode(a_book()), id="blank-before"),
            pytest.param(pages.encode(a_book()) + "\n", id="newline-after"),
            # Not given by us, and nobody stops one from making them: they must not reach the database.
            pytest.param(pages.encode(a_book(title="a\0b"), Order("title")), id="a-title-with-a-nul"),
        ],
    )
    @pytest.mark.parametrize("order", [BY_ID, Order("title")], ids=["by-id", "by-title"])
    def test_in_well_known_ways_is_refused(self, token: str, order: Order) -> None:
        with pytest.raises(InvalidPageToken, match="not one that this catalogue gave"):
            pages.decode(token, order)
