"""What stands between the fields of a file."""

import re
from collections.abc import Collection
from typing import Final

from book_runtime.delimited.fields import Fields, Malformed

DELIMITERS: Final = (",", ";", "\t", "|")
"""Those that are found out. The semicolon is Excel's wherever the comma divides numbers."""

# Spreadsheets that save it again fill the line up to the number of columns.
_NAMED: Final = re.compile(r'"?sep=([^"\s\0]|\t)"?(?:\1| )*', re.IGNORECASE)


def named_by(line: str) -> str | None:
    """The delimiter that Excel is told by a first line of ``sep=;``; None if it is no such line."""
    found = _NAMED.fullmatch(line)
    return found[1] if found else None


def likely(header: str, names: Collection[str]) -> str:
    """The delimiter by which a header has most of these columns, and otherwise most columns; a comma in doubt."""

    def worth(delimiter: str) -> tuple[int, int]:
        columns = [column.strip() for column in _columns(header, delimiter)]
        return len(set(names) & set(columns)), len(columns)

    return max(DELIMITERS, key=worth)


def _columns(header: str, delimiter: str) -> list[str]:
    fields = Fields(delimiter)
    try:
        fields.take(header, "")
    except Malformed:
        return []
    return fields.complete
