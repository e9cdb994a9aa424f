"""The words that books are found by: without case, without accents, in any script.

The same function makes the words of a book and those of a question, so a book is found by what it holds. Scripts that
put no space between words are taken apart into their characters and pairs of neighbours: every part of such a text
is found by its pairs.
"""

import re
import unicodedata
from collections.abc import Iterator
from itertools import filterfalse, pairwise
from typing import Final

_LENGTH_MAX: Final = 100
"""Characters; longer words are found by how they begin. An index takes no entry longer than a third of a page."""

_APART: Final = re.compile(r"[^a-z0-9]+")
"""What stands between words of plain ASCII."""

# Han, kana, Thai, Lao, Myanmar and Khmer, in the form that NFKD leaves them in.
_UNSPACED: Final = re.compile(
    r"([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"
    r"\u3400-\u4dbf\u4e00-\u9fff\uaa60-\uaa7f\U0001aff0-\U0001b16f\U00020000-\U0003ffff]+)"
)


def words_of(text: str) -> list[str]:
    """Every word of a text once, in order; for an index. None holds a space."""
    return sorted(set(_words(text, whole=True)))


def words_asked_for(question: str) -> list[str]:
    """The words that a book must hold, all of them, to answer the question."""
    return sorted(set(_words(question, whole=False)))


def _words(text: str, *, whole: bool) -> Iterator[str]:
    for word in _split(_folded(text)):
        for place, part in enumerate(_UNSPACED.split(word)):
            if place % 2:
                yield from _neighbours(part, whole=whole)
            elif part:
                yield part[:_LENGTH_MAX]


def _neighbours(characters: str, *, whole: bool) -> Iterator[str]:
    if whole or len(characters) == 1:
        yield from characters
    for first, second in pairwise(characters):
        yield first + second


def _folded(text: str) -> str:
    """Without case (Unicode 3.13, D146) and without accents."""
    if text.isascii():
        return text.lower()
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return unicodedata.normalize("NFC", "".join(filterfalse(_is_passed_over, apart)))


def _is_passed_over(character: str) -> bool:
    """Accents, Hebrew points, Arabic vowels and what is not seen. Not the marks that other scripts spell with."""
    combining = unicodedata.combining(character)
    # Canonical combining classes, Unicode's table 4-3.
    return combining >= 200 or 10 <= combining <= 36 or unicodedata.category(character) == "Cf"  # noqa: PLR2004


def _split(folded: str) -> list[str]:
    if folded.isascii():
        return _APART.sub(" ", folded).split()
    return "".join(each if unicodedata.category(each)[0] in "LNM" else " " for each in folded).split()
