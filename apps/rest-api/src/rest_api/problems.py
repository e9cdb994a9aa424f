"""Errors as RFC 9457 problem documents, each translated once, here."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final
from uuid import uuid4

import msgspec
import structlog
from book_db.errors import (
    AccessNotFound,
    ApiTokenNotFound,
    BatchTooLarge,
    BookDbError,
    BookNotFound,
    ConnectionLost,
    DatabaseUnavailable,
    IdempotencyKeyReused,
    InsufficientRole,
    InsufficientScope,
    InvalidPageToken,
    LastSuperuser,
    LinkNotFound,
    RefreshRefused,
    SessionNotFound,
    SessionRequired,
    TooManyApiTokens,
    TooManyExports,
    UserNotFound,
    VersionMismatch,
)
from book_runtime.tokens import InvalidToken
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi_users.exceptions import FastAPIUsersException, InvalidPasswordException
from pydantic import BaseModel, Field, ValidationError
from starlette.exceptions import HTTPException

from rest_api.books.preconditions import etag_of
from rest_api.books.problems import MalformedHeader, PreconditionRequired
from rest_api.books.streams.problems import StreamError
from rest_api.codings import CodedBody
from rest_api.rate_limits import TooManyRequests
from rest_api.users.oauth.problems import SignInFailed
from rest_api.users.passwords import PasswordsBusy
from rest_api.users.problems import PROBLEMS as USER_PROBLEMS

_log = structlog.get_logger(__name__)

SAFE: Final = frozenset(("GET", "HEAD", "OPTIONS"))
"""Methods that change nothing (RFC 9110, 9.2.1)."""

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


def install(app: FastAPI) -> None:
    """Lets every error of the app leave it as a problem document."""
    for kind, handle in _HANDLERS.items():
        app.add_exception_handler(kind, handle)


async def answer_to(request: Request, error: Exception) -> Response:
    """The problem document that the app would answer an error of this request with."""
    handle = next(_HANDLERS[kind] for kind in type(error).__mro__ if kind in _HANDLERS)
    return await handle(request, error)


VIOLATIONS_MAX: Final = 100
"""A body of unknown fields alone would be answered by several times its length."""


async def _invalid_request(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # what this handler is installed for
    errors = error.errors()[:VIOLATIONS_MAX]
    violations = [_violation(each) for each in errors]
    if any(each["type"] == "json_invalid" for each in errors):
        return problem(400, "malformed-json", "The body is not valid JSON.", errors=violations)
    return problem(422, "invalid", "The request is not valid.", errors=violations)


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # what this handler is installed for
    status, detail = error.status_code, str(error.detail)
    slug, known = _PLAIN_ERRORS.get(status, (f"http-{status}", detail))
    # Starlette's own errors say no more than the phrase of their status.
    if detail == HTTPStatus(status).phrase or status == TOO_LARGE:
        detail = known
    return problem(status, slug, detail, headers=error.headers)


TOO_LARGE: Final = 413

_PLAIN_ERRORS: Final = {
    400: ("unreadable", "The request cannot be read."),
    404: ("not-found", "There is nothing at this address."),
    405: ("method-not-allowed", "This address does not take this method."),
    TOO_LARGE: ("body-too-large", "The body is longer than this service reads."),
    415: ("not-json", "The body must be JSON, sent as application/json."),
    422: ("invalid", "The request is not valid."),
}


def too_large() -> Response:
    """The answer to a body that is longer than the service reads."""
    return problem(TOO_LARGE, *_PLAIN_ERRORS[TOO_LARGE])


def not_allowed(methods: Iterable[str]) -> Response:
    """The answer to a method that the address does not take (RFC 9110, 15.5.6)."""
    return problem(405, *_PLAIN_ERRORS[405], headers={"Allow": ", ".join(methods)})


async def _unauthenticated(_: Request, error: Exception) -> Response:
    return problem(401, "unauthenticated", str(error), headers={"WWW-Authenticate": "Bearer"})


async def _account_error(request: Request, error: Exception) -> Response:
    match error:
        case InvalidPasswordException(reason=reason):
            violation = {"pointer": "/password", "detail": reason}
            return problem(422, "invalid", "The request is not valid.", errors=[violation])
        case SignInFailed():
            return problem(error.status, error.slug, str(error))
        case FastAPIUsersException() if type(error) in USER_PROBLEMS:
            return problem(*USER_PROBLEMS[type(error)])
    return await _unforeseen(request, error)


async def _data_layer_error(request: Request, error: Exception) -> Response:
    match error:
        case BookDbError() if type(error) in _SAID_BY_THE_DATA_LAYER:
            return problem(*_SAID_BY_THE_DATA_LAYER[type(error)], str(error))
        case VersionMismatch(version=version):
            return problem(412, "precondition-failed", str(error), headers={"ETag": etag_of(version)})
        case InvalidPageToken():
            violation = {"parameter": "page_token", "detail": str(error)}
            return problem(422, "invalid", "The request is not valid.", errors=[violation])
        case TooManyExports():
            return problem(503, "too-many-exports", str(error), headers={"Retry-After": str(error.retry_after)})
        case DatabaseUnavailable():
            return _unavailable(request, error)
    return await _unforeseen(request, error)


def _unavailable(request: Request, error: DatabaseUnavailable) -> Response:
    # At debug: that the database is out, it says itself, once.
    _log.debug("the database does not answer", path=request.url.path, cause=error.reason)
    if isinstance(error, ConnectionLost) and request.method not in SAFE:
        # Without Retry-After: who sends a create again may create twice.
        return problem(503, "outcome-unknown", str(error))
    return problem(503, "unavailable", str(error), headers={"Retry-After": str(error.retry_after)})


_SAID_BY_THE_DATA_LAYER: Final[dict[type[BookDbError], tuple[int, str]]] = {
    BookNotFound: (404, "book-not-found"),
    UserNotFound: (404, "user-not-found"),
    BatchTooLarge: (413, "batch-too-large"),
    InsufficientRole: (403, "insufficient-role"),
    IdempotencyKeyReused: (422, "idempotency-key-reused"),
    SessionNotFound: (404, "session-not-found"),
    AccessNotFound: (404, "access-not-found"),
    LinkNotFound: (404, "login-not-found"),
    ApiTokenNotFound: (404, "api-token-not-found"),
    TooManyApiTokens: (409, "too-many-api-tokens"),
    LastSuperuser: (409, "last-superuser"),
    # 400 and not 401, as RFC 6749, section 5.2, has it for a grant that is not good.
    RefreshRefused: (400, "bad-refresh-token"),
}


async def _stream_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, StreamError)  # what this handler is installed for
    return problem(
        error.status, error.slug, str(error), errors=error.errors, headers=error.headers, members=error.members
    )


async def _too_many_requests(_: Request, error: Exception) -> Response:
    assert isinstance(error, TooManyRequests)  # what this handler is installed for
    return problem(429, "too-many-requests", str(error), headers={"Retry-After": str(error.retry_after)})


async def _passwords_busy(_: Request, error: Exception) -> Response:
    assert isinstance(error, PasswordsBusy)  # what this handler is installed for
    return problem(503, "busy", str(error), headers={"Retry-After": str(error.retry_after)})


async def _insufficient_scope(_: Request, error: Exception) -> Response:
    # RFC 6750, section 3.1
    missing = f', scope="{error.scope}"' if isinstance(error, InsufficientScope) else ""
    challenge = f'Bearer error="insufficient_scope"{missing}'
    return problem(403, "insufficient-scope", str(error), headers={"WWW-Authenticate": challenge})


async def _malformed_header(_: Request, error: Exception) -> Response:
    assert isinstance(error, MalformedHeader)  # what this handler is installed for
    return problem(400, "malformed-header", str(error), errors=[{"parameter": error.name, "detail": error.detail}])


async def _coded_body(_: Request, error: Exception) -> Response:
    # RFC 9110, 15.5.16
    return problem(415, "unsupported-media-type", str(error), headers={"Accept-Encoding": "identity"})


async def _precondition_required(_: Request, error: Exception) -> Response:
    return problem(428, "precondition-required", str(error))


async def _unforeseen(request: Request, error: Exception) -> Response:
    reference = uuid4().hex
    _log.error("a request failed", path=request.url.path, reference=reference, exc_info=error)
    return problem(500, "internal", f"Something went wrong here. The reference for the operators is {reference}.")


_HANDLERS: Final[dict[type[Exception], Callable[[Request, Exception], Awaitable[Response]]]] = {
    RequestValidationError: _invalid_request,
    HTTPException: _http_error,
    InvalidToken: _unauthenticated,
    FastAPIUsersException: _account_error,
    InsufficientScope: _insufficient_scope,
    SessionRequired: _insufficient_scope,
    MalformedHeader: _malformed_header,
    CodedBody: _coded_body,
    PreconditionRequired: _precondition_required,
    StreamError: _stream_error,
    BookDbError: _data_layer_error,
    TooManyRequests: _too_many_requests,
    PasswordsBusy: _passwords_busy,
    Exception: _unforeseen,
}


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
