"""Books from the rows of a file: which columns count, what is completed and what is refused."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from book_db.book import AUTHOR_MAX, TITLE_MAX, Draft
from book_db.text import clean
from book_runtime.delimited.lines import undecodable
from book_runtime.delimited.records import fault_of_width

from colophon.importing.rows import Row, UnreadableFile

_YEAR: Final = re.compile("[0-9]{4}")
# A time says nothing more of a book: the day is the one that is written, whatever the offset.
_DATE: Final = re.compile(
    r"""([0-9]{4}-[0-9]{2}-[0-9]{2})
    (?P<time>
        [Tt\ ]\ *
        (?:
            (?:[01][0-9]|2[0-4]):[0-5][0-9] (?: :[0-6][0-9] (?:[.,][0-9]+)? )?
            (?:\ ?(?:[Zz]|UTC|GMT|[+-][0-9]{2}(?::?[0-9]{2})?))?
        )?
    )?""",
    re.VERBOSE,
)
_UNKNOWN_TO_CALIBRE: Final = frozenset((date(100, 12, 31), date(101, 1, 1)))
"""What Calibre writes, with a time, where it knows no date: the first of January 101 in UTC, by the clock there."""
_MAX_SHOWN_CHARACTERS: Final = 40


class WrongColumns(Exception):
    """The columns that were asked for are not there, or not once; the text is for the user."""


class Refused(Exception):
    """A row is no book; the text is the reason."""


@dataclass(frozen=True, slots=True)
class FileBook:
    """A book that has not been loaded, and where it stands in the file."""

    row: Row
    draft: Draft
    year_completed: bool = False
    author_supplied: bool = False


@dataclass(frozen=True, slots=True)
class ColumnMapping:
    """Which fields of a row make a book."""

    width: int
    title: int
    author: int
    date: int
    default_author: str | None = None

    @classmethod
    def of(
        cls, header: list[str], *, title: str, author: str, date: str, default_author: str | None = None
    ) -> "ColumnMapping":
        """For a file with this header; the names are those of its columns. Raises WrongColumns."""
        return cls(
            len(header),
            _column(header, title, "--title"),
            _column(header, author, "--author"),
            _column(header, date, "--date"),
            default_author,
        )

    def read(self, row: Row) -> FileBook:
        """The book of a row. Raises Refused, or UnreadableFile where the rest of the file would be no better."""
        if row.malformed:
            raise Refused(row.malformed)
        if fault := fault_of_width(row.fields, self.width):
            raise Refused(fault)
        self._refuse_undecodable(row)
        title = _text("title", row.fields[self.title], TITLE_MAX)
        given = row.fields[self.author]
        supplied = self.default_author is not None and not given.strip()
        author = _text("author", self.default_author or "" if supplied else given, AUTHOR_MAX)
        day, completed = read_date(row.fields[self.date])
        return FileBook(row, Draft(title, author, day), completed, supplied)

    def is_book(self, fields: Sequence[str]) -> bool:
        """Whether a row of these fields would be one."""
        try:
            self.read(Row(1, 1, list(fields)))
        except Refused:
            return False
        return True

    def _refuse_undecodable(self, row: Row) -> None:
        """Raises Refused, or UnreadableFile where the encoding of the whole file is in doubt."""
        for name, place in (("title", self.title), ("author", self.author), ("date", self.date)):
            if broken := undecodable(row.fields[place]):
                if row.encoding_in_doubt:
                    raise UnreadableFile(row.encoding_in_doubt, line=row.line)
                raise Refused(f"{name} has the byte 0x{broken[0]:02X}, which does not fit the file's encoding")


def read_date(text: str) -> tuple[date, bool]:
    """The day that is written as YYYY-MM-DD, a time after it or not, or January 1st of a bare year, and whether it was
    completed so.

    Raises Refused. A year has four digits: what a file means by "46" nobody can know.
    """
    text = text.strip()
    if not text:
        raise Refused("no date")
    bare_year = _YEAR.fullmatch(text) is not None
    written = _DATE.fullmatch(f"{text}-01-01" if bare_year else text)
    if written is None:
        raise Refused(f"{_shown(text)} is neither a date (YYYY-MM-DD) nor a year")
    try:
        day = date.fromisoformat(written[1])
    except ValueError:
        raise Refused(f"{_shown(text)} is not in the calendar") from None
    if written["time"] and day in _UNKNOWN_TO_CALIBRE:
        raise Refused(f"no date, which is what {_shown(text)} means in Calibre")
    return day, bare_year


def _text(name: str, value: str, at_most: int) -> str:
    if not value.strip():
        raise Refused(f"no {name}")
    try:
        return clean(value, at_most=at_most)
    except ValueError as error:
        raise Refused(f"{name} {error}") from None


def _column(header: list[str], name: str, option: str) -> int:
    match header.count(name):
        case 1:
            return header.index(name)
        case 0:
            raise WrongColumns(f"there is no column {name!r}; {_what_there_is(header, name)} ({option} names it)")
    raise WrongColumns(f"there is more than one column {name!r}, so it is not clear which one {option} means")


def _what_there_is(header: list[str], name: str) -> str:
    there = f"the file has: {', '.join(map(repr, header))}"
    for separator, written in ((";", ";"), ("\t", "tab"), ("|", "|")):
        if len(header) == 1 and separator in header[0]:
            return f"{there}, which looks as if it needed --delimiter '{written}'"
    alike = difflib.get_close_matches(name.casefold(), [column.casefold() for column in header], 1)
    meant = [column for column in header if column.casefold() in alike]
    return f"{there}; {meant[0]!r} perhaps?" if meant else there


def _shown(text: str) -> str:
    return repr(text if len(text) <= _MAX_SHOWN_CHARACTERS else f"{text[:_MAX_SHOWN_CHARACTERS]}…")
