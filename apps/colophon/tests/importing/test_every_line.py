"""Whatever is in a file, each of its lines becomes a book, or is refused, or is the header, or is empty."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from colophon.importing.books import ColumnMapping, FileBook
from colophon.importing.file_import import FileImport
from colophon.importing.file_report import FileReport, written_to
from colophon.importing.rows import open_table
from hypothesis import given
from hypothesis import strategies as st

HEADER = "title,author,date,about\n"
PIECES = st.sampled_from(
    [
        *('"', '""', ",", ";", "\n", "\r\n", "\r", "a", "1999", " ", "\0", "é", "\u2028"),
        "A,Doe,1999,\n",
        '"A",Doe,1999-05-01T00:00:00Z,"a\r\nb"\r\n',
        'A,Doe,1999,"',
    ]
)


class Noting(FileReport):
    """A report that knows the lines of what was loaded as well."""

    def __init__(self, refused: Path) -> None:
        self._file = written_to(refused, HEADER.strip().split(","))
        super().__init__(self._file.__enter__())
        self.loaded: list[range] = []

    def accept(self, books: Sequence[FileBook], *, before: bool = False) -> None:
        super().accept(books, before=before)
        self.loaded += [range(book.row.line, book.row.last_line + 1) for book in books]

    def close(self) -> None:
        self._file.__exit__(None, None, None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


def imported(folder: Path, content: str, encoding: str, *, from_line: int = 1) -> tuple[list[range], list[range]]:
    """The lines of each row that was loaded, and of each that is in the file of what was refused."""
    file, refused = folder / "books.csv", folder / "refused.csv"
    file.write_bytes(content.encode(encoding))
    report = Noting(refused)
    with open_table(file, columns=("title", "author", "date")) as table:
        reader = ColumnMapping.of(table.header, title="title", author="author", date="date")
        table.expect(reader.is_book)
        FileImport(reader, report, lambda _books, _key: False, batch_size=2, from_line=from_line).run(table)
    report.close()
    with refused.open(encoding="utf-8", newline="") as written:
        rows = [range(int(line), int(last) + 1) for line, last, *_ in list(csv.reader(written))[1:]]
    assert (report.rows, report.refused) == (report.accepted + report.refused, len(rows))
    return report.loaded, rows


@given(text=st.lists(PIECES, max_size=30).map("".join), encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
def test_is_loaded_or_refused_or_header_or_empty(folder: Path, text: str, encoding: str) -> None:
    told = [line for rows in imported(folder, HEADER + text, encoding) for row in rows for line in row]
    lines = dict(enumerate(re.split("\r\n|\n|\r", HEADER + text), 1))
    assert len(set(told)) == len(told)
    assert {number for number, line in lines.items() if line} <= {1, *told} <= set(lines)


@given(text=st.lists(PIECES, max_size=30).map("".join), from_line=st.integers(1, 12))
def test_is_what_it_was_when_the_import_goes_on_from_a_line(folder: Path, text: str, from_line: int) -> None:
    loaded, refused = imported(folder, HEADER + text, "utf-8")
    assert imported(folder, HEADER + text, "utf-8", from_line=from_line) == (
        [row for row in loaded if row.start >= from_line],
        [row for row in refused if row.start >= from_line],
    )
