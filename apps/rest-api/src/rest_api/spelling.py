"""Numbers and ids in addresses and queries, each of which is written in one way.

pydantic 2.14 reads `+1`, `01`, `1_0`, `1.0` and ` 1` as numbers, and four forms of a UUID. One thing would have any
number of addresses, and whoever guards or counts them by what they look like would see others.
"""

import re
from typing import Final

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

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
