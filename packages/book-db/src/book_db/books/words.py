"""The words that books are found by: without case, without accents, in any script, and as people type them.

The same function folds a book and a question, so a book is found by what it holds. Where a word is written in several
ways, a book has all of its forms, and a question asks for any of them: *O'Neill* is found by ``oneill`` and by
``o neill``, and asking for ``O'Neill`` finds *ONeill* and *O Neill*.

Scripts that put no space between words are taken apart into their characters and pairs of neighbours: every part of
such a text is found by its pairs. So is Korean, which has spaces, but puts them here and there.
"""

import re
from collections.abc import Iterator
from itertools import chain, groupby, pairwise
from typing import Final

from book_db.book import BookPatch, Draft
from book_db.folding import APOSTROPHE, HYPHEN, OR, fold

_LENGTH_MAX: Final = 100
"""Characters; longer words are found by how they begin. An index takes no entry longer than a third of a page."""

_SEVERAL_MAX: Final = 10
"""So many words of a question are asked for in all the ways to write them; more would make a long statement. Those that
follow are asked for in their parts, which a book has that has the word as it is in the question."""

_INITIAL_MAX: Final = len(f"o{OR}e")
"""Characters, or a letter between marks; to tell by its length that a word is none takes no time."""

OTHERWISE: Final = "|"
"""Between the ways to write a word of a question."""

# Han, kana and Hangul, the scripts of Southeast Asia, and those of old that Unicode has in the same manner.
_CHARACTER: Final = (
    r"\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u1950-\u19ff\u1a20-\u1aaf\u1b00-\u1b7f\u2e80-\u2fdf"
    r"\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3038-\u303c\u3040-\u318f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf"
    r"\u4e00-\u9fff\ua000-\ua4cf\ua960-\ua9df\ua9e0-\ua9ff\uaa60-\uaadf\uac00-\ud7ff\uf900-\ufaff"
    r"\U00011700-\U0001174f\U00017000-\U00018dff\U0001aff0-\U0001b2ff\U00020000-\U0003ffff"
)
_RUN: Final = re.compile(f"[{_CHARACTER}]+")
_RUN_AND_ON: Final = re.compile(f"[{_CHARACTER}](?:[ {APOSTROPHE}{HYPHEN}]*[{_CHARACTER}])*")
"""With what stands in between. Names are typed without the blank or the dot that a catalogue has in them."""

_BETWEEN: Final = str.maketrans("", "", f" {APOSTROPHE}{HYPHEN}")
_MORE: Final = re.compile(rf"\{OR}.")


def words_of(text: str) -> list[str]:
    """Every word of a text once, in order; for an index. None holds a blank."""
    runs, chunks = _parted(fold(text))
    compounds = [chunk for chunk in chunks if APOSTROPHE in chunk or HYPHEN in chunk or OR in chunk]
    words = {*chunks}
    if compounds:
        words.difference_update(compounds)
        words.update(" ".join(chain.from_iterable(map(_ways, compounds))).split())
    if 1 in map(len, chunks):
        words.update(_initials_together(chunks))
    for run in runs:
        words.update(_characters_and_pairs(run))
    return sorted({word[:_LENGTH_MAX] for word in words})


def words_by_column(book: Draft | BookPatch) -> dict[str, list[str] | None]:
    """The words of the fields by which books are found, under the names of their columns."""
    texts = {"title_words": book.title, "author_words": book.author}
    return {column: None if text is None else words_of(text) for column, text in texts.items()}


def words_asked_for(question: str) -> list[str]:
    """The words that a book must hold, all of them, to answer the question.

    One that may be written in several ways has them all, with ``OTHERWISE`` in between, and a way that is several words
    has blanks between these: *O'Neill* is asked for by ``oneill|o neill``.
    """
    runs, chunks = _parted(fold(question))
    words = set(chain.from_iterable(map(_pairs_or_characters, runs)))
    several = 0
    for ways in map(_different, _asked_for(chunks)):
        several += len(ways) > 1
        words.update([OTHERWISE.join(ways)] if several <= _SEVERAL_MAX else ways[-1].split())
    return sorted(words - {""})


def ways_of(word: str) -> list[list[str]]:
    """The words that a book must hold in the place of one that is asked for: all those of one of these."""
    return [way.split() for way in word.split(OTHERWISE)]


def _parted(folded: str) -> tuple[list[str], list[str]]:
    """The runs of characters without blanks, and what stands between blanks in other scripts."""
    if folded.isascii():
        return [], folded.split()
    return _RUN_AND_ON.findall(folded), _RUN.sub(" ", folded).split()


def _characters_and_pairs(run: str) -> Iterator[str]:
    characters = run.translate(_BETWEEN)
    return chain(characters, map("".join, pairwise(characters)))


def _pairs_or_characters(run: str) -> Iterator[str]:
    for part in _RUN.findall(run):
        yield from map("".join, pairwise(part)) if len(part) > 1 else part


def _initials_together(chunks: list[str]) -> Iterator[str]:
    """Of *J. R. R. Tolkien* and of *J.R.R. Tolkien* ``jrr``."""
    return ("".join(map(_letter_of, row)) for are_initials, row in groupby(chunks, _is_initial) if are_initials)


def _asked_for(chunks: list[str]) -> Iterator[list[str]]:
    """The ways to write each word. Initials that follow each other are one."""
    for are_initials, row in groupby(chunks, _is_initial):
        letters = [*row]
        if are_initials and len(letters) > 1:
            letters = [*map(_letter_of, letters)]
            yield ["".join(letters), " ".join(letters)]
        else:
            yield from map(_ways, letters)


def _is_initial(chunk: str) -> bool:
    return len(chunk) <= _INITIAL_MAX and len(letter := _letter_of(chunk)) == 1 and letter.isalpha()


def _letter_of(chunk: str) -> str:
    return _MORE.sub("", chunk).strip(APOSTROPHE + HYPHEN)


def _ways(chunk: str) -> list[str]:
    """As one word, without apostrophes, and in all its parts, in each of its spellings."""
    ways = []
    for spelling in (_MORE.sub("", chunk), chunk.replace(OR, "")) if OR in chunk else (chunk,):
        parts = spelling.replace(HYPHEN, " ")
        ways += [spelling.replace(HYPHEN, "").replace(APOSTROPHE, ""), parts.replace(APOSTROPHE, "")]
        ways += [parts.replace(APOSTROPHE, " ")]
    return ways


def _different(ways: list[str]) -> list[str]:
    """Each once, and none but as the index has its words."""
    return list(dict.fromkeys(" ".join(word[:_LENGTH_MAX] for word in way.split()) for way in ways))
