"""The two forms in which books come and go by the million."""

import re
from collections.abc import Iterator, Sequence
from itertools import permutations
from typing import Any, Final

from book_db.books.exporting import Form
from book_runtime.delimited.delimiter import DELIMITERS

from rest_api.books.streams.problems import NotAcceptable

NDJSON: Final = "application/x-ndjson"
CSV: Final = "text/csv"

_MEDIA_TYPES: Final[dict[Form, tuple[str, ...]]] = {
    "ndjson": (NDJSON, "application/ndjson", "application/jsonl"),
    "csv": (CSV,),
}
_WEIGHT: Final = re.compile(r"[ \t]*q[ \t]*=[ \t]*(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*", re.IGNORECASE)


def preferred(accept: str) -> Form:
    """What an Accept header would rather have (RFC 9110, 12.5.1), NDJSON where both are the same to it.

    Raises NotAcceptable where it would have neither.
    """
    ranges = dict(_ranges(accept)) or {"*/*": 1.0}
    weights = {form: max(_weight(name, ranges) for name in names) for form, names in _MEDIA_TYPES.items()}
    best = max(weights, key=lambda form: weights[form])
    if not weights[best]:
        raise NotAcceptable(f"An export is {NDJSON} or {CSV}, and neither is accepted.")
    return best


def _ranges(accept: str) -> Iterator[tuple[str, float]]:
    for part in filter(str.strip, accept.split(",")):
        name, *parameters = part.split(";")
        weights = [float(weight[1]) for each in parameters if (weight := _WEIGHT.fullmatch(each))]
        yield name.strip().lower(), weights[-1] if weights else 1.0


def _weight(media_type: str, ranges: dict[str, float]) -> float:
    """By the range that says most of it."""
    names = (media_type, f"{media_type.partition('/')[0]}/*", "*/*")
    return next((ranges[name] for name in names if name in ranges), 0.0)


def lines_of(*schemas: str) -> dict[str, Any]:
    """What OpenAPI says of lines, each of which is one of these."""
    references = [{"$ref": f"#/components/schemas/{schema}"} for schema in schemas]
    line = references[0] if len(references) == 1 else {"anyOf": references}
    # `contentSchema` describes the lines as the array that they are in all but the commas.
    return {"type": "string", "contentMediaType": NDJSON, "contentSchema": {"type": "array", "items": line}}


def csv_schema(*columns: str) -> dict[str, Any]:
    """What OpenAPI says of a CSV file with these columns."""
    return {"type": "string", "contentMediaType": CSV, "examples": [f"{','.join(columns)}\n"]}


def header_pattern(columns: Sequence[str], *, besides: Sequence[str]) -> str:
    """What the beginning of a CSV file matches that has these columns in any order, and perhaps others."""
    # Not as Python escapes them: others read this.
    delimiters = (each.replace("\t", r"\t").replace("|", r"\|") for each in DELIMITERS)
    headers = "|".join(_header_pattern(columns, f"(?:{'|'.join(besides)})", each) for each in delimiters)
    return rf"^(?:{headers})(?:\r|\n|$)"


def _header_pattern(columns: Sequence[str], other: str, delimiter: str) -> str:
    orders = (
        "".join(f"{column}(?:{delimiter}{other})*{delimiter}" for column in order).removesuffix(delimiter)
        for order in permutations(columns)
    )
    return f"(?:{other}{delimiter})*(?:{'|'.join(orders)})"
