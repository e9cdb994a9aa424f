"""Books from the lines of an upload, each checked as if it had been sent alone."""

import csv
import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from book_db.books.model import Draft
from pydantic import ValidationError

from rest_api.books.batches import without_excess
from rest_api.books.streams.lines import LINE_MAX, Line
from rest_api.books.streams.problems import WrongHeader
from rest_api.books.streams.schemas import BookLine
from rest_api.problems import violations_of

ERRORS_MAX: Final = 20
"""Of one line: a report must not be much longer than what it reports on."""


class Candidate(NamedTuple):
    """A book that is to be loaded, or what keeps it from being one."""

    line: int
    """Where it begins."""
    last_line: int
    draft: Draft | None
    errors: Sequence[Mapping[str, str]] = ()


class Reader(ABC):
    """Is given every line in turn and makes books of them."""

    @abstractmethod
    def read(self, line: Line) -> Candidate | None:
        """The book that this line completes, if it does."""

    def end(self) -> Candidate | None:
        """What the end of the upload leaves incomplete."""
        return None


class NdjsonReader(Reader):
    """A JSON object a line. Blank lines are passed over."""

    def read(self, line: Line) -> Candidate | None:
        if line.fault:
            return _refused(line.number, line.number, line.fault)
        if not line.text.strip(" \t\r"):
            return None
        try:
            document = json.loads(line.text)
        except json.JSONDecodeError as error:
            return _refused(line.number, line.number, f"{error.msg} at character {error.pos}")
        except (RecursionError, ValueError):
            return _refused(line.number, line.number, "is nested too deeply, or has a number with too many digits")
        return _checked(line.number, line.number, document)


class CsvReader(Reader):
    """RFC 4180 with a header; a quoted field may go over several lines. Blank lines are passed over."""

    def __init__(self) -> None:
        self._columns: Sequence[str] | None = None
        self._lines: list[str] = []
        self._size = 0
        self._begins = 1
        self._is_open = False

    def read(self, line: Line) -> Candidate | None:
        if not self._is_open:
            self._begins, self._size = line.number, 0
        fault = self._take(line)
        if not fault and self._is_open:
            return None
        record, self._lines, self._is_open = "\n".join(self._lines), [], False
        if not fault and not record.strip("\r"):
            return None
        return self._row(record, line.number, fault)

    def end(self) -> Candidate | None:
        if self._is_open:
            fault = "a quote is opened that nothing closes"
            return self._row("", self._begins + len(self._lines) - 1, fault)
        if self._columns is None:
            raise WrongHeader("there is none: the upload is empty")
        return None

    def _take(self, line: Line) -> str:
        """Adds a line to the record, and gives what is wrong with it."""
        self._size += line.size + 1
        self._is_open = _leaves_open(line.text, is_open=self._is_open)
        self._lines.append(line.text)
        if self._size > LINE_MAX + 1 and self._lines[1:]:
            return f"must have at most {LINE_MAX:,} bytes: is there a quote that nothing closes?"
        return line.fault

    def _row(self, record: str, last_line: int, fault: str) -> Candidate | None:
        fields: list[str] = []
        if not fault:
            try:
                fields = next(csv.reader([record.removesuffix("\r")], strict=True))
            except csv.Error as error:
                fault = f"is no CSV: {_words_of(error)}"
        if self._columns is None:
            self._columns = _columns(fields, fault)
            return None
        if not fault and len(fields) != len(self._columns):
            fault = f"has {len(fields)} fields where the header has {len(self._columns)}"
        if fault:
            return _refused(self._begins, last_line, fault)
        return _checked(self._begins, last_line, dict(zip(self._columns, fields, strict=True)))


def _checked(line: int, last_line: int, document: Any) -> Candidate:
    try:
        # From attributes, as FastAPI does, so that what is no object is told in the same words.
        draft = BookLine.model_validate(without_excess(document, BookLine, ERRORS_MAX), from_attributes=True).to_draft()
    except ValidationError as error:
        return Candidate(line, last_line, None, _the_first(violations_of(error)))
    return Candidate(line, last_line, draft)


def _refused(line: int, last_line: int, fault: str) -> Candidate:
    return Candidate(line, last_line, None, [{"detail": fault}])


def _the_first(errors: Sequence[Mapping[str, str]]) -> Sequence[Mapping[str, str]]:
    return errors if len(errors) <= ERRORS_MAX else [*errors[: ERRORS_MAX - 1], {"detail": "and there is more"}]


def _words_of(error: csv.Error) -> str:
    # Its own words differ from one Python to the next, and tell programmers what to do.
    if "new-line" in str(error):
        return "a carriage return must stand in quotes"
    return "a quote must be followed by a comma, by another quote, or by the end of the line"


def _leaves_open(line: str, *, is_open: bool) -> bool:
    """Whether a quoted field goes on after this line, which begins inside of one or not."""
    closed_at = -2
    at = line.find('"')
    while at >= 0:
        if is_open:
            is_open, closed_at = False, at
        else:
            # A quote begins a field, or is the second of two that stand for one.
            is_open = at == 0 or line[at - 1] == "," or closed_at == at - 1
        at = line.find('"', at + 1)
    return is_open


def _columns(names: Sequence[str], fault: str) -> Sequence[str]:
    """The columns that a header names. Raises WrongHeader."""
    names = [name.strip() for name in names]
    if faults := [fault] if fault else list(_faults(names)):
        raise WrongHeader(*faults[:ERRORS_MAX])
    return names


def _faults(names: Sequence[str]) -> Iterator[str]:
    known = BookLine.model_fields
    for name, times in Counter(names).items():
        if name not in known:
            yield f"the column {name[:200]!r} is not known here"
        elif times > 1 and known[name].is_required():
            yield f"the column {name!r} must be there once"
    for name, field in known.items():
        if field.is_required() and name not in names:
            yield f"the column {name!r} must be there"
