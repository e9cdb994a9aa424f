"""Makes the table of foldings from ICU's copy of Unicode's data: `/usr/bin/python3 tools/make_folding.py`.

It needs PyICU, which Debian has as python3-icu. Nobody else does: the table is in the repository.
"""

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

import icu  # type: ignore[import-not-found]  # of the system alone, since it is compiled for the ICU there

TARGET = Path(__file__).parents[1] / "packages/book-db/src/book_db/folding/table.txt"

Run = tuple[int, int, str]

HEAD = f"""\
# Code points, and what each of them is folded to; made by tools/make_folding.py from ICU {icu.ICU_VERSION}, which has
# Unicode {icu.UNICODE_VERSION}. A blank is written _, and where nothing follows there is nothing left. NOTICE.md beside
# this says whose data it is.
"""

CATEGORY = icu.UCharCategory
NFKD = icu.Normalizer2.getNFKDInstance()
NFC = icu.Normalizer2.getNFCInstance()
LATIN_ASCII = icu.Transliterator.createInstance("Latin-ASCII")
COLLATOR = icu.Collator.createInstance(icu.Locale("root@collation=search"))
COLLATOR.setStrength(icu.Collator.PRIMARY)

BLANK, APOSTROPHE, HYPHEN, NOTHING = " ", "'", "-", ""
BLANK_IN_TABLE = "_"

OVERLAY, NUKTA = 1, 7
ACCENTS = {OVERLAY, NUKTA, *range(10, 37), *range(200, 256)}
"""Combining classes (Unicode, table 4-3): strokes, the dot of Indian scripts, points of Hebrew, vowels of Arabic, and
what stands above or below letters. Not the signs that other scripts spell with."""

WRITTEN = {CATEGORY.NON_SPACING_MARK, CATEGORY.COMBINING_SPACING_MARK, CATEGORY.LETTER_NUMBER, CATEGORY.OTHER_NUMBER}
UNKNOWN = {CATEGORY.UNASSIGNED, CATEGORY.PRIVATE_USE_CHAR, CATEGORY.SURROGATE}
PUNCTUATION = {
    CATEGORY.OTHER_PUNCTUATION,
    CATEGORY.INITIAL_PUNCTUATION,
    CATEGORY.FINAL_PUNCTUATION,
    CATEGORY.MODIFIER_LETTER,
}
SYMBOLS = {CATEGORY.OTHER_SYMBOL, CATEGORY.MATH_SYMBOL, CATEGORY.CURRENCY_SYMBOL}

APOSTROPHES = ("APOSTROPHE", "QUOTATION MARK", "PRIME", "GERESH", "GERSHAYIM")
"""Names of what stands for one between letters, if they are of punctuation or of modifier letters."""

LONG_DASHES = set("—―⸺⸻︱﹘")  # noqa: RUF001 - all of them are meant
"""They part sentences, not words."""

TATWEEL = "ـ"
INSIDE_WORDS = {
    "\N{ZERO WIDTH NON-JOINER}",
    "\N{MIDDLE DOT}",
    "\N{ARABIC THOUSANDS SEPARATOR}",
    "\N{LATIN CAPITAL LETTER SALTILLO}",
    "\N{LATIN SMALL LETTER SALTILLO}",
}
"""Of Persian, Catalan, Arabic, and languages of Mexico: people type an apostrophe, a blank or nothing for it."""

ARABIC = {"ک": "ك", "ی": "ي", "ے": "ي", "ہ": "ه", "ھ": "ه", "ە": "ه", "ۃ": "ه"}  # noqa: RUF001 - no o
"""What keyboards for Persian, Urdu and Kurdish have in the place of Arabic letters, as Lucene's PersianNormalizer takes
them for each other. Collations tell them apart, since these languages sort them apart."""


def main() -> None:
    TARGET.write_text(HEAD + "".join(f"{line}\n" for line in _lines()), encoding="utf-8")
    print(f"{TARGET}: {TARGET.stat().st_size:,} bytes")


def _lines() -> Iterator[str]:
    """A line for each character, or for those that follow each other and are folded to the same or to a row."""
    for _, row in groupby(enumerate(_runs()), lambda each: _place_in_row(*each)):
        (first, _, fold), (_, last, last_fold) = (runs := [run for _, run in row])[0], runs[-1]
        fold = f"{fold}{f'..{last_fold}' if len(runs) > 1 else ''}".replace(BLANK, BLANK_IN_TABLE)
        yield f"{first:04X}{f'..{last:04X}' if last > first else ''} {fold}".rstrip()


