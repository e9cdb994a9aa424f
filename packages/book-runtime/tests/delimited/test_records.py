import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Literal

import pytest
from book_runtime.delimited import records as module
from book_runtime.delimited.fields import Fields
from book_runtime.delimited.lines import Line, Lines
from book_runtime.delimited.records import Record, Records
from hypothesis import given
from hypothesis import strategies as st

HEADER = "title,author,year\n"
LONGEST = 2**16

# What files are made of, and what goes wrong with them.
PIECES = st.sampled_from(
    ['"', '""', ",", ";", "\n", "\r\n", "\r", "a", "1999", " ", "\0", "é", "\u2028", "A,Doe,1999\n", '"B",Doe,1999\r\n']
)
TEXTS = st.lists(PIECES, max_size=40).map("".join)
PLAIN = st.text(st.sampled_from("abc é'5"), min_size=1, max_size=6)
ROWS = st.lists(st.tuples(PLAIN, PLAIN, st.just("1999")).map(list), min_size=1, max_size=12)


def is_row(fields: Sequence[str]) -> bool:
    return len(fields) == 3 and bool(fields[0]) and re.fullmatch("[0-9]{4}", fields[2]) is not None


def is_never_sure(_: Sequence[str]) -> bool:
    return False


def read(
    text: str, longest: int = LONGEST, *, at_once: int = 1_000, is_row: Callable[[Sequence[str]], bool] = is_row
) -> list[Record]:
    """All records behind the header."""
    return list(_read(text.encode(), longest, at_once, is_row))[1:]


def _read(text: bytes, longest: int, at_once: int, is_row: Callable[[Sequence[str]], bool]) -> Iterator[Record]:
    lines, records = Lines("utf-8", longest), Records(None, names=("title", "author", "year"), longest=longest)

    def cut() -> Iterator[Line]:
        for at in range(0, len(text), at_once):
            yield from lines.feed(text[at : at + at_once])
        yield from lines.last()

    for line in cut():
        for record in records.feed(line):
            yield record
            records.expect(is_row)
    yield from records.end()


def told(text: str) -> list[tuple[int, int, str]]:
    """Of each record its lines, and its first field or its fault."""
    return [(each.line, each.last_line, each.fault or each.fields[0]) for each in read(HEADER + text)]


class TestEveryLine:
    @given(text=TEXTS, at_once=st.integers(1, 7), longest=st.sampled_from([20, 50, LONGEST]))
    def test_is_in_one_record_or_empty(self, text: str, at_once: int, longest: int) -> None:
        lines = re.split("\r\n|\n|\r", HEADER + text)
        found = [
            line
            for each in read(HEADER + text, longest, at_once=at_once)
            for line in range(each.line, each.last_line + 1)
        ]
        assert found == sorted(set(found))
        assert set(found) >= {number for number, line in enumerate(lines, 1) if line and number > 1}
        assert set(found) <= set(range(2, len(lines) + 1))

    @given(text=TEXTS, at_once=st.integers(1, 7))
    def test_is_in_the_same_one_whatever_pieces_it_comes_in(self, text: str, at_once: int) -> None:
        assert read(HEADER + text, at_once=at_once) == read(HEADER + text)

    @given(text=TEXTS)
    def test_that_is_refused_is_refused_alone_and_with_its_text(self, text: str) -> None:
        lines = re.split("\r\n|\n|\r", HEADER + text)
        for each in read(HEADER + text):
            if each.fault:
                assert each.line == each.last_line
                assert each.fields == [lines[each.line - 1]]

    @given(text=st.lists(st.sampled_from(['a","b""c\n', '"x\n', 'x,"\n', "a\n", '"",x,"\n', "\n"]), max_size=200))
    def test_is_taken_apart_twice_at_the_most(self, text: list[str]) -> None:
        times = 0

        class Counting(Fields):
            def take(self, text: str, end: str) -> None:
                nonlocal times
                times += 1
                super().take(text, end)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "Fields", Counting)
            read(HEADER + "".join(text), 100)
        assert times <= 2 * (len(text) + 1)


