"""What comparisons have in common: a catalogue, its REST service, and ways to ask it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import Final

import httpx
from support.services import RestApi

from benchmarks.catalogue import Catalogue, page_after, sign_in
from benchmarks.figures import RunSize
from benchmarks.load import Http
from benchmarks.programs import Baseline

A_BOOK: Final = '{"title": "Middlemarch", "author": "George Eliot", "publication_date": "1871-12-01"}'

_BOOKS_READ: Final = 1_000
"""So many books are read in turn."""


class Bench:
    """What the comparisons of one run share. Its REST service starts when the first one asks for it."""

    def __init__(self, catalogue: Catalogue, size: RunSize, stack: ExitStack) -> None:
        self.catalogue: Final = catalogue
        self.size: Final = size
        self.workspace: Final = catalogue.workspace
        self._stack = stack

    @cached_property
    def rest(self) -> RestApi:
        return self._stack.enter_context(RestApi(self.workspace, self.catalogue.environment))

    @cached_property
    def token(self) -> str:
        return sign_in(self.rest.url)

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def reading(self, rest: RestApi, headers: Mapping[str, str] | None = None, *, status: int = 200) -> Http:
        """GET of books from all parts of the catalogue."""
        paths = [f"/api/v1/books/{book_id}" for book_id in self.books_read]
        return self.asking(rest, paths, headers, status=status)

    @property
    def books_read(self) -> list[int]:
        return self.catalogue.some(_BOOKS_READ)

    def listing(self, rest: RestApi, pages: Sequence[str] = (page_after(0),)) -> Http:
        return self.asking(rest, [f"/api/v1/books?{page}" for page in pages])

    def adding(self, rest: RestApi) -> Http:
        headers = {**self.bearer, "Content-Type": "application/json"}
        return self.http(rest.url, ["/api/v1/books"], headers, "POST", A_BOOK, status=201)

    def asking(
        self, rest: RestApi, paths: Sequence[str], headers: Mapping[str, str] | None = None, *, status: int = 200
    ) -> Http:
        return self.http(rest.url, paths, {**self.bearer, **(headers or {})}, status=status)

    @contextmanager
    def constant(self, answer: bytes) -> Iterator[Http]:
        """The constant endpoint, asked with the same headers and answering with these bytes."""
        with Baseline(self.workspace, "constant", answer) as baseline:
            yield self.http(baseline.url, ["/"], self.bearer)

    def answer(self, path: str) -> httpx.Response:
        """What the REST service answers. Raises HTTPStatusError."""
        return httpx.get(f"{self.rest.url}/api/v1{path}", headers=self.bearer, timeout=30).raise_for_status()

    def http(
        self,
        url: str,
        paths: Sequence[str],
        headers: Mapping[str, str],
        method: str = "GET",
        body: str = "",
        *,
        status: int = 200,
    ) -> Http:
        """Any requests of wrk."""
        return Http(url, self.workspace.make_folder("wrk"), paths, headers, method, body, status)
