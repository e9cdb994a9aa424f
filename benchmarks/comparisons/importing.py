"""Thousands of books at once: over HTTP, and straight into PostgreSQL."""

import csv
import http.client
import io
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from book_db.books.words import words_of
from book_db.tables import WORDS_VERSION_OF_NEW
from colophon.importing.books import ColumnMapping, Refused
from colophon.importing.rows import Row, open_table

from benchmarks.bench import Bench
from benchmarks.figures import Speed
from benchmarks.load import LoadFailed
from benchmarks.measuring import Comparison, Measurement
from benchmarks.postgres import output_of

_REAL_BOOKS: Final = Path(__file__).parents[2] / "examples" / "british-library-19c-books.csv.gz"

# The rows of one copy follow each other: nobody else writes.
_COPY: Final = r"""
BEGIN;
SELECT coalesce(max(id), 0) AS last FROM books \gset
\copy books (title, author, publication_date, title_words, author_words, words_version) FROM '{file}' (FORMAT csv)
INSERT INTO outbox (
    kind, actor, occurred_at, book_id, title, author, publication_date, version, created_at, updated_at
)
SELECT 'created', '6f8ba3b5-6fd4-4d2e-8c67-1a0a4b3b2c11', created_at,
    id, title, author, publication_date, version, created_at, updated_at
FROM books WHERE id > :last ORDER BY id;
COMMIT;
"""


class _Book(NamedTuple):
    title: str
    author: str
    publication_date: str


def imports(bench: Bench) -> Iterator[Measurement]:
    """The British Library's books, without the 124 that have no date and would be refused. The catalogue grows by them
    each time, for both alike.
    """
    books = _real_books(bench.size.imported)
    folder = bench.workspace.make_folder("import")
    upload = _Upload(bench.rest.port, bench.token, _csv([_Book._fields, *books]).encode(), len(books))
    copy = _Copy(bench.catalogue.database_url, folder, books)
    what = f"import of {len(books):,} real books over HTTP"
    against = r"psql \copy of the same rows, with the outbox"
    yield Comparison(what, against, 0.25, upload, copy, bench.rest, takes_long=True)


@dataclass(frozen=True, slots=True)
class _Upload:
    """One request with all of them, timed until the last line of the report is here."""

    port: int
    token: str
    body: bytes
    books: int

    def run(self, _seconds: float) -> Speed:
        """However long it takes. Raises LoadFailed."""
        began = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "text/csv"}
        connection.request("POST", "/api/v1/books/import", self.body, headers)
        report = connection.getresponse().read()
        seconds = time.perf_counter() - began
        connection.close()
        summary = json.loads(report.splitlines()[-1])
        if summary != {"created": self.books, "refused": 0}:
            raise LoadFailed("the import", str(summary))
        return Speed(self.books / seconds)


class _Copy:
    r"""What somebody does who has PostgreSQL and no service: a transaction of psql, timed from its start to its end.

    `\copy` writes into the table itself, with all its indexes, and the outbox is filled from there. What the books are
    found by is in the file already, while Colophon makes it, and checks every line.
    """

    def __init__(self, database_url: str, folder: Path, books: Sequence[_Book]) -> None:
        self._database_url = database_url
        self._books = len(books)
        rows, self._script = folder / "rows.csv", folder / "copy.sql"
        rows.write_text(_csv(map(_row, books)))
        self._script.write_text(_COPY.format(file=rows))

    def run(self, _seconds: float) -> Speed:
        """However long it takes. Raises LoadFailed."""
        began = time.perf_counter()
        said = output_of("psql", ["-X", "-v", "ON_ERROR_STOP=1", "-f", str(self._script), self._database_url])
        seconds = time.perf_counter() - began
        if f"INSERT 0 {self._books}\n" not in said:
            raise LoadFailed("psql", said)
        return Speed(self._books / seconds)


def _real_books(number: int | None) -> list[_Book]:
    """As `colophon import` reads them: a bare year is its first day, and who has no name is Unknown."""
    with open_table(_REAL_BOOKS, delimiter=",", encoding="utf-8") as table:
        reader = ColumnMapping.of(
            table.header, title="title", author="first_author", date="date", default_author="Unknown"
        )
        return list(islice(_read(reader, table), number))


def _read(reader: ColumnMapping, rows: Iterable[Row]) -> Iterator[_Book]:
    for row in rows:
        with suppress(Refused):
            book = reader.read(row).draft
            yield _Book(book.title, book.author, book.publication_date.isoformat())


def _row(book: _Book) -> Sequence[object]:
    return (*book, _array(words_of(book.title)), _array(words_of(book.author)), WORDS_VERSION_OF_NEW)


def _array(words: Iterable[str]) -> str:
    """As PostgreSQL reads it. Words have neither quotes nor backslashes in them."""
    return "{" + ",".join(f'"{word}"' for word in words) + "}"


def _csv(rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
