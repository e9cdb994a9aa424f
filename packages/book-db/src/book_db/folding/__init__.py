"""Folding: what is left of a text when nothing counts but its letters and digits.

The same text is folded to the same on every machine and every Python: what characters become stands in ``table.txt``,
made from Unicode 15.0, and not in the Unicode of the Python that runs. ``docs/decisions/0038`` tells what becomes what.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.resources import files
from itertools import chain, repeat
from typing import Final

VERSION: Final = 2
"""Of this function and its table. Whoever changes what they give adds one, with a migration for
``books_without_words_idx``: then the words of all books are made anew at the next start."""

APOSTROPHE: Final = "'"
"""Whatever stands between the parts of one word: apostrophes, quotation marks, and what people type for them."""
HYPHEN: Final = "-"
"""Whatever stands between two words that are written as one."""
OR: Final = "+"
"""Between a letter and what may follow it: ``mu+eller`` is written ``muller`` and ``mueller``."""

_WRITTEN_OUT: Final = {"ä": "a+e", "ö": "o+e", "ü": "u+e", "ø": "o+e", "å": "a+a"}
"""As people write them who lack the letter: German (CLDR, de-ASCII), Danish and Norwegian (ICAO 9303-3, section 6)."""

_LARGE_NUMBER: Final = re.compile(r"[0-9][,.][0-9]{3}")
_THOUSANDS: Final = re.compile(r"(?<=[0-9])[,.](?=[0-9]{3})")
"""What parts a large number, as apostrophes do in Switzerland."""

# The vowel AM of Thai and Lao is folded to the two signs that it is made of, and a tone is typed before or after the
# first of them. Their vowel AE looks like the vowel E twice.
_TONE_BEHIND: Final = re.compile("([\u0e4d\u0ecd])([\u0e48-\u0e4b\u0ec8-\u0ecb])")
_E_TWICE: Final = re.compile("\u0e40{2}|\u0ec0{2}")


def fold(text: str) -> str:
    """The letters and digits of a text in their plain form, with blanks, APOSTROPHE, HYPHEN and OR between them.

    Without case (Unicode 3.13, D146), accents, points, vowel signs of Hebrew and Arabic, and what is not seen; digits
    of all scripts as those of ASCII; Latin letters in those of ASCII, as CLDR's Latin-ASCII has them; and letters that
    CLDR's collation for searches does not tell apart as one of them.
    """
    if _LARGE_NUMBER.search(text):
        text = _THOUSANDS.sub(APOSTROPHE, text)
    if text.isascii():
        return text.encode().translate(_ascii_folds()).decode()
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).translate(_folds()))
    return _E_TWICE.sub(_ae, _TONE_BEHIND.sub(r"\2\1", folded))


def _ae(twice: re.Match[str]) -> str:
    return chr(ord(twice[0][0]) + 1)


def _table() -> Iterator[tuple[int, str]]:
    lines = files(__name__).joinpath("table.txt").read_text(encoding="utf-8").splitlines()
    rows = (_row(line) for line in lines if not line.startswith("#"))
    written_out = {ord(each): more for letter, more in _WRITTEN_OUT.items() for each in (letter, letter.upper())}
    return chain(*rows, written_out.items())


def _row(line: str) -> Iterable[tuple[int, str]]:
    """Of ``0041..005A a..z`` each to its own, of ``00C0..00C5 a`` all to the same."""
    points, _, folded = line.replace("_", " ").partition(" ")
    first, _, last = points.partition("..")
    characters = range(int(first, 16), int(last or first, 16) + 1)
    first_fold, is_alphabet, last_fold = folded.partition("..")
    if is_alphabet:
        return zip(characters, map(chr, range(ord(first_fold), ord(last_fold) + 1)), strict=True)
    return zip(characters, repeat(folded), strict=False)


class _Folds(dict[int, int | str]):
    """What is not in it is folded to itself; it is remembered, since to say so each time takes longer than the rest."""

    def __missing__(self, point: int) -> int:
        if len(self) < _REMEMBERED_MAX:
            self[point] = point
        return point


_REMEMBERED_MAX: Final = 50_000


@cache
def _folds() -> _Folds:
    """Read when it is first needed: it takes 14 ms and 4 MB, and many a process folds nothing."""
    return _Folds(_table())


@cache
def _ascii_folds() -> bytes:
    """The same for bytes, each of which becomes one."""
    return "".join(map(chr, range(128))).translate(_folds()).encode().ljust(256)
