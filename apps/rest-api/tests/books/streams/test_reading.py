"""From the bytes of an upload to books, without any server."""

import json
import re
from collections.abc import Iterable, Iterator

import pytest
from book_runtime.delimited.lines import Lines
from hypothesis import given
from hypothesis import strategies as st
from rest_api.books.streams.lines import LINE_MAX_BYTES
from rest_api.books.streams.problems import WrongHeader
from rest_api.books.streams.reading import CsvReader, NdjsonReader, Reader, UploadedBook

HEADER = "title,author,publication_date"
A_BOOK = '{"title":"Romola","author":"Eliot","publication_date":"1863-01-01"}'
TEXT_BEHIND_A_QUOTE = "text follows the quote that closes a field; a quote inside of one is written twice"


def read(reader: Reader, upload: str | bytes, at_once: int = 2**16) -> list[UploadedBook]:
    content = upload.encode() if isinstance(upload, str) else upload
    lines = Lines("utf-8", LINE_MAX_BYTES, reader.ends)

    def candidates() -> Iterator[UploadedBook]:
        for at in range(0, len(content), at_once):
            for line in lines.feed(content[at : at + at_once]):
                yield from reader.read(line)
        for line in lines.last():
            yield from reader.read(line)
        yield from reader.end()

    return list(candidates())


def read_csv(*records: str) -> list[UploadedBook]:
    return read(CsvReader(), "\n".join((HEADER, *records)))


def told(candidates: Iterable[UploadedBook]) -> list[tuple[int, int, str]]:
    """Of each its lines, and what is wrong with it."""
    return [(each.line, each.last_line, errors_of(each)) for each in candidates]


def errors_of(candidate: UploadedBook) -> str:
    return " ".join(error["detail"] for error in candidate.errors)