class TestWhatIsWellFormed:
    @given(
        rows=st.lists(
            st.lists(st.text(st.sampled_from('a,;"\n\r\0 é\u2028')), min_size=3, max_size=3), min_size=1, max_size=6
        ),
        # Before Python 3.13 a writer quotes a line end only if it is one of its own.
        form=st.sampled_from([(csv.QUOTE_MINIMAL, "\r\n"), *((csv.QUOTE_ALL, end) for end in ("\n", "\r\n", "\r"))]),
        at_once=st.integers(1, 9),
    )
    def test_is_read_as_it_was_written(
        self, rows: list[list[str]], form: tuple[Literal[0, 1], str], at_once: int
    ) -> None:
        written = io.StringIO(newline="")
        writer = csv.writer(written, quoting=form[0], lineterminator=form[1])
        writer.writerows([["title", "author", "year"], *rows])
        records = read(written.getvalue(), at_once=at_once, is_row=is_never_sure)
        assert [(each.fields, each.fault) for each in records] == [(row, "") for row in rows]
        assert all(one.last_line + 1 == other.line for one, other in pairwise(records))

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    def test_may_go_over_lines_beside_rows(self, end: str) -> None:
        rows = [
            "title,author,year,about",
            'A,Doe,1999,"On A,',
            "",
            'by ""Doe""."',
            "B,Doe,1999,",
            '"C",Roe,1999,"',
            '"',
        ]
        records = list(
            _read(end.join(rows).encode(), LONGEST, 3, lambda fields: len(fields) == 4 and is_row(fields[:3]))
        )
        assert [(each.line, each.last_line, each.fields[3], each.fault) for each in records[1:]] == [
            (2, 4, f'On A,{end}{end}by "Doe".', ""),
            (5, 5, "", ""),
            (6, 7, end, ""),
        ]

    def test_may_have_quotes_in_fields_that_begin_with_none(self) -> None:
        assert told('5" of rain,Doe,1999\nB,"Doe",1999\n') == [(2, 2, '5" of rain'), (3, 3, "B")]

    def test_may_be_as_long_as_it_may_be(self) -> None:
        longest = f'"{"a" * 40}\n{"b" * 40}",Doe,1999'
        assert [each.fault for each in read(f"{HEADER}{longest}\n", len(longest))] == [""]
        assert "nothing closes within" in read(f"{HEADER}{longest}\n", len(longest) - 1)[0].fault


class TestAStrayQuote:
    @given(rows=ROWS, place=st.integers(0), column=st.integers(0, 2), line_end=st.sampled_from(["\n", "\r\n", "\r"]))
    def test_that_nothing_closes_costs_its_own_row(
        self, rows: list[list[str]], place: int, column: int, line_end: str
    ) -> None:
        place %= len(rows)
        lines = [",".join(row) for row in rows]
        lines[place] = ",".join('"' * (at == column) + field for at, field in enumerate(rows[place]))
        records = read(line_end.join([HEADER.strip(), *lines]))
        assert [each.line for each in records if each.fault] == [place + 2]
        assert [each.fields for each in records if not each.fault] == [*rows[:place], *rows[place + 1 :]]

    @given(rows=ROWS, places=st.tuples(st.integers(0), st.integers(0)), columns=st.tuples(*[st.integers(0, 2)] * 2))
    def test_that_another_closes_costs_no_other_row_than_theirs(
        self, rows: list[list[str]], places: tuple[int, int], columns: tuple[int, int]
    ) -> None:
        first, second = sorted(place % len(rows) for place in places)
        lines = [list(row) for row in rows]
        lines[first][columns[0]] = '"' + lines[first][columns[0]]
        lines[second][columns[1]] += '"'
        records = read(HEADER + "\n".join(map(",".join, lines)))
        others = [number for number in range(2, len(rows) + 2) if number - 2 not in {first, second}]
        assert [each.line for each in records if each.line in others] == others
        assert [each.fields for each in records if each.line in others] == [rows[line - 2] for line in others]

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            pytest.param(
                '"A,Doe,1999\nB,Doe,1999\nC "6" x,Poe,1971\nD,Roe,1972\n',
                [(2, 2, "that line 4 closes, with text behind it"), (3, 3, "B"), (4, 4, 'C "6" x'), (5, 5, "D")],
                id="closed-before-text",
            ),
            pytest.param(
                '"A,Doe,1999\nB,Doe,1999\nC 6",Poe,1971\nD,Roe,1972\n',
                [(2, 2, "look like rows of their own"), (3, 3, "B"), (4, 4, 'C 6"'), (5, 5, "D")],
                id="closed-as-it-should-be-rows-later",
            ),
            pytest.param(
                '"A,Doe,1999\nC 6",Poe,1971\nD,Roe,1972\n',
                [(2, 2, "look like rows of their own"), (3, 3, "may belong to the one that line 2 opens"), (4, 4, "D")],
                id="closed-in-the-next-row",
            ),
            pytest.param(
                'A,"Doe,1999\nB,Doe,1999\nC,Poe,"1999"\nD,Roe,1972\n',
                [(2, 2, "that line 4 closes, with text behind it"), (3, 3, "B"), (4, 4, "C"), (5, 5, "D")],
                id="closed-by-a-quote-that-opens",
            ),
            pytest.param(
                '"A,Doe,1999\n"B\nb",Doe,1999\nD,Roe,1972\n',
                [(2, 2, "that line 3 closes, with text behind it"), (3, 4, "B\nb"), (5, 5, "D")],
                id="before-a-row-of-two-lines",
            ),
            pytest.param(
                '"A,Doe,1999\n\n\nB,Doe,1999\n',
                [(2, 2, "that nothing closes"), (5, 5, "B")],
                id="before-empty-lines",
            ),
            pytest.param('A,Doe,"1999\n', [(2, 2, "that nothing closes")], id="in-the-last-line"),
            pytest.param(
                'A,"Doe"x,1999\nB,Doe,1999\n',
                [(2, 2, "text follows the quote"), (3, 3, "B")],
                id="closed-in-its-own-line",
            ),
        ],
    )
    def test_is_told_with_its_line(self, text: str, expected: list[tuple[int, int, str]]) -> None:
        found = told(text)
        assert [each[:2] for each in found] == [each[:2] for each in expected]
        for (*_, said), (*_, part) in zip(found, expected, strict=True):
            assert part in said

    def test_in_prose_does_not_make_rows_of_the_prose(self) -> None:
        """Here the quotes in quotes are not doubled."""
        found = told('"A long\nsubtitle "so to say", "as it were",1999\nmore",Doe,1999\nB,Doe,1999\nC 5",Doe,1999\n')
        assert [(line, fault_or_title) for line, _, fault_or_title in found[-2:]] == [(5, "B"), (6, 'C 5"')]
        assert all(fault.startswith("not valid CSV") for *_, fault in found[:-2])

    def test_costs_neither_memory_nor_rows_beyond_its_own(self) -> None:
        rows = "B,Doe,1999\n" * 10_000
        first, *others = read(f'{HEADER}"A,Doe,1999\n{rows}')
        assert "nothing closes within 65,536 bytes" in first.fault
        assert [each.fields[0] for each in others] == ["B"] * 10_000

    def test_before_nothing_but_empty_lines_costs_no_memory_either(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "LINES_MAX", 100)
        first, last = read(f'{HEADER}"A,Doe,1999' + "\n" * 200 + "B,Doe,1999\n")
        assert "and 100 lines" in first.fault
        assert last.fields[0] == "B"


