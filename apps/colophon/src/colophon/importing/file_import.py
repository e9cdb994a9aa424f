"""The import of a file: its rows become books, and are loaded batch by batch in the order of the file.

A batch is loaded whole or not at all, and the next one is sent when the answer is there. So the outcome of one batch at
most is unknown, and the line to go on from is always the first line of a batch. Each batch has a key, made of its first
line and its content: a run that is repeated sends the same keys, and the service loads nothing twice.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from colophon.importing.books import ColumnMapping, FileBook, Refused
from colophon.importing.file_report import FileReport
from colophon.importing.interruption import Interrupted, Interruption
from colophon.importing.rest_client import BooksRefused, OutcomeUnknown, ServiceError
from colophon.importing.rows import Row, UnreadableFile

BATCH_BYTES: Final = 2**18
"""Far above what 500 books usually have, and with all their words, a pair for each Han character, still less than the
service takes at once (`book_db.books.additions.STATEMENT_MAX`).
"""


class BrokenOff(Exception):
    """The import ended early. The text says why, what is loaded for certain, and how to go on."""

    def __init__(self, reason: str, *, by_user: bool = False) -> None:
        self.by_user = by_user
        super().__init__(reason)


@dataclass(slots=True)
class Batch:
    """Books that are loaded together, each with the JSON that is sent."""

    books: list[FileBook] = field(default_factory=list)
    documents: list[bytes] = field(default_factory=list)
    size: int = 0

    def add(self, book: FileBook, document: bytes) -> None:
        self.books.append(book)
        self.documents.append(document)
        self.size += len(document) + 1

    def key(self, copy: int) -> str:
        """The same for the same books from the same line, whichever run sends them; another for each copy."""
        digest = sha256(f"colophon import, copy {copy}, line {self.books[0].row.line}".encode())
        for document in self.documents:
            digest.update(b"\n" + document)
        return f"colophon-import-{digest.hexdigest()}"

    def without(self, places: Iterable[int]) -> "Batch":
        """The same without the books at these places."""
        left_out = set(places)
        rest = Batch()
        for place, (book, document) in enumerate(zip(self.books, self.documents, strict=True)):
            if place not in left_out:
                rest.add(book, document)
        return rest


@dataclass
class FileImport:
    """One run over a file. `load` sends one batch, as RestClient.load does; None only reads and checks.

    Within 24 hours each `copy` of a file is loaded once. `on_progress` is called after each row that was read.
    """

    mapping: ColumnMapping
    report: FileReport
    load: Callable[[Sequence[bytes], str], bool] | None
    batch_size: int
    from_line: int = 1
    copy: int = 1
    interruption: Interruption = field(default_factory=Interruption)
    on_progress: Callable[[], None] = lambda: None
    _batch: Batch = field(default_factory=Batch)
    _next_line: int = 0
    """Everything before this line is settled: loaded, or refused, or not asked for."""

    def run(self, rows: Iterable[Row]) -> None:
        """Raises BrokenOff."""
        self._next_line = self.from_line
        try:
            with self.interruption.listening():
                for row in rows:
                    self._take(row)
                    self.on_progress()
                self._load_batch()
        except Interrupted as error:
            raise BrokenOff(f"Stopped. {self._how_to_go_on()}", by_user=True) from error
        except ServiceError as error:
            raise BrokenOff(f"{_sentence(error)} {self._how_to_go_on()}") from error
        except UnreadableFile as error:
            raise BrokenOff(f"{_sentence(error)} {self._how_to_go_on()}") from error
        except OutcomeUnknown as error:
            raise BrokenOff(f"{_sentence(error)} {self._how_to_repeat()}") from error
        except KeyboardInterrupt as error:
            raise BrokenOff(f"Broken off in the middle of a batch. {self._how_to_repeat()}", by_user=True) from error

    def _take(self, row: Row) -> None:
        if row.line < self.from_line:
            return
        self.report.rows += 1
        try:
            book = self.mapping.read(row)
        except Refused as refusal:
            self.report.refuse(row, str(refusal))
            return
        document = book.draft.to_json()
        if self._batch.books and self._batch.size + len(document) > BATCH_BYTES:
            self._load_batch()
        self._batch.add(book, document)
        if len(self._batch.books) == self.batch_size:
            self._load_batch()

    def _load_batch(self) -> None:
        if self.load is None:
            self._settled()
            return
        with self.interruption.shielded():
            while self._batch.books:
                try:
                    before = self.load(self._batch.documents, self._batch.key(self.copy))
                except BooksRefused as refusal:
                    self._leave_out(refusal)
                else:
                    self._settled(before=before)

    def _settled(self, *, before: bool = False) -> None:
        self.report.accept(self._batch.books, before=before)
        if self._batch.books:
            self._next_line = self._batch.books[-1].row.last_line + 1
        self._batch = Batch()

    def _leave_out(self, refusal: BooksRefused) -> None:
        books = self._batch.books
        if max(refusal.reasons) >= len(books):
            raise ServiceError("the service refused a book that was not in the batch") from refusal
        for place, reason in sorted(refusal.reasons.items()):
            self.report.refuse(books[place].row, reason)
        self._batch = self._batch.without(refusal.reasons)

    def _how_to_go_on(self) -> str:
        if self.load is None:
            return "Nothing was loaded."
        if not self.report.accepted:
            return f"Nothing was loaded{'' if self.from_line == 1 else ' this time'}; {self._go_on_with()}."
        return f"Everything up to line {self._next_line - 1} is loaded; {self._go_on_with()}."

    def _go_on_with(self) -> str:
        if self._next_line == 1:
            return "begin again without --from-line"
        return f"go on with --from-line {self._next_line}"

    def _how_to_repeat(self) -> str:
        first, last = self._batch.books[0].row.line, self._batch.books[-1].row.last_line
        known = f"Everything up to line {self._next_line - 1} is loaded. " if self.report.accepted else ""
        return (
            f"{known}Whether lines {first} to {last} are loaded is not known. Run the very same command again: "
            "within 24 hours it loads nothing twice."
        )


def _sentence(error: Exception) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '?')) else '.'}"
