"""The fields of a record, line by line (RFC 4180, 2)."""

import csv
import re
from typing import Final

_QUOTES: Final = re.compile('"+')


class Malformed(Exception):
    """A line that is not valid CSV; the text is the reason."""


class Fields:
    """Takes the lines of one record in turn, of which a quoted field may have several."""

    def __init__(self, delimiter: str, *, why_strict: str = "") -> None:
        """In a field that begins with none, quotes stand for themselves, as in ``5" of rain``, unless ``why_strict``
        says why not: the RFC knows none there.
        """
        self._delimiter = delimiter
        self._why_strict = why_strict
        self.complete: list[str] = []
        self._parts: list[str] = []
        self.is_open = False
        """Whether a quoted field goes on in the next line."""

    def take(self, text: str, end: str) -> None:
        """Adds a line and what ended it. Raises Malformed."""
        if not self.is_open and not self._why_strict and (fields := self._at_once(text)):
            self.complete = fields
            return
        at = self._quoted(text, 0) if self.is_open else 0
        while at <= len(text):
            at = self._field(text, at)
        if self.is_open:
            self._parts.append(end)

    def _at_once(self, text: str) -> list[str] | None:
        """The same in a quarter of the time, but only of a line that is a whole record, and of no more."""
        try:
            return next(csv.reader([text], delimiter=self._delimiter, strict=True))
        except csv.Error:
            return None

    def _field(self, text: str, at: int) -> int:
        """Reads a field that begins there, and gives where the next one would begin."""
        if text.startswith('"', at):
            self.is_open = True
            return self._quoted(text, at + 1)
        end = text.find(self._delimiter, at)
        field = text[at:] if end < 0 else text[at:end]
        if self._why_strict and '"' in field:
            raise Malformed(self._why_strict)
        self.complete.append(field)
        return at + len(field) + 1

    def _quoted(self, text: str, at: int) -> int:
        closing = _closing(text, at)
        if closing < 0:
            self._parts.append(text[at:].replace('""', '"'))
            return len(text) + 1
        if text[closing + 1 : closing + 2] not in {"", self._delimiter}:
            raise Malformed("text follows the quote that closes a field; a quote inside of one is written twice")
        self._parts.append(text[at:closing].replace('""', '"'))
        self.complete.append("".join(self._parts))
        self._parts, self.is_open = [], False
        return closing + 2


def _closing(text: str, at: int) -> int:
    """Where the quote is that closes a field whose text begins there: two that stand together are one of its text."""
    for quotes in _QUOTES.finditer(text, at):
        if (quotes.end() - quotes.start()) % 2:
            return quotes.end() - 1
    return -1