class TestNdjson:
    @pytest.mark.parametrize(
        ("line", "why"),
        [
            pytest.param("{", "Expecting property name enclosed in double quotes at character 1", id="torn-off"),
            pytest.param('{"title":"a\0b"}', "Invalid control character at at character 11", id="nul"),
            pytest.param("[" * 50_000, "is nested too deeply", id="nested"),
            pytest.param("9" * 5_000, "too many digits", id="5000-digits"),
            pytest.param("null", "must be a JSON object", id="null"),
            pytest.param('["a"]', "must be a JSON object", id="list"),
            pytest.param('{"title":"\\ud800"}', "must not contain the character U+D800", id="half-a-pair"),
            pytest.param("{}", "must be given must be given must be given", id="empty-object"),
            pytest.param(b"caf\xe9", "must be UTF-8, which the byte 0xE9 at 4 is not", id="latin-1"),
            pytest.param("é".encode() + b"\xe2\x82", "must be UTF-8, which the byte 0xE2 at 3 is not", id="cut-off"),
            pytest.param(b"\xe9" * LINE_MAX_BYTES, "must be UTF-8, which the byte 0xE9 at 1 is not", id="nothing-else"),
            pytest.param("é" * (LINE_MAX_BYTES // 2) + "x", "must have at most 65,536 bytes", id="too-long"),
        ],
    )
    def test_refuses_what_is_no_book(self, line: str | bytes, why: str) -> None:
        [refused] = read(NdjsonReader(), line)
        assert refused.draft is None
        assert why in errors_of(refused)

    def test_tells_no_more_of_a_line_than_is_of_use(self) -> None:
        [refused] = read(NdjsonReader(), json.dumps({str(number): 1 for number in range(6_000)}))
        assert len(refused.errors) == 20
        assert refused.errors[-1] == {"detail": "and there is more"}

    @given(
        upload=st.lists(
            st.sampled_from(
                [A_BOOK, '{"title":', "{}", "", " ", "\t", "\r", "é", "\u2028", "\0", '"', "\n", "\n", "\r\n"]
            )
        ).map("".join),
        at_once=st.integers(1, 9),
    )
    def test_every_line_is_a_book_or_refused_or_blank(self, upload: str, at_once: int) -> None:
        candidates = read(NdjsonReader(), upload, at_once)
        lines = dict(enumerate(upload.split("\n"), 1))
        assert [each.line for each in candidates] == [number for number, line in lines.items() if line.strip(" \t\r")]
        assert all(each.line == each.last_line for each in candidates)
        assert all((each.draft is None) == bool(each.errors) for each in candidates)


class TestCsv:
    @given(
        upload=st.lists(
            st.sampled_from(
                [
                    *('"', '""', ",", "\n", "\r\n", "\r", "a", "1871-12-01", " ", "\0", "é", "\u2028"),
                    "Romola,Eliot,1863-01-01\n",
                    '"Romola",Eliot,1863-01-01\r\n',
                    '"Romola\n",Eliot,1863-01-01\n',
                ]
            ),
            max_size=40,
        ).map("".join),
        at_once=st.integers(1, 9),
    )
    def test_every_line_is_in_a_book_or_refused_or_blank(self, upload: str, at_once: int) -> None:
        candidates = read(CsvReader(), f"{HEADER}\n{upload}", at_once)
        lines = dict(enumerate(re.split("\r\n|\n|\r", f"{HEADER}\n{upload}"), 1))
        told_of = [line for each in candidates for line in range(each.line, each.last_line + 1)]
        assert told_of == sorted(set(told_of))
        assert {number for number, line in lines.items() if line} - {1} <= set(told_of) <= set(lines) - {1}
        assert all((each.draft is None) == bool(each.errors) for each in candidates)

    def test_takes_the_columns_in_any_order_and_passes_over_what_the_catalogue_gives(self) -> None:
        upload = "version,author,id,title,publication_date\r\n7,George Eliot,1,Romola,1863-01-01\r\n"
        [book] = read(CsvReader(), upload)
        assert book.draft is not None
        assert (book.draft.author, book.draft.title, book.line) == ("George Eliot", "Romola", 2)

    def test_refuses_a_record_and_goes_on_behind_it(self) -> None:
        candidates = read_csv(
            'Silas,"Eliot',
            'George",1861-01-01',
            "Romola,Eliot",
            'Romola,"Eliot"x,1863-01-01',
            "Ro\0mola,Eliot,1863-01-01",
            '5" of rain,Eliot,1863-01-01',
            "",
            "Adam\rBede,Eliot,1859-01-01",
            'Felix Holt,"Eliot,1866-01-01',
        )
        assert told(candidates) == [
            (2, 3, "must not contain the character U+000A"),
            (4, 4, "has 2 fields where the header has 3"),
            (5, 5, f"is not valid CSV: {TEXT_BEHIND_A_QUOTE}"),
            (6, 6, "must not contain the character U+0000"),
            (7, 7, ""),
            (9, 9, "has 1 field where the header has 3"),
            (10, 10, "is not valid CSV: the carriage return that ends line 9 must stand in quotes"),
            (11, 11, "is not valid CSV: a quote is opened that nothing closes"),
        ]

    def test_finds_what_follows_a_quote_that_only_a_later_record_closes(self) -> None:
        candidates = read_csv(
            '"Romola,Eliot,1863-01-01',
            "Adam Bede,Eliot,1859-01-01",
            'Silas "Eppie" Marner,Eliot,1861-01-01',
            '"Felix Holt,Eliot,1866-01-01',
            "Middlemarch,Eliot,1871-12-01",
            'Daniel Deronda",Eliot,1876-01-01',
            "Brother Jacob,Eliot,1864-01-01",
        )
        opened = "is not valid CSV: a quote is opened that line"
        assert told(candidates) == [
            (2, 2, f"{opened} 4 closes, with text behind it"),
            (3, 3, ""),
            (4, 4, ""),
            (5, 5, f"{opened} 7 closes, but these lines look like rows of their own"),
            (6, 6, ""),
            (7, 7, ""),
            (8, 8, ""),
        ]

    def test_a_quote_that_nothing_closes_costs_its_own_line(self) -> None:
        good = "Romola,Eliot,1863-01-01"
        first, *others = read_csv('Romola,"Eliot,1863-01-01', *[good] * 5_000)
        assert "a quote is opened that nothing closes within 65,536 bytes" in errors_of(first)
        assert (first.line, first.last_line) == (2, 2)
        assert [each.line for each in others if each.draft] == list(range(3, 5_003))

    def test_lines_within_quotes_that_are_no_records_stay_together(self) -> None:
        upload = 'id,title,author,publication_date\n"1,\n2,3",Romola,Eliot,1863-01-01\n7,Romola,Eliot,1863-01-01\n'
        assert told(read(CsvReader(), upload)) == [(2, 3, ""), (4, 4, "")]

    def test_bytes_in_another_encoding_count_only_in_what_a_book_has(self) -> None:
        upload = f"id,{HEADER}\n".encode() + b"\xe9,Romola,Eliot,1863-01-01\n1,Romola,\xe9,1863-01-01\n"
        taken, refused = read(CsvReader(), upload)
        assert taken.draft is not None
        assert refused.errors == [{"pointer": "/author", "detail": "must be UTF-8, which the byte 0xE9 is not"}]

    @pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
    @pytest.mark.parametrize("first", ["", "sep={}\r\n", "\ufeffsep={}\n", "\r\n"])
    def test_takes_the_delimiters_of_spreadsheets(self, first: str, delimiter: str) -> None:
        rows = f"{HEADER}\r\nRomola,George Eliot,1863-01-01\r\n".replace(",", delimiter)
        [book] = read(CsvReader(), first.format(delimiter) + rows)
        assert book.draft is not None
        assert (book.draft.title, book.line) == ("Romola", 3 if first else 2)

    @pytest.mark.parametrize(
        ("header", "faults"),
        [
            pytest.param("", ["there is none: the upload is empty"], id="nothing"),
            pytest.param(
                "title;author;date",
                ["the column 'date' is not known here", "the column 'publication_date' must be there"],
                id="semicolons",
            ),
            pytest.param(f"{HEADER},isbn", ["the column 'isbn' is not known here"], id="unknown"),
            pytest.param(f"{HEADER},title", ["the column 'title' must be there once"], id="twice"),
            pytest.param('"title', ["is not valid CSV: a quote is opened that nothing closes"], id="torn-off"),
            pytest.param("x" * 70_000, ["is longer than 65,536 bytes"], id="too-long"),
            pytest.param(HEADER.encode("utf-16"), ["must be UTF-8, and looks like UTF-16 or UTF-32"], id="utf-16"),
            pytest.param(HEADER.encode("utf-32-be"), ["must be UTF-8, and looks like UTF-16 or UTF-32"], id="utf-32"),
            pytest.param(b"t\xeftle", ["must be UTF-8, which the byte 0xEF is not"], id="latin-1"),
        ],
    )
    def test_a_wrong_header_ends_it(self, header: str | bytes, faults: list[str]) -> None:
        with pytest.raises(WrongHeader) as caught:
            read(CsvReader(), header)
        assert [error["detail"] for error in caught.value.errors] == faults
