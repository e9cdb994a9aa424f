"""How numbers, ids and texts are written in requests, each in one way.

pydantic 2.14 reads `+1`, `01`, `1_0`, `1.0` and ` 1` as numbers, and four forms of a UUID. One thing would have any
number of addresses, and what guards or counts requests by their address would take them for different things.
"""

import re
from typing import Final

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

INT64_MAX: Final = 2**63 - 1

_NUMBER: Final = re.compile(r"0|-?[1-9][0-9]*")
_UUID: Final = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


def _number(value: object) -> object:
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        raise PydanticCustomError("number_spelling", "must be a whole number, in digits and with no zero before them")
    return value


def _uuid(value: object) -> object:
    if isinstance(value, str) and not _UUID.fullmatch(value):
        raise PydanticCustomError("uuid_spelling", "must be a UUID, in hexadecimal digits and with its hyphens")
    return value


# After what else stands in an annotation, or pydantic would not say the bounds in the schema.
IN_DIGITS: Final = BeforeValidator(_number)
"""Of an integer: digits alone, none of them a zero at the beginning, perhaps with a minus before them."""

HYPHENATED: Final = BeforeValidator(_uuid)
"""Of a UUID: the form of RFC 9562, 4, whose letters may be of either case."""

_VISIBLE: Final = r"[^\s\x00-\x1f\x7f-\x9f]"


def text_pattern(*, alone: str = _VISIBLE) -> str:
    """What text is before it is trimmed: it begins and ends with what can be seen, and holds no control characters.

    `alone` is what it may be if it is one character.
    """
    return rf"^\s*(?:{alone}|{_VISIBLE}[^\x00-\x1f\x7f-\x9f\u2028\u2029]*{_VISIBLE})\s*$"
