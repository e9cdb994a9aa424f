from contextlib import suppress
from datetime import date

import pytest
from book_db.book import Draft
from colophon.importing.books import ColumnMapping, FileBook, Refused, WrongColumns, read_date
from colophon.importing.rows import Row, UnreadableFile
from hypothesis import given
from hypothesis import strategies as st


def a_row(title: str = "Emma", author: str = "Austen", day: str = "1815") -> Row:
    return Row(2, 2, [title, author, day])


def a_reader(default_author: str | None = None) -> ColumnMapping:
    return ColumnMapping(3, title=0, author=1, date=2, default_author=default_author)


class TestDates:
    @pytest.mark.parametrize(
        ("text", "expected", "completed"),
        [
            pytest.param("1510", date(1510, 1, 1), True, id="year"),
            pytest.param(" 1510 ", date(1510, 1, 1), True, id="year-with-spaces"),
            pytest.param("1871-12-01", date(1871, 12, 1), False, id="date"),
            pytest.param("2000-02-29", date(2000, 2, 29), False, id="leap-day"),
            pytest.param("0001", date(1, 1, 1), True, id="first-year"),
            pytest.param("9999-12-31", date(9999, 12, 31), False, id="last-day"),
            pytest.param("2004-05-01T00:00:00+00:00", date(2004, 5, 1), False, id="calibre"),
            pytest.param("2004-05-01T23:59:59-11:00", date(2004, 5, 1), False, id="the-day-is-as-it-is-written"),
            pytest.param("2004-05-01T00:00:00Z", date(2004, 5, 1), False, id="time-in-utc"),
            pytest.param("2004-05-01t00:00:00.123456z", date(2004, 5, 1), False, id="time-with-a-fraction"),
            pytest.param("2004-05-01 00:00:00,5 +0200", date(2004, 5, 1), False, id="time-after-a-blank"),
            pytest.param("2004-05-01 00:00:00 UTC", date(2004, 5, 1), False, id="time-with-the-name-of-its-zone"),
            pytest.param("2004-05-01T00:00", date(2004, 5, 1), False, id="time-without-seconds"),
            pytest.param("2004-05-01T24:00:00", date(2004, 5, 1), False, id="end-of-the-day"),
            pytest.param("2004-05-01T", date(2004, 5, 1), False, id="blank-time"),
            pytest.param("0101-01-01", date(101, 1, 1), False, id="a-day-that-calibre-has-no-time-for"),
        ],
    )
    def test_dates_and_years_are_read(
        self, text: str, expected: date, completed: bool
    ) -> None:  # a parameter of the table
        assert read_date(text) == (expected, completed)

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            pytest.param("", "no date", id="empty"),
            pytest.param("  ", "no date", id="blank"),
            pytest.param("18??", r"'18\?\?' is neither a date", id="unsure"),
            pytest.param("[1871]", "neither", id="cataloguers-guess"),
            pytest.param("1871-73", "neither", id="span"),
            pytest.param("46", "neither", id="two-digits"),
            pytest.param("18710", "neither", id="five-digits"),
            pytest.param("-0044", "neither", id="before-christ"),
            pytest.param("1871-1-2", "neither", id="not-padded"),
            pytest.param("18711201", "neither", id="basic-iso"),
            pytest.param("1871-W48", "neither", id="iso-week"),
            pytest.param("1871-12-01T25:00", "neither", id="no-time"),
            pytest.param("1871-12-01T10:61:00Z", "neither", id="no-minute"),
            pytest.param("1871-12-01T00:00+", "neither", id="half-an-offset"),
            pytest.param("1871-12-01x", "neither", id="more-than-a-date"),
            pytest.param("1871T00:00", "neither", id="year-with-a-time"),
            pytest.param("1871-02-30T00:00:00Z", "not in the calendar", id="no-such-day-with-a-time"),
            pytest.param(
                "0101-01-01T00:00:00+00:00", "no date, which is what .* means in Calibre", id="calibre-unknown"
            ),
            pytest.param("0100-12-31T19:00:00-05:00", "no date, which is what .* means in Calibre", id="and-elsewhere"),
            pytest.param("12/01/1871", "neither", id="american"),
            pytest.param("١٨٧١", "neither", id="digits-of-another-script"),
            pytest.param("1871-02-30", "'1871-02-30' is not in the calendar", id="no-such-day"),
            pytest.param("1900-02-29", "not in the calendar", id="not-a-leap-year"),
            pytest.param("0000", "'0000' is not in the calendar", id="year-zero"),
            pytest.param("x" * 500, f"^'{'x' * 40}…' is neither", id="long-text-is-cut"),
        ],
    )
    def test_whatever_else_is_refused_with_its_reason(self, text: str, reason: str) -> None:
        with pytest.raises(Refused, match=reason):
            read_date(text)

    @given(st.dates())
    def test_every_day_can_be_written(self, day: date) -> None:
        assert read_date(day.isoformat()) == (day, False)

    @given(st.text())
    def test_no_text_does_anything_but_be_read_or_refused(self, text: str) -> None:
        with suppress(Refused):
            read_date(text)


