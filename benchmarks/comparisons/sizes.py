"""A large catalogue against a small one: what it does to reads, and how it is given away as a whole."""

import http.client
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from support.services import RestApi

from benchmarks.bench import Bench
from benchmarks.catalogue import Catalogue, sign_in
from benchmarks.figures import Row, RunSize, Speed, Wanted
from benchmarks.load import Http, LoadFailed
from benchmarks.measuring import Comparison, Measurement, megabytes
from benchmarks.postgres import program_path

_BLOCK: Final = 2**20
_GROWTH: Final = Wanted(10, "MB", is_most=True)

_COPY: Final = "COPY (SELECT id, title, author, publication_date, version, created_at, updated_at FROM books) TO STDOUT"


def sizes(bench: Bench) -> Iterator[Measurement]:
    """Books and pages are asked for from all parts of either catalogue. There is no cache, which would answer for
    PostgreSQL whatever the size.
    """
    large, small = _filled(bench, bench.size.many_books), _filled(bench, bench.size.few_books)
    with (
        RestApi(bench.workspace, large.without_cache()) as of_large,
        RestApi(bench.workspace, small.without_cache()) as of_small,
    ):
        at, against = f"at {large.books:,} books", f"the same at {small.books:,}, both without a cache"
        tokens = sign_in(of_large.url), sign_in(of_small.url)
        both = list(zip((large, small), (of_large, of_small), tokens, strict=True))
        gets = [_asked(bench, rest, token, _books(catalogue, bench.size)) for catalogue, rest, token in both]
        yield Comparison(f"GET a book {at}", against, 0.90, gets[0], gets[1], of_large)
        lists = [_asked(bench, rest, token, _pages(catalogue, bench.size)) for catalogue, rest, token in both]
        yield Comparison(f"list of 100 {at}", against, 0.90, lists[0], lists[1], of_large)
    with RestApi(bench.workspace, large.without_cache()) as rest:
        yield _Exporting(large, rest, sign_in(rest.url))


def _filled(bench: Bench, books: int) -> Catalogue:
    began = time.perf_counter()
    catalogue = bench.catalogue.beside(books)
    print(f"{books:,} books were put into a catalogue in {time.perf_counter() - began:.0f} s", file=sys.stderr)
    return catalogue


def _asked(bench: Bench, rest: RestApi, token: str, paths: Sequence[str]) -> Http:
    return bench.http(rest.url, paths, {"Authorization": f"Bearer {token}"})


def _books(catalogue: Catalogue, size: RunSize) -> list[str]:
    return [f"/api/v1/books/{book_id}" for book_id in catalogue.some(size.few_books)]


def _pages(catalogue: Catalogue, size: RunSize) -> list[str]:
    return [f"/api/v1/books?{page}" for page in catalogue.pages(size.pages)]


@dataclass(frozen=True, slots=True)
class _Exporting:
    """An export of all books, and what the service grows by meanwhile.

    The baseline is `COPY TO` of the columns that an export has: those of the words, which nobody is given, would make
    it slower.
    """

    catalogue: Catalogue
    rest: RestApi
    token: str
    what: str = "export of all books"

    def take(self, size: RunSize) -> Sequence[Row]:
        what = f"export of {self.catalogue.books:,} books"
        export = _Export(self.catalogue, self.rest, self.token)
        copy = _Copy(self.catalogue)
        comparison = Comparison(what, "psql, COPY TO STDOUT", 0.25, export, copy, self.rest, takes_long=True)
        rows = comparison.take(size)
        return [*rows, Row("growth of rest-api's memory", what, export.growths[0], _GROWTH)]


@dataclass(frozen=True, slots=True)
class _Export:
    """One request, read as it comes and counted by its lines."""

    catalogue: Catalogue
    rest: RestApi
    token: str
    growths: list[float] = field(default_factory=list)
    """Megabytes, of each round: from when a tenth was here to the most there ever was, looked at ten times."""

    def run(self, _seconds: float) -> Speed:
        """However long it takes. Raises LoadFailed."""
        began = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", self.rest.port, timeout=600)
        connection.request("GET", "/api/v1/books/export", headers={"Authorization": f"Bearer {self.token}"})
        answer = connection.getresponse()
        lines, buffer, tenth = 0, bytearray(_BLOCK), self.catalogue.books // 10
        memory: list[float] = []
        while length := answer.readinto(buffer):
            lines += buffer.count(b"\n", 0, length)
            if lines >= (len(memory) + 1) * tenth:
                memory.append(megabytes(self.rest))
        seconds = time.perf_counter() - began
        connection.close()
        if lines != self.catalogue.books:
            raise LoadFailed("the export", f"{lines} lines")
        self.growths.append(max(memory) - memory[0])
        return Speed(lines / seconds)


@dataclass(frozen=True, slots=True)
class _Copy:
    """psql, timed from its start to its end. Nobody reads what it writes."""

    catalogue: Catalogue

    def run(self, _seconds: float) -> Speed:
        """However long it takes."""
        began = time.perf_counter()
        command = [str(program_path("psql")), "-X", "-c", _COPY, self.catalogue.database_url]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return Speed(self.catalogue.books / (time.perf_counter() - began))
