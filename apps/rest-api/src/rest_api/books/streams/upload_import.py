"""An import: read, load batch by batch in the order of the upload, know at each moment how far it is."""

import asyncio
from collections.abc import AsyncIterable, Iterable
from http import HTTPStatus
from typing import Final, NoReturn
from uuid import UUID

import structlog
from book_db.book import Added, Draft
from book_db.books.catalogue import Catalogue
from book_db.books.idempotency import IdempotencyKey
from book_db.errors import BookDbError, ConnectionLost, DatabaseUnavailable
from book_runtime.delimited.lines import Line, Lines
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from rest_api.books.streams.lines import LINE_MAX_BYTES
from rest_api.books.streams.problems import ImportBrokenOff, UploadBrokenOff
from rest_api.books.streams.reading import Reader, UploadedBook
from rest_api.books.streams.upload_report import UploadReport

_log = structlog.get_logger(__name__)

BATCH_LINES: Final = 500
BATCH_BYTES: Final = 2**17
"""A batch is what is read until there are so many lines or bytes of it. It depends on nothing but the upload, so that
the same upload makes the same batches and their keys are known again. With all its words, which take up to ten times
its bytes, it still goes into one statement (`book_db.books.additions.STATEMENT_MAX`)."""

REFUSED_MAX: Final = 100_000
"""More than so many lines that are no books are no file of books, and a report as long as that is no help."""


class UploadImport:
    """One upload on its way into the catalogue."""

    def __init__(
        self, catalogue: Catalogue, reader: Reader, report: UploadReport, actor: UUID, key: IdempotencyKey | None
    ) -> None:
        self._catalogue = catalogue
        self._reader = reader
        self._report = report
        self._actor = actor
        self._key = key
        self._batches = 0
        self._batch: list[UploadedBook] = []
        self._batch_bytes = 0
        self._lines = 0
        self._bytes = 0
        self._next_line = 1
        """Everything before this line is settled: loaded or refused."""

    async def run(self, pieces: AsyncIterable[bytes]) -> None:
        """Loads what comes, and completes the report.

        Raises WrongHeader, UploadBrokenOff, ImportBrokenOff, and where nothing was loaded yet whatever keeps the first
        batch from it.
        """
        try:
            stopped_at = await self._load_all(pieces)
        except ClientDisconnect as error:
            _log.info("an upload broke off", created=self._report.created, refused=self._report.refused)
            raise UploadBrokenOff("The upload broke off.") from error
        except (BookDbError, HTTPException) as error:
            self._break_off(error)
        await self._report.close(has_key=self._key is not None, stopped_at=stopped_at)

    async def _load_all(self, pieces: AsyncIterable[bytes]) -> int | None:
        lines = Lines("utf-8", LINE_MAX_BYTES, self._reader.ends)
        async for piece in pieces:
            await self._take(lines.feed(piece))
            if self._report.refused > REFUSED_MAX:
                return self._next_line
        await self._take(lines.last())
        await self._add(self._reader.end())
        await self._load_batch()
        return None

    async def _take(self, lines: Iterable[Line]) -> None:
        for line in lines:
            self._lines += 1
            self._bytes += line.size
            await self._add(self._reader.read(line))
            if self._lines >= BATCH_LINES or self._bytes >= BATCH_BYTES:
                await self._load_batch()

    async def _add(self, candidates: Iterable[UploadedBook]) -> None:
        # One line can complete thousands, if a quote was opened that many lines before, and nothing has closed it.
        for candidate in candidates:
            self._batch.append(candidate)
            self._batch_bytes += candidate.size
            if len(self._batch) >= BATCH_LINES or self._batch_bytes >= BATCH_BYTES:
                await self._load_batch()

    async def _load_batch(self) -> None:
        drafts = [each.draft for each in self._batch if each.draft is not None]
        books, replayed = await self._load(drafts)
        await self._report.add(self._batch, [book.id for book in books], replayed=replayed)
        if self._batch:
            self._next_line = self._batch[-1].last_line + 1
        self._batch, self._batch_bytes, self._lines, self._bytes = [], 0, 0, 0
        self._batches += 1

    async def _load(self, drafts: list[Draft]) -> Added:
        if not drafts:
            await asyncio.sleep(0)  # others get their turn also while nothing but rubbish comes
            return Added([], replayed=False)
        if self._key is None:
            return Added(await self._catalogue.add_many(drafts, self._actor), replayed=False)
        # No header can hold the arrow, so no key of another request is like one of these.
        key = IdempotencyKey(f"{self._key.name}→{self._batches}", self._key.operation)
        return await self._catalogue.add_once(drafts, self._actor, key)

    def _break_off(self, error: BookDbError | HTTPException) -> NoReturn:
        if self._next_line == 1:
            raise error  # in its own words: nothing came before it
        progress = {
            "next_line": self._next_line,
            "created": self._report.created,
            "refused": self._report.refused,
        }
        _log.warning("an import broke off", cause=repr(error.__cause__ or error), **progress)
        detail = f"{_words_of(error)} {self._how_to_go_on(error)}"
        # Only with a key: without one the same upload would create twice.
        again = {"Retry-After": "1"} if self._key and isinstance(error, DatabaseUnavailable) else None
        raise ImportBrokenOff(_status_of(error), detail, progress=progress, headers=again) from error

    def _how_to_go_on(self, error: Exception) -> str:
        settled = f"Everything before line {self._next_line} is loaded or refused."
        if self._key is not None:
            return f"{settled} The same upload with the same key goes on from there."
        if isinstance(error, ConnectionLost):
            last = self._batch[-1].last_line
            return f"{settled} Lines {self._next_line} to {last} are loaded all or not at all; look before you send on."
        return f"{settled} Send the rest from there."


def _status_of(error: BookDbError | HTTPException) -> HTTPStatus:
    if isinstance(error, HTTPException):
        return HTTPStatus(error.status_code)
    return HTTPStatus(503 if isinstance(error, DatabaseUnavailable) else 422)


def _words_of(error: BookDbError | HTTPException) -> str:
    return error.detail if isinstance(error, HTTPException) else str(error)
