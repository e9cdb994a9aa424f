"""The rules for text in the catalogue, the same for whoever writes it."""

import re
import unicodedata
from typing import Final

# Unicode's control characters and lone surrogates, and the two that break lines without being controls.
_FORBIDDEN: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]")

# Spaces and formats show nothing, and neither do these letters, marks and the blank of Braille.
_INVISIBLE_CATEGORIES: Final = frozenset(("Zs", "Cf"))
_INVISIBLE: Final = re.compile(
    r"[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)

_AT_THE_ENDS: Final = (
    "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff"
)
"""What ``str.strip`` takes away, and the mark of byte order, which is in the middle of files that were joined."""

_COMPOSED_MAX: Final = 4
"""NFC makes one character out of four at the most."""

_MARKS_MAX: Final = 30
"""In a row, as in the Stream-Safe Text Format of UAX #15. The time that NFC takes grows with the square of the row."""


def clean(value: str, *, at_most: int) -> str:
    """Trims a text and brings it into Unicode NFC.

    Raises ValueError, with the rule that is broken, when nothing visible is left, when it is longer than
    ``at_most`` characters, or when it holds a control character, half of a surrogate pair, or marks in endless rows.
    """
    text = _composed(value.strip(_AT_THE_ENDS), at_most=at_most)
    if all(map(_is_invisible, text)):
        raise ValueError("must not be blank")
    return text


def clean_beginning(value: str, *, at_most: int) -> str:
    """The same for what a text begins with: more is to follow, so it may end in a blank, and may be one, or empty.

    Raises ValueError, with the rule that is broken, as ``clean`` does.
    """
    return _composed(value.lstrip(_AT_THE_ENDS), at_most=at_most)


def _composed(text: str, *, at_most: int) -> str:
    if forbidden := _FORBIDDEN.search(text):
        raise ValueError(f"must not contain the character U+{ord(forbidden[0]):04X}")
    if len(text) > at_most * _COMPOSED_MAX:
        raise ValueError(f"must have at most {at_most:,} characters")
    _refuse_rows_of_marks(text)
    text = unicodedata.normalize("NFC", text)
    if len(text) > at_most:
        raise ValueError(f"must have at most {at_most:,} characters, this has {len(text):,}")
    return text


def _refuse_rows_of_marks(text: str) -> None:
    if text.isascii():
        return
    row = 0
    for character in text:
        row = row + 1 if unicodedata.combining(character) else 0
        if row > _MARKS_MAX:
            raise ValueError(f"must not have more than {_MARKS_MAX} combining marks in a row")


def _is_invisible(character: str) -> bool:
    return unicodedata.category(character) in _INVISIBLE_CATEGORIES or _INVISIBLE.match(character) is not None
