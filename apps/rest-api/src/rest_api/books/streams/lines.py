"""The lines of an upload, whatever the pieces it comes in. Never more than one of them is held."""

from collections.abc import Iterator
from typing import Final, NamedTuple

LINE_MAX: Final = 2**16
"""Bytes. The longest book, with every character of it escaped, has half as many."""

_BOM: Final = b"\xef\xbb\xbf"


class Line(NamedTuple):
    """A line without its end, or why there is none."""

    number: int
    """Counted from 1."""
    text: str
    size: int
    """Bytes that were read for it, as many as count."""
    fault: str = ""


class Lines:
    """Cuts what comes into lines, which end with LF; a CR before it is left to who reads them."""

    def __init__(self) -> None:
        self._begun = bytearray()
        self._number = 0

    def feed(self, piece: bytes) -> Iterator[Line]:
        """The lines that end in this piece."""
        start = 0
        while (end := piece.find(b"\n", start)) >= 0:
            self._keep(piece[start:end])
            yield self._line()
            start = end + 1
        self._keep(piece[start:])

    def last(self) -> Iterator[Line]:
        """The line that nothing ends, if there is one."""
        if self._begun:
            yield self._line()

    def _keep(self, part: bytes) -> None:
        # One byte more than may be shows that it is too long; what follows that is passed over.
        self._begun += part[: LINE_MAX + 1 - len(self._begun)]

    def _line(self) -> Line:
        line, self._begun = bytes(self._begun), bytearray()
        self._number += 1
        if self._number == 1:
            line = line.removeprefix(_BOM)
        if len(line) > LINE_MAX:
            return Line(self._number, "", len(line), f"must have at most {LINE_MAX:,} bytes")
        try:
            return Line(self._number, line.decode(), len(line))
        except UnicodeDecodeError as error:
            fault = f"must be UTF-8, which the byte 0x{line[error.start]:02X} at {error.start + 1} is not"
            return Line(self._number, "", len(line), fault)
