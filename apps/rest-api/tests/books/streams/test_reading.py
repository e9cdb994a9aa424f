"""From the bytes of an upload to books, without any server."""

import csv
import io
import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rest_api.books.streams.lines import LINE_MAX, Line, Lines
from rest_api.books.streams.problems import WrongHeader
from rest_api.books.streams.reading import Candidate, CsvReader, NdjsonReader, Reader

HEADER = "title,author,publication_date"


def lines_of(upload: bytes, at_once: int = 2**16) -> list[Line]:
    lines = Lines()
    cut = [line for at in range(0, len(upload), at_once) for line in lines.feed(upload[at : at + at_once])]
    return [*cut, *lines.last()]


def read(reader: Reader, upload: str | bytes) -> list[Candidate]:
    def candidates() -> Iterator[Candidate | None]:
        for line in lines_of(upload.encode() if isinstance(upload, str) else upload):
            yield reader.read(line)
        yield reader.end()

    return [candidate for candidate in candidates() if candidate is not None]


def read_csv(*records: str) -> list[Candidate]:
    return read(CsvReader(), "\n".join((HEADER, *records)))


def errors_of(candidate: Candidate) -> str:
    return " ".join(error["detail"] for error in candidate.errors)


class TestLines:
    @given(upload=st.text(st.sampled_from('a\n\r"é\N{GRINNING FACE}'), max_size=60), at_once=st.integers(1, 7))
    def test_are_the_same_whatever_pieces_they_come_in(self, upload: str, at_once: int) -> None:
        *whole, rest = upload.split("\n")
        expected = [*whole, rest] if rest else whole
        assert [line.text for line in lines_of(upload.encode(), at_once)] == expected

    def test_one_that_is_too_long_is_passed_over_and_counted(self) -> None:
        upload = b"first\n" + b"x" * LINE_MAX + b"\n" + b"y" * (LINE_MAX + 1) + b"\nlast"
        first, longest, too_long, last = lines_of(upload, at_once=1_000)
        assert (first.text, longest.text, last.text, last.number) == ("first", "x" * LINE_MAX, "last", 4)
        assert too_long.fault == "must have at most 65,536 bytes"

    def test_one_that_is_no_utf_8_is_told_with_its_byte(self) -> None:
        _, wrong, right = lines_of("a\ncaf\xe9\nb".encode("latin-1"))
        assert wrong.fault == "must be UTF-8, which the byte 0xE9 at 4 is not"
        assert right.text == "b"

    def test_a_byte_order_mark_is_no_part_of_the_first(self) -> None:
        assert [line.text for line in lines_of("\ufeffa\nb".encode())] == ["a", "b"]


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
        ],
    )
    def test_refuses_what_is_no_book(self, line: str, why: str) -> None:
        [refused] = read(NdjsonReader(), line)
        assert refused.draft is None
        assert why in errors_of(refused)

    def test_tells_no_more_of_a_line_than_is_of_use(self) -> None:
        [refused] = read(NdjsonReader(), json.dumps({str(number): 1 for number in range(6_000)}))
        assert len(refused.errors) == 20
        assert refused.errors[-1] == {"detail": "and there is more"}


class TestCsv:
    @given(
        rows=st.lists(
            st.lists(st.text(st.sampled_from('a,"\n\r é'), max_size=8), min_size=3, max_size=3), min_size=1, max_size=5
        ),
        end=st.sampled_from(("\n", "\r\n")),
        at_once=st.integers(1, 9),
    )
    def test_takes_apart_what_another_program_has_put_together(
        self, rows: list[list[str]], end: str, at_once: int
    ) -> None:
        written = io.StringIO()
        csv.writer(written, lineterminator=end, quoting=csv.QUOTE_ALL).writerows([HEADER.split(","), *rows])
        records = []

        class Taking(CsvReader):
            def _row(self, record: str, last_line: int, fault: str) -> None:
                assert not fault
                records.append(next(csv.reader([record.removesuffix("\r")], strict=True)))

        reader = Taking()
        for line in lines_of(written.getvalue().encode(), at_once):
            reader.read(line)
        # What a reader of a whole file makes of it.
        assert records[1:] == list(csv.reader(io.StringIO(written.getvalue(), newline="")))[1:]

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
        told = [(each.line, each.last_line, errors_of(each)) for each in candidates]
        assert told == [
            (2, 3, "must not contain the character U+000A"),
            (4, 4, "has 2 fields where the header has 3"),
            (5, 5, "is no CSV: a quote must be followed by a comma, by another quote, or by the end of the line"),
            (6, 6, "must not contain the character U+0000"),
            (7, 7, ""),
            (9, 9, "is no CSV: a carriage return must stand in quotes"),
            (10, 10, "a quote is opened that nothing closes"),
        ]

    def test_a_quote_that_nothing_closes_costs_64_kib_and_no_more(self) -> None:
        good = "Romola,Eliot,1863-01-01"
        candidates = read_csv('Romola,"Eliot,1863-01-01', *[good] * 5_000)
        assert "is there a quote that nothing closes?" in errors_of(candidates[0])
        assert candidates[0].last_line < 2_800
        assert candidates[1].line == candidates[0].last_line + 1
        assert all(each.draft for each in candidates[1:])

    @pytest.mark.parametrize(
        ("header", "faults"),
        [
            pytest.param("", ["there is none: the upload is empty"], id="nothing"),
            pytest.param(
                "title;author;publication_date",
                [
                    "the column 'title;author;publication_date' is not known here",
                    "the column 'title' must be there",
                    "the column 'author' must be there",
                    "the column 'publication_date' must be there",
                ],
                id="semicolons",
            ),
            pytest.param(f"{HEADER},isbn", ["the column 'isbn' is not known here"], id="unknown"),
            pytest.param(f"{HEADER},title", ["the column 'title' must be there once"], id="twice"),
            pytest.param('"title', ["a quote is opened that nothing closes"], id="torn-off"),
            pytest.param("x" * 70_000, ["must have at most 65,536 bytes"], id="too-long"),
        ],
    )
    def test_a_wrong_header_ends_it(self, header: str, faults: list[str]) -> None:
        with pytest.raises(WrongHeader) as caught:
            read(CsvReader(), header)
        assert [error["detail"] for error in caught.value.errors] == faults
