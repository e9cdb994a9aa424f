"""Problem documents (RFC 9457): how they are written, and what OpenAPI says of them."""

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import msgspec
from fastapi import Response
from pydantic import BaseModel, Field

MEDIA_TYPE: Final = "application/problem+json"


class Violation(BaseModel):
    """One thing that is wrong with a request."""

    pointer: str | None = Field(None, description="A JSON Pointer (RFC 6901) to the part of the body that is wrong.")
    parameter: str | None = Field(None, description="The parameter that is wrong, in path, query or header.")
    detail: str = Field(description="What is wrong with it.", examples=["must not be blank"])


class Problem(BaseModel):
    """A problem document (RFC 9457)."""

    type: str = Field(description="A name for the kind of problem, for programs.", examples=["urn:colophon:invalid"])
    title: str = Field(description="The kind of problem, for people.", examples=["Unprocessable Entity"])
    status: int = Field(description="The HTTP status.", examples=[422])
    detail: str = Field(description="What went wrong this time.", examples=["The request is not valid."])
    errors: list[Violation] | None = Field(None, description="Each thing that is wrong with the request.")


def problem(
    status: int,
    slug: str,
    detail: str,
    *,
    errors: Sequence[Mapping[str, str]] = (),
    headers: Mapping[str, str] | None = None,
    members: Mapping[str, object] | None = None,
) -> Response:
    """A response that carries a problem document. ``members`` are those that this type has besides the usual ones."""
    document: dict[str, object] = {
        "type": f"urn:colophon:{slug}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if errors:
        document["errors"] = errors
    document |= members or {}
    return Response(msgspec.json.encode(document), status, headers, MEDIA_TYPE)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of the errors with these statuses. That they are problem documents is said in openapi.py."""
    return {status: {"description": _DESCRIPTIONS[status], **_HEADERS.get(status, {})} for status in statuses}


_DESCRIPTIONS: Final = {
    400: "The request cannot be read.",
    401: "The access token is missing, expired or revoked.",
    403: "The user, or the program with its token, may not do this.",
    404: "There is no such thing.",
    406: "`Accept` allows none of the forms that there are.",
    409: "Another user has this e-mail address, it is confirmed already, or nobody would be left to manage users.",
    412: "The book is at another version than the request allows; `ETag` says at which.",
    413: "The body is too large.",
    415: "The body is not of a media type that is read here, or compressed.",
    422: "The request can be read but is not valid.",
    428: "The request must say with `If-Match` which version it is about; only with `REQUIRE_IF_MATCH`.",
    429: "There were too many of these requests lately.",
    503: "The database does not answer just now. With `Retry-After`, the same may safely be asked again.",
}


_HEADERS: Final[Mapping[int, Mapping[str, Any]]] = {
    412: {
        "headers": {
            "ETag": {"description": "The version that the book is at.", "required": True, "schema": {"type": "string"}}
        }
    },
    429: {
        "headers": {
            "Retry-After": {
                "description": "Seconds to wait before the next try.",
                "required": True,
                "schema": {"type": "integer", "minimum": 1},
            }
        }
    },
}


TOO_LARGE: Final = 413

PLAIN: Final[Mapping[int, tuple[str, str]]] = {
    400: ("unreadable", "The request cannot be read."),
    404: ("not-found", "There is nothing at this address."),
    405: ("method-not-allowed", "This address does not take this method."),
    TOO_LARGE: ("body-too-large", "The body is longer than this service reads."),
    415: ("not-json", "The body must be JSON, sent as application/json."),
    422: ("invalid", "The request is not valid."),
}
"""Type and sentence of statuses that are told without more."""


def too_large() -> Response:
    """The answer to a body that is longer than the service reads."""
    return problem(TOO_LARGE, *PLAIN[TOO_LARGE])


def not_allowed(methods: Iterable[str]) -> Response:
    """The answer to a method that the address does not take (RFC 9110, 15.5.6)."""
    return problem(405, *PLAIN[405], headers={"Allow": ", ".join(methods)})
