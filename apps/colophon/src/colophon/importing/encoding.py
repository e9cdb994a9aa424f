"""The encoding of a file: what its first bytes say, and what is to be done where they say something else."""

import codecs
import re
from typing import Final

_MARKS: Final = (
    # The mark of UTF-32 begins with that of UTF-16.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8"),
)
_UNMARKED: Final = (("utf-32-le", 4, 0), ("utf-32-be", 4, 3), ("utf-16-le", 2, 0), ("utf-16-be", 2, 1))
"""How many bytes a character has, and which of them an ASCII one needs."""

_WIDE: Final = re.compile("utf-(16|32)(-[lb]e)?")
_NO_TEXT: Final = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"\x89PNG", b"%PDF")
"""How the files of spreadsheets begin, and others that are taken for tables."""

_HEAD_BYTES: Final = 64
"""Bytes in which a file without a byte order mark shows what it is: the names of columns are mostly ASCII."""


class WrongEncoding(Exception):
    """A file is not what it is to be read as; the text says what to do, for the user."""


def encoding_of(head: bytes, asked: str | None) -> str:
    """What a file is encoded in that begins so, if it was ``asked`` for this encoding, or for none.

    Raises WrongEncoding.
    """
    marked = next((encoding for mark, encoding in _MARKS if head.startswith(mark)), None)
    if marked is not None:
        if asked is not None and _family(asked) != _family(marked):
            raise WrongEncoding(f"this is not {shown(asked)} but {shown(marked)}; leave --encoding out")
        return marked
    if asked is None or not is_wide(asked):
        _refuse_wide(head)
        return asked or "utf-8"
    if codecs.lookup(asked).name == _family(asked) or b"\0" not in head:
        _refuse_wide(head)
        raise WrongEncoding(f"this is not {shown(asked)}; leave --encoding out")
    return asked


def is_wide(encoding: str) -> bool:
    """Whether its characters have two or four bytes, the ASCII ones too."""
    return _WIDE.fullmatch(codecs.lookup(encoding).name) is not None


def shown(encoding: str) -> str:
    """Its name as people know it."""
    return codecs.lookup(encoding).name.removesuffix("-sig").upper()


def other_than(encoding: str, text: str) -> str:
    """Advice where a line could not be decoded, which has a surrogate for each byte that could not be."""
    try:
        text.encode(encoding, "surrogateescape").decode("cp1252")
    except UnicodeError:
        return "name the file's encoding with --encoding; whoever made it knows"
    return "name the file's encoding with --encoding, cp1252 for instance"


def _family(encoding: str) -> str:
    """Its name without the order of bytes, and without the mark that may stand at the beginning."""
    return re.sub("-(sig|le|be)$", "", codecs.lookup(encoding).name)


def _refuse_wide(head: bytes) -> None:
    """Refuses what has zeros where a header stands. Raises WrongEncoding."""
    if head.startswith(_NO_TEXT) or b"\0" in head[:_HEAD_BYTES].partition(b"\n")[0]:
        for encoding, width, ascii_at in _UNMARKED:
            if _looks_like(head[:_HEAD_BYTES], width, ascii_at):
                raise WrongEncoding(
                    f"this looks like {shown(encoding)} without a byte order mark; try --encoding {encoding}"
                )
        raise WrongEncoding("this is not a text file; a spreadsheet has to be saved as CSV first")


def _looks_like(head: bytes, width: int, ascii_at: int) -> bool:
    """Whether most characters are ASCII in this encoding, of ``width`` bytes, the one at ``ascii_at`` not 0."""
    characters = [head[at : at + width] for at in range(0, len(head) - width + 1, width)]
    in_ascii = [each for each in characters if each[ascii_at] and not any(each[:ascii_at] + each[ascii_at + 1 :])]
    return 2 * len(in_ascii) > len(characters)
