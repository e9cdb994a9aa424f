"""What is wrong with a request, field by field: pydantic's errors in the words of this service."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from fastapi import Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from rest_api.problems.document import problem

VIOLATIONS_MAX: Final = 100
"""A body of unknown fields alone would be answered by several times its length."""


def answer_to_invalid(error: RequestValidationError) -> Response:
    """What names all that is wrong with a request, or the first hundred things."""
    errors = error.errors()[:VIOLATIONS_MAX]
    violations = [_violation(each) for each in errors]
    if any(each["type"] == "json_invalid" for each in errors):
        return problem(400, "malformed-json", "The body is not valid JSON.", errors=violations)
    return problem(422, "invalid", "The request is not valid.", errors=violations)


def violations_of(error: ValidationError) -> list[dict[str, str]]:
    """What is wrong with a document that was validated by itself, in the words for a body."""
    errors = error.errors(include_url=False, include_input=False)
    return [_violation({**each, "loc": ("body", *each["loc"])}) for each in errors]


def _violation(error: Mapping[str, Any]) -> dict[str, str]:
    place, *path = error["loc"]
    if error["type"] == "json_invalid":
        return {"detail": f"{error['ctx']['error']} at character {path[0]}"}
    known = _DETAILS.get(error["type"])
    detail = known.format(**error.get("ctx", {})) if known else error["msg"].removeprefix("Value error, ")
    if place == "body":
        return {"pointer": _pointer(path), "detail": detail}
    return {"parameter": _printable(path[0]), "detail": detail}


_DETAILS: Final = {
    "missing": "must be given",
    "extra_forbidden": "is not known here",
    "string_type": "must be a string",
    "string_unicode": "must not contain half of a surrogate pair",
    "model_attributes_type": "must be a JSON object",
    "int_parsing": "must be a whole number",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must have at least {min_length} items",
    "too_long": "must have at most {max_length} items",
}


def _pointer(path: Iterable[object]) -> str:
    return "".join("/" + _printable(step).replace("~", "~0").replace("/", "~1") for step in path)


def _printable(name: object) -> str:
    # The name of an unknown field is the sender's: it may be no valid Unicode, and of any length.
    return str(name).encode("utf-8", "backslashreplace").decode()[:200]