def _place_in_row(place: int, run: Run) -> tuple[int, int]:
    first, last, fold = run
    is_one = first == last and len(fold) == 1 and fold.isalnum()
    return (first - place, ord(fold) - first) if is_one else (-place, -1)


def _runs() -> Iterator[Run]:
    """First and last of those that follow each other and are folded to the same."""
    folded = [(point, fold) for point in _known_points() if (fold := _fold(chr(point))) != chr(point)]
    for (fold, _), rows in groupby(enumerate(folded), lambda row: (row[1][1], row[1][0] - row[0])):
        points = [point for _, (point, _) in rows]
        yield points[0], points[-1], fold


def _known_points() -> Iterable[int]:
    return (point for point in range(sys.maxunicode + 1) if icu.Char.charType(chr(point)) not in UNKNOWN)


def _fold(character: str) -> str:
    if _is_apostrophe(character):
        return APOSTROPHE
    fold = NFC.normalize("".join(map(_plain, _apart(character))))
    # A sign that is an abbreviation is a word, as in No. 5.
    is_sign = icu.Char.charType(character) in SYMBOLS or BLANK in fold
    return " ".join(["", *fold.split(), ""]) if is_sign and fold.strip() else fold[:1] if fold.isspace() else fold


def _apart(character: str) -> str:
    return str(NFKD.normalize(icu.UnicodeString(NFKD.normalize(character)).foldCase()))


def _plain(character: str) -> str:
    if _is_passed_over(character):
        return NOTHING
    if _is_apostrophe(character):
        return APOSTROPHE
    if icu.Char.isdigit(character):
        return str(icu.Char.charDigitValue(character))
    if icu.Char.isalpha(character):
        return _plainest_letter(character)
    if icu.Char.charType(character) in WRITTEN:
        return character
    return HYPHEN if _is_hyphen(character) else BLANK


def _is_passed_over(character: str) -> bool:
    return character not in INSIDE_WORDS and (
        icu.Char.getCombiningClass(character) in ACCENTS
        or icu.Char.charType(character) in {CATEGORY.FORMAT_CHAR, CATEGORY.ENCLOSING_MARK}
        or icu.Char.hasBinaryProperty(character, icu.UProperty.DEFAULT_IGNORABLE_CODE_POINT)
    )


def _is_apostrophe(character: str) -> bool:
    category = icu.Char.charType(character)
    return (
        character in INSIDE_WORDS
        or category == CATEGORY.MODIFIER_SYMBOL
        or (
            category == CATEGORY.MODIFIER_LETTER
            and "\u02b0" <= character <= "\u02ff"
            and _apart(character) == character
        )
        or LATIN_ASCII.transliterate(character) in {"'", '"'}
        or (category in PUNCTUATION and any(name in icu.Char.charName(character) for name in APOSTROPHES))
    )


def _is_hyphen(character: str) -> bool:
    return icu.Char.charType(character) == CATEGORY.DASH_PUNCTUATION and character not in LONG_DASHES


def _plainest_letter(letter: str) -> str:
    """By Unicode's own data: in ASCII, if it is Latin, or else of those that searches take for the same (UTS #10)."""
    letter = ARABIC.get(letter, letter)
    same = _SAME.get(letter, letter)
    for spelling in (letter, same):
        ascii_letters = LATIN_ASCII.transliterate(spelling)
        if ascii_letters.isascii() and ascii_letters.isalpha():
            return str(ascii_letters.lower())
    return NOTHING if same == _SAME[TATWEEL] else same


def _same_letters() -> dict[str, str]:
    """For letters between which a search makes no difference: which of them is the plainest."""
    groups = defaultdict(list)
    for letter in map(chr, _known_points()):
        if icu.Char.isalpha(letter) and not _stands_for_itself(letter) and _apart(letter) == letter:
            groups[COLLATOR.getSortKey(letter)].append(letter)
    return {letter: min(group, key=_plainness) for group in groups.values() for letter in group}


def _plainness(letter: str) -> tuple[bool, int, str]:
    """The letter mem has a shorter name than the final letter mem."""
    name = icu.Char.charName(letter)
    return " LETTER " not in name, len(name), letter


def _stands_for_itself(letter: str) -> bool:
    """Ideographs and syllables are no letters, and where Hebrew has a final letter nobody types another."""
    scripts = {icu.UScriptCode.HAN, icu.UScriptCode.HANGUL, icu.UScriptCode.HEBREW}
    return icu.Script.getScript(letter).getScriptCode() in scripts


_SAME = _same_letters()


if __name__ == "__main__":
    main()
