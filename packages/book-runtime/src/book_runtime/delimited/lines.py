"""The lines of a text that comes as bytes, in whatever pieces. Never more than one of them is held."""

import codecs
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

LF: Final = re.compile("\n")
ANY_END: Final = re.compile("\r\n|\n|\r")
"""What editors and spreadsheets end lines with. The separators that Unicode has besides end none."""

_UNDECODABLE: Final = re.compile("[\udc00-\udcff]")
_BYTE_ORDER_MARK: Final = "\ufeff"
_ESCAPED: Final = "book_runtime.delimited.escaped"


class Line(NamedTuple):
    """A line, without its end."""

    number: int
    """Counted from 1."""
    text: str
    """With the surrogate U+DC00 + byte for every byte that could not be decoded, and empty if the line is too long."""
    end: str
    """What ended it; empty if it was the end of the text."""
    size: int
    """Bytes in UTF-8, as many as count."""
    is_too_long: bool = False


class Lines:
    """Decodes what comes and cuts it into lines."""

    def __init__(self, encoding: str, longest: int, ends: re.Pattern[str] = ANY_END) -> None:
        """``longest`` is in bytes of UTF-8. Raises LookupError for an encoding that is not known."""
        # The handler of the standard library knows no bytes below 0x80, which UTF-16 and others stumble over, too; it
        # is many times as fast.
        errors = "surrogateescape" if codecs.lookup(encoding).name in {"utf-8", "ascii"} else _ESCAPED
        self._decoder = codecs.getincrementaldecoder(encoding)(errors)
        self._longest = longest
        self._ends = ends
        self._parts: list[str] = []
        self._length = 0
        self._number = 0
        self._held = ""

    def feed(self, piece: bytes) -> Iterator[Line]:
        """The lines that end in this piece. Raises UnicodeError where an encoding does not even begin."""
        text = self._held + self._decoder.decode(piece)
        # Half of a line end, perhaps.
        self._held = "\r" if text.endswith("\r") else ""
        return self._cut(text.removesuffix("\r"))

    def last(self) -> Iterator[Line]:
        """The lines that the end of the text ends."""
        yield from self._cut(self._held + self._decoder.decode(b"", final=True))
        if self._length:
            yield self._line("")

    def _cut(self, text: str) -> Iterator[Line]:
        start = 0
        for end in self._ends.finditer(text):
            self._keep(text[start : end.start()])
            yield self._line(end[0])
            start = end.end()
        self._keep(text[start:])

    def _keep(self, part: str) -> None:
        # One character more than may be shows that it is too long; what follows that is passed over.
        if kept := part[: self._longest + 1 - self._length]:
            self._parts.append(kept)
            self._length += len(kept)

    def _line(self, end: str) -> Line:
        text, self._parts, self._length = "".join(self._parts), [], 0
        self._number += 1
        if self._number == 1:
            text = text.removeprefix(_BYTE_ORDER_MARK)
        size = len(text) if text.isascii() else len(text.encode(errors="replace"))
        if size > self._longest:
            return Line(self._number, "", end, self._longest + 1, is_too_long=True)
        return Line(self._number, text, end, size)


def undecodable(text: str) -> tuple[int, int] | None:
    """The first byte of a text that could not be decoded, and how many characters stand before it."""
    if text.isascii() or not (found := _UNDECODABLE.search(text)):
        return None
    return ord(found[0]) - 0xDC00, found.start()


def _escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    broken = error.object[error.start : error.end]
    return "".join(chr(0xDC00 + byte) for byte in broken), error.end


codecs.register_error(_ESCAPED, _escaped)