class TestRows:
    def test_a_row_becomes_a_book(self) -> None:
        row = a_row(" Emma ", "Austen", "1815-12-23")
        assert a_reader().read(row) == FileBook(row, Draft("Emma", "Austen", date(1815, 12, 23)))

    def test_text_is_brought_into_nfc_as_the_service_does(self) -> None:
        assert a_reader().read(a_row("E\u0301mile")).draft.title == "\xc9mile"

    def test_a_missing_author_is_supplied_and_noted(self) -> None:
        book = a_reader("Unknown").read(a_row(author=" "))
        assert (book.draft.author, book.author_supplied) == ("Unknown", True)

    def test_a_given_author_is_kept(self) -> None:
        book = a_reader("Unknown").read(a_row())
        assert (book.draft.author, book.author_supplied) == ("Austen", False)

    @pytest.mark.parametrize(
        ("row", "reason"),
        [
            pytest.param(a_row(title=""), "no title", id="no-title"),
            pytest.param(a_row(title="\u200b"), "title must not be blank", id="nothing-visible"),
            pytest.param(a_row(author=" "), "no author", id="no-author"),
            pytest.param(a_row(day=""), "no date", id="no-date"),
            pytest.param(a_row(title="a\nb"), r"title must not contain the character U\+000A", id="newline"),
            pytest.param(a_row(author="a\0b"), r"author must not contain the character U\+0000", id="nul"),
            pytest.param(a_row(title="x" * 2001), "title must have at most 2,000 characters", id="long-title"),
            pytest.param(a_row(author="x" * 1001), "author must have at most 1,000", id="long-author"),
            pytest.param(Row(2, 2, ["Emma", "Austen"]), "2 fields where the header has 3", id="too-few"),
            pytest.param(Row(2, 2, ["Emma"]), "1 field where the header has 3", id="one"),
            pytest.param(Row(2, 2, ["a", "b", "c", "d"]), "4 fields where the header has 3", id="too-many"),
            pytest.param(Row(2, 2, [], "not valid CSV: x"), "not valid CSV: x", id="malformed"),
        ],
    )
    def test_what_is_no_book_is_refused_with_its_reason(self, row: Row, reason: str) -> None:
        with pytest.raises(Refused, match=reason):
            a_reader().read(row)

    def test_bytes_in_another_encoding_count_only_where_they_are_asked_for(self) -> None:
        reader = ColumnMapping(4, title=0, author=1, date=2)
        assert reader.read(Row(2, 2, ["Emma", "Austen", "1815", "\udce9"])).draft.title == "Emma"
        with pytest.raises(Refused, match="author has the byte 0xE9, which does not fit the file's encoding"):
            reader.read(Row(2, 2, ["Emma", "\udce9", "1815", ""]))

    def test_and_stop_the_file_where_its_encoding_is_in_doubt(self) -> None:
        reader = ColumnMapping(4, title=0, author=1, date=2)
        assert (
            reader.read(Row(7, 7, ["Emma", "Austen", "1815", "\udce9"], encoding_in_doubt="hm")).draft.title == "Emma"
        )
        with pytest.raises(UnreadableFile, match="hm") as stopped:
            reader.read(Row(7, 7, ["\udce9", "Austen", "1815", ""], encoding_in_doubt="hm"))
        assert stopped.value.line == 7

    def test_fields_are_a_book_if_they_can_be_read_as_one(self) -> None:
        assert a_reader().is_book(["Emma", "Austen", "1815"])
        assert not a_reader().is_book(["Emma", "Austen", "soon"])
        assert not a_reader().is_book(["Emma", "Austen"])

    def test_the_longest_texts_are_taken(self) -> None:
        book = a_reader().read(a_row("x" * 2000, "y" * 1000))
        assert (len(book.draft.title), len(book.draft.author)) == (2000, 1000)


class TestColumns:
    @staticmethod
    def reader_of(*header: str) -> ColumnMapping:
        return ColumnMapping.of(list(header), title="title", author="author", date="date")

    def test_columns_are_found_by_name_in_any_order(self) -> None:
        assert self.reader_of("id", "date", "title", "author") == ColumnMapping(4, title=2, author=3, date=1)

    def test_a_missing_column_is_answered_with_those_there_are(self) -> None:
        with pytest.raises(WrongColumns, match=r"no column 'author'; the file has: 'title', 'date' \(--author names"):
            self.reader_of("title", "date")

    def test_a_name_that_is_nearly_right_is_pointed_out(self) -> None:
        with pytest.raises(WrongColumns, match="'Title' perhaps"):
            self.reader_of("Title", "author", "date")

    def test_a_column_twice_is_refused_if_it_is_asked_for(self) -> None:
        with pytest.raises(WrongColumns, match="more than one column 'title'"):
            self.reader_of("title", "title", "author", "date")

    def test_other_columns_may_be_there_twice_or_have_no_name(self) -> None:
        assert self.reader_of("title", "author", "date", "x", "x", "", "").width == 7

    @pytest.mark.parametrize(("header", "written"), [("title;author;date", "';'"), ("title\tauthor", "'tab'")])
    def test_a_wrong_delimiter_is_pointed_out(self, header: str, written: str) -> None:
        with pytest.raises(WrongColumns, match=f"--delimiter {written}"):
            self.reader_of(header)
