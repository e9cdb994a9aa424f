"""The records of a file of delimited text, each with the lines that it stands on.

RFC 4180 lets a quoted field go over several lines, so one quote too many can make a field of everything up to the next
quote, thousands of rows away. A record of several lines is therefore taken for one only if

- its quotes are closed before a delimiter or the end of a line, as the RFC has it, and within bounds, and
- no line between its first and its last would be a row by itself, nor would both the first and the last.

Otherwise its first line is refused, and those behind it are read again, each for itself. As long as none of them is
certainly a row, they may have been text in quotes: then none is taken that has a quote where the RFC has none.

No line is looked at more than a few times. Whichever line has opened a quote, what follows inside of it is read in one
way only, so another that is opened meanwhile comes to the same end. That is why only the line of that end may begin a
record of several lines again.

docs/decisions/0037 gives the reasons.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final, NamedTuple

from book_runtime.delimited.delimiter import likely, named_by
from book_runtime.delimited.fields import Fields, Malformed
from book_runtime.delimited.lines import Line

LINES_MAX: Final = 2**16
"""Of one record. An empty line has one byte, and takes a hundred times as much memory."""

_OPENED: Final = "not valid CSV: a quote is opened"
_UNCLOSED: Final = f"{_OPENED} that nothing closes"


class Record(NamedTuple):
    """A row of the file, or a line that is none."""

    line: int
    last_line: int
    fields: list[str]
    """Where there is a fault, the text of the line alone."""
    size: int
    """Bytes, as those of its lines."""
    fault: str = ""
    """What is wrong with it, to be read after an "is"."""


def fault_of_width(fields: Sequence[str], width: int) -> str:
    """What is wrong with a row that has more or fewer fields than the header, to be read after a "has", or nothing."""
    if len(fields) == width:
        return ""
    return f"{'1 field' if len(fields) == 1 else f'{len(fields)} fields'} where the header has {width}"


class Records:
    """Is given every line in turn and makes records of them. Empty lines between them are passed over.

    The first record is the header. Whoever has read it says with ``expect`` what a row is.
    """

    def __init__(self, delimiter: str | None, *, names: Collection[str], longest: int) -> None:
        """``longest`` is how many bytes a record may have.

        Without a ``delimiter`` it is that of a first line ``sep=;``, or that by which the header has these ``names``.
        """
        self._delimiter = delimiter or ""
        self._names = names
        self._longest = longest
        self._is_row: Callable[[Sequence[str]], bool] = lambda _: False
        self._line_end = ""
        self._fields = Fields(self._delimiter)
        self._lines: list[Line] = []
        self._size = 0
        """These three are those of a record that goes on in the next line, if there is one."""
        self._quote_in_doubt = 0
        """The line of it, 0 if there is none."""
        self._torn_off = 0
        """The line that may have been torn off from the next one, 0 if there is none."""

    def expect(self, is_row: Callable[[Sequence[str]], bool]) -> None:
        """``is_row`` says whether fields are certainly a row of this file."""
        self._is_row = is_row

    def feed(self, line: Line) -> Iterator[Record]:
        """What this line completes."""
        if self._lines:
            yield from self._go_on(line)
        elif line.number > 1 or not self._names_delimiter(line):
            yield from self._begin(line)

    def end(self) -> Iterator[Record]:
        """What the end of the file completes."""
        while self._lines:
            yield from self._give_up(_UNCLOSED)

    def _names_delimiter(self, line: Line) -> bool:
        named = named_by(line.text)
        self._delimiter = self._delimiter or named or ""
        return named is not None

    def _begin(self, line: Line, *, alone: bool = False) -> Iterator[Record]:
        """Reads the first line of a record; ``alone``: the only one that it may have."""
        if not line.text and not line.is_too_long:
            return
        self._delimiter = self._delimiter or likely(line.text, self._names)
        self._line_end = self._line_end or line.end
        fields = Fields(self._delimiter, why_strict=self._why_strict())
        if fault := self._fault_in(line, fields):
            yield _refused(line, fault)
        elif not fields.is_open:
            yield self._record(fields.complete, [line], line.size)
        elif alone:
            yield _refused(line, _UNCLOSED)
        else:
            self._fields, self._lines, self._size = fields, [line], line.size + 1
            self._torn_off = 0

    def _fault_in(self, line: Line, fields: Fields) -> str:
        """Has the fields take the line, and gives what keeps them from it."""
        torn_off, self._torn_off = self._torn_off, self._may_be_torn_off(line)
        if line.is_too_long:
            return f"longer than {self._longest:,} bytes"
        if torn_off:
            return f"not valid CSV: the carriage return that ends line {torn_off} must stand in quotes"
        try:
            fields.take(line.text, line.end)
        except Malformed as error:
            return f"not valid CSV: {error}"
        return ""

    def _why_strict(self) -> str:
        if not self._quote_in_doubt:
            return ""
        return f"there is a quote in it that may belong to the one that line {self._quote_in_doubt} opens"

    def _go_on(self, line: Line) -> Iterator[Record]:
        self._lines.append(line)
        self._size += line.size + 1
        if line.is_too_long or self._size > self._longest + 1 or len(self._lines) > LINES_MAX:
            yield from self._give_up(f"{_UNCLOSED} within {self._longest:,} bytes and {LINES_MAX:,} lines")
            return
        try:
            self._fields.take(line.text, line.end)
        except Malformed:
            yield from self._give_up(f"{_OPENED} that line {line.number} closes, with text behind it")
            return
        if self._fields.is_open:
            return
        if self._hides_rows():
            fault = f"{_OPENED} that line {line.number} closes, but these lines look like rows of their own"
            yield from self._give_up(fault)
            return
        lines, self._lines = self._lines, []
        yield self._record(self._fields.complete, lines, self._size)

    def _give_up(self, fault: str) -> Iterator[Record]:
        first, *others = self._lines
        self._lines = []
        self._quote_in_doubt, self._torn_off = first.number, self._may_be_torn_off(first)
        yield _refused(first, fault)
        for line in others[:-1]:
            yield from self._begin(line, alone=True)
        for line in others[-1:]:
            yield from self._begin(line)

    def _record(self, fields: list[str], lines: Sequence[Line], size: int) -> Record:
        if self._quote_in_doubt and self._is_row(fields):
            self._quote_in_doubt = 0
        return Record(lines[0].number, lines[-1].number, fields, size)

    def _hides_rows(self) -> bool:
        first, *between, last = self._lines
        return any(map(self._is_row_alone, between)) or all(map(self._is_row_alone, (first, last)))

    def _is_row_alone(self, line: Line) -> bool:
        return self._is_row(line.text.split(self._delimiter))

    def _may_be_torn_off(self, line: Line) -> int:
        """A carriage return in a field ends a line, though all other lines of the file end otherwise."""
        torn_off = line.end == "\r" != self._line_end and not self._is_row_alone(line)
        return line.number if torn_off else 0


def _refused(line: Line, fault: str) -> Record:
    return Record(line.number, line.number, [line.text], line.size, fault)
