"""The outcome of an import: counted while it runs, printed at its end."""

import csv
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from colophon.importing.books import FileBook
from colophon.importing.rows import Row

MAX_REFUSALS_SHOWN: Final = 20


class RowWriter(Protocol):
    """A csv.writer."""

    def writerow(self, row: Iterable[object], /) -> object: ...


@dataclass
class FileReport:
    """Counts. Of the rows that were refused only the first few are kept; all go to `writer`, if there is one."""

    writer: RowWriter | None = None
    rows: int = 0
    accepted: int = 0
    loaded_before: int = 0
    years_completed: int = 0
    authors_supplied: int = 0
    refused: int = 0
    first_refused: list[tuple[int, int, str]] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def accept(self, books: Sequence[FileBook], *, before: bool = False) -> None:
        """These were loaded, or would have been; ``before``: by an earlier attempt."""
        self.accepted += len(books)
        self.loaded_before += len(books) * before
        self.years_completed += sum(book.year_completed for book in books)
        self.authors_supplied += sum(book.author_supplied for book in books)

    def refuse(self, row: Row, reason: str) -> None:
        """This one was not, and will not be."""
        self.refused += 1
        if len(self.first_refused) < MAX_REFUSALS_SHOWN:
            self.first_refused.append((row.line, row.last_line, reason))
        if self.writer is not None:
            self.writer.writerow([row.line, row.last_line, reason, *row.fields])

    def as_text(self, *, dry_run: bool, default_author: str | None) -> str:
        """The report as text."""
        return "\n".join([*self._totals(default_author, dry_run=dry_run), *self._refusals()])

    def _totals(self, default_author: str | None, *, dry_run: bool) -> Iterator[str]:
        seconds = time.monotonic() - self.began
        yield f"{self.rows:>9,} rows read in {seconds:.1f} s ({self.rows / max(seconds, 0.001):,.0f} rows/s)"
        yield f"{self.accepted:>9,} {'could be loaded, nothing was (--dry-run)' if dry_run else 'loaded'}"
        if self.loaded_before:
            yield f"{self.loaded_before:>9,} of them by an earlier attempt, and not again"
        if self.years_completed:
            yield f"{self.years_completed:>9,} of them with a bare year, completed to January 1st"
        if self.authors_supplied:
            yield f"{self.authors_supplied:>9,} of them without an author, loaded as {default_author!r}"
        yield f"{self.refused:>9,} refused"

    def _refusals(self) -> Iterator[str]:
        for line, last_line, reason in sorted(self.first_refused):
            yield f"          {f'line {line}' if line == last_line else f'lines {line} to {last_line}'}: {reason}"
        more = self.refused - len(self.first_refused)
        if more:
            yield f"          ... and {more:,} more" + ("" if self.writer else ", --report FILE writes all")


@contextmanager
def written_to(path: Path | None, header: Sequence[str]) -> Iterator[RowWriter | None]:
    """Where refused rows go: a new CSV file with lines and reason before the columns of the input, or nowhere."""
    if path is None:
        yield None
        return
    # Bytes that could not be decoded are given as escapes.
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["line", "last_line", "reason", *header])
        yield writer