class TestLinesThatEndOtherwise:
    def test_than_the_header_are_lines(self) -> None:
        assert told("A,Doe,1999\rB,Doe,1999\r\nC,Doe,1999") == [(2, 2, "A"), (3, 3, "B"), (4, 4, "C")]

    def test_and_are_no_rows_have_not_lost_the_beginning_of_one(self) -> None:
        torn, rest, other = read(f"{HEADER}Adam\rBede,Eliot,1859\nRomola,Eliot,1863\n")
        assert (torn.fields, torn.fault) == (["Adam"], "")
        assert rest.fault == "not valid CSV: the carriage return that ends line 2 must stand in quotes"
        assert other.fields[0] == "Romola"

    def test_in_quotes_are_text(self) -> None:
        assert told('"Adam\rBede",Eliot,1859\nRomola,Eliot,1863\n') == [(2, 3, "Adam\rBede"), (4, 4, "Romola")]


class TestTheDelimiter:
    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    def test_may_be_named_by_a_first_line_of_its_own(self, end: str) -> None:
        header, row = _read(end.join(["sep=^", "title^author^year", "A^Doe^1999"]).encode(), LONGEST, 3, is_row)
        assert (header.line, header.fields) == (2, ["title", "author", "year"])
        assert (row.line, row.fields) == (3, ["A", "Doe", "1999"])

    def test_that_is_given_comes_before_one_that_is_named(self) -> None:
        records = Records("|", names=(), longest=LONGEST)
        lines = Lines("utf-8", LONGEST)
        cut = [*lines.feed(b"sep=;\na|b;c\n"), *lines.last()]
        assert [record.fields for line in cut for record in records.feed(line)] == [["a", "b;c"]]


class TestALineThatIsTooLong:
    def test_is_refused_alone(self) -> None:
        found = [(each.line, each.fault or each.fields[0]) for each in read(f"{HEADER}{'x' * 101}\nB,Doe,1999\n", 100)]
        assert found == [(2, "longer than 100 bytes"), (3, "B")]

    def test_closes_no_quote(self) -> None:
        first, long, last = read(f'{HEADER}"A,Doe,1999\n{"x" * 101}"\nB,Doe,1999\n', 100)
        assert "nothing closes" in first.fault
        assert (long.line, long.fault, last.fields[0]) == (3, "longer than 100 bytes", "B")
