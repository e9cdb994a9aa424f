"""The rules for text in the catalogue, the same for whoever writes it."""

import re
import unicodedata
from typing import Final

TITLE_MAX: Final = 2_000
AUTHOR_MAX: Final = 1_000
"""Characters, after cleaning."""

# Unicode's control characters and lone surrogates, and the two that break lines without being controls.
_FORBIDDEN: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]")
_SEPARATORS_AND_FORMATS: Final = frozenset(("Zs", "Cf", "Cn", "Co"))


def clean(value: str, *, at_most: int) -> str:
    """Trims a text and brings it into Unicode NFC.

    Raises ValueError, with the rule that is broken, when nothing visible is left, when it is longer than
    ``at_most`` characters, or when it holds a control character or half of a surrogate pair.
    """
    text = unicodedata.normalize("NFC", value.strip())
    if not text:
        raise ValueError("must not be blank")
    if forbidden := _FORBIDDEN.search(text):
        raise ValueError(f"must not contain the character U+{ord(forbidden[0]):04X}")
    if all(unicodedata.category(character) in _SEPARATORS_AND_FORMATS for character in text):
        raise ValueError("must not be blank")
    if len(text) > at_most:
        raise ValueError(f"must have at most {at_most:,} characters, this has {len(text):,}")
    return text
