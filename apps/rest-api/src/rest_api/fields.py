"""The names and values of queries and forms: UTF-8, percent-encoded (WHATWG URL, 5).

Starlette 1.10 writes U+FFFD for what is not UTF-8: a search would find nothing and a password be wrong, and nobody
would be told why. In a form it takes bytes that are not percent-encoded for Latin-1, though curl and others send UTF-8.
"""

from typing import Any, Literal
from urllib.parse import parse_qsl, unquote_to_bytes

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import QueryParams


def fields_of(encoded: bytes, place: Literal["query", "body"]) -> list[tuple[str, str]]:
    """Raises RequestValidationError, which names the fields that are not UTF-8."""
    fields: list[tuple[str, str]] = []
    errors: list[dict[str, Any]] = []
    # In Latin-1 each byte is a character, and nothing is lost.
    for name, value in parse_qsl(encoded.decode("latin-1"), keep_blank_values=True, encoding="latin-1"):
        try:
            fields.append((_in_utf8(name), _in_utf8(value)))
        except UnicodeDecodeError:
            errors.append({"type": "no_utf8", "loc": (place, name), "msg": "must be UTF-8"})
    if errors:
        raise RequestValidationError(errors)
    return fields


def _in_utf8(latin_1: str) -> str:
    return latin_1 if latin_1.isascii() else latin_1.encode("latin-1").decode()


def is_utf8(query: bytes) -> bool:
    """Whether all of a query is."""
    try:
        (unquote_to_bytes(query) if b"%" in query else query).decode()
    except UnicodeDecodeError:
        return False
    return True


async def utf8_alone(request: Request) -> None:
    """For operations with parameters in their query: a dependency that refuses those that are not UTF-8."""
    query: bytes = request.scope["query_string"]
    if not is_utf8(query):
        fields_of(query, "query")


async def each_once(request: Request) -> None:
    """Refuses a query that says something twice: one of the two would be passed over in silence. And one that is not
    UTF-8.
    """
    await utf8_alone(request)
    if repeated := repeated_in(request.query_params):
        error = {"type": "repeated", "msg": "must be given once"}
        raise RequestValidationError([error | {"loc": ("query", name)} for name in repeated])


def repeated_in(asked: QueryParams) -> list[str]:
    """The names that stand in a query more than once."""
    names = [name for name, _ in asked.multi_items()]
    return [name for name in dict.fromkeys(names) if names.count(name) > 1]
