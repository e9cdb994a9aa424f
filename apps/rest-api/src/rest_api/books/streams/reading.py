"""Books from the lines of an upload, each checked as if it had been sent alone."""

import json
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from book_db.book import Draft
from book_runtime.delimited.lines import ANY_END, LF, Line, undecodable
from book_runtime.delimited.records import Record, Records, fault_of_width
from pydantic import ValidationError

from rest_api.books.batches import without_excess
from rest_api.books.streams.lines import LINE_MAX_BYTES, fault_of
from rest_api.books.streams.problems import WrongHeader
from rest_api.books.streams.schemas import REQUIRED, BookLine
from rest_api.problems.validation import violations_of

ERRORS_MAX: Final = 20
"""Of one line: a report must not be much longer than what it reports on."""

_Checked = tuple[Draft | None, Sequence[Mapping[str, str]]]
"""A book, or what is wrong with it."""


class UploadedBook(NamedTuple):
    """A book that is to be loaded, or what keeps it from being one."""

    line: int
    """Where it begins."""
    last_line: int
    size: int
    """Bytes of the upload."""
    draft: Draft | None
    errors: Sequence[Mapping[str, str]] = ()


class Reader(ABC):
    """Is given every line in turn and makes books of them."""

    ends: re.Pattern[str]
    """What a line ends with."""

    @abstractmethod
    def read(self, line: Line) -> Iterator[UploadedBook]:
        """What this line completes."""

    def end(self) -> Iterator[UploadedBook]:
        """What the end of the upload completes."""
        return iter(())


class NdjsonReader(Reader):
    """A JSON object a line. Blank lines are passed over."""

    ends = LF

    def read(self, line: Line) -> Iterator[UploadedBook]:
        if fault := fault_of(line):
            yield _refused(line.number, line.number, line.size, fault)
        elif line.text.strip(" \t\r"):
            yield self._book(line)

    def _book(self, line: Line) -> UploadedBook:
        try:
            document = json.loads(line.text)
        except json.JSONDecodeError as error:
            fault = f"{error.msg} at character {error.pos}"
        except (RecursionError, ValueError):
            fault = "is nested too deeply, or has a number with too many digits"
        else:
            draft, errors = _checked(document)
            return UploadedBook(line.number, line.number, line.size, draft, errors)
        return _refused(line.number, line.number, line.size, fault)


class CsvReader(Reader):
    """RFC 4180 with a header; a quoted field may go over several lines. Empty lines are passed over.

    Spreadsheets have other delimiters than the comma as well: they are known by the header.
    """

    ends = ANY_END

    def __init__(self) -> None:
        self._columns: Sequence[str] = ()
        self._records = Records(None, names=REQUIRED, longest=LINE_MAX_BYTES)

    def read(self, line: Line) -> Iterator[UploadedBook]:
        return self._candidates(self._records.feed(line))

    def end(self) -> Iterator[UploadedBook]:
        yield from self._candidates(self._records.end())
        if not self._columns:
            raise WrongHeader("there is none: the upload is empty")

    def _candidates(self, records: Iterable[Record]) -> Iterator[UploadedBook]:
        for record in records:
            if self._columns:
                draft, errors = self._read(record)
                yield UploadedBook(record.line, record.last_line, record.size, draft, errors)
            else:
                self._columns = _columns(record)
                self._records.expect(self._is_book)

    def _read(self, record: Record) -> _Checked:
        if record.fault:
            return None, [{"detail": f"is {record.fault}"}]
        if fault := fault_of_width(record.fields, len(self._columns)):
            return None, [{"detail": f"has {fault}"}]
        book = dict(zip(self._columns, record.fields, strict=True))
        if errors := list(_undecodable_in(book)):
            return None, errors
        return _checked(book)

    def _is_book(self, fields: Sequence[str]) -> bool:
        return (
            len(fields) == len(self._columns) and _checked(dict(zip(self._columns, fields, strict=True)))[0] is not None
        )


def _checked(document: Any) -> _Checked:
    try:
        # From attributes, as FastAPI does, so that what is no object is told in the same words.
        book = BookLine.model_validate(without_excess(document, BookLine, ERRORS_MAX), from_attributes=True)
    except ValidationError as error:
        return None, _the_first(violations_of(error))
    return book.to_draft(), ()


def _undecodable_in(book: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
    # What is passed over may be in any encoding.
    for name in REQUIRED:
        if broken := undecodable(book[name]):
            yield {"pointer": f"/{name}", "detail": f"must be UTF-8, which the byte 0x{broken[0]:02X} is not"}


def _refused(line: int, last_line: int, size: int, fault: str) -> UploadedBook:
    return UploadedBook(line, last_line, size, None, [{"detail": fault}])


def _the_first(errors: Sequence[Mapping[str, str]]) -> Sequence[Mapping[str, str]]:
    return errors if len(errors) <= ERRORS_MAX else [*errors[: ERRORS_MAX - 1], {"detail": "and there is more"}]


def _columns(header: Record) -> Sequence[str]:
    """The columns that a header names. Raises WrongHeader."""
    names = [name.strip() for name in header.fields]
    if faults := list(islice(_faults(header, names), ERRORS_MAX)):
        raise WrongHeader(*faults)
    return names


def _faults(header: Record, names: Sequence[str]) -> Iterator[str]:
    if header.fault:
        yield f"is {header.fault}"
    elif "\0" in header.fields[0]:
        yield "must be UTF-8, and looks like UTF-16 or UTF-32"
    elif broken := undecodable("".join(header.fields)):
        yield f"must be UTF-8, which the byte 0x{broken[0]:02X} is not"
    else:
        yield from _faults_of_names(names)


def _faults_of_names(names: Sequence[str]) -> Iterator[str]:
    for name, times in Counter(names).items():
        if name not in BookLine.model_fields:
            yield f"the column {name[:200]!r} is not known here"
        elif times > 1 and name in REQUIRED:
            yield f"the column {name!r} must be there once"
    for name in REQUIRED:
        if name not in names:
            yield f"the column {name!r} must be there"
