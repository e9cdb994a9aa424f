"""Errors as problem documents, each translated once: by the room that it belongs to."""

from functools import singledispatch
from http import HTTPStatus
from typing import Final
from uuid import uuid4

import structlog
from book_db.errors import ConnectionLost, DatabaseUnavailable
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from rest_api.problems.document import PLAIN, TOO_LARGE, problem
from rest_api.problems.validation import answer_to_invalid

_log = structlog.get_logger(__name__)

SAFE: Final = frozenset(("GET", "HEAD", "OPTIONS"))
"""Methods that change nothing (RFC 9110, 9.2.1)."""


@singledispatch
def answer_to(error: Exception, request: Request) -> Response:
    """The problem document for an error of this request.

    An error that nobody foresaw is logged under a reference, and only that is told.
    """
    reference = uuid4().hex
    _log.error("a request failed", path=request.url.path, reference=reference, exc_info=error)
    return problem(500, "internal", f"Something went wrong here. The reference for the operators is {reference}.")


def translate(kind: type[Exception], status: int, slug: str, detail: str | None = None) -> None:
    """Has errors of this kind answered with this status and type, and with their own message unless one is given."""

    def answer(error: Exception, _: Request) -> Response:
        return problem(status, slug, detail or str(error))

    answer_to.register(kind, answer)


def install(app: FastAPI) -> None:
    """Lets every error of the app leave it as a problem document. To be called when all rooms have been imported."""

    # Starlette would run a plain function in a thread.
    async def answer(request: Request, error: Exception) -> Response:
        return answer_to(error, request)

    for kind in answer_to.registry.keys() - {object} | {Exception}:
        app.add_exception_handler(kind, answer)


@answer_to.register
def _(error: RequestValidationError, _request: Request) -> Response:
    return answer_to_invalid(error)


@answer_to.register
def _(error: HTTPException, _request: Request) -> Response:
    status, detail = error.status_code, str(error.detail)
    slug, known = PLAIN.get(status, (f"http-{status}", detail))
    # Starlette's own errors say no more than the phrase of their status.
    if detail == HTTPStatus(status).phrase or status == TOO_LARGE:
        detail = known
    return problem(status, slug, detail, headers=error.headers)


@answer_to.register
def _(error: DatabaseUnavailable, request: Request) -> Response:
    # At debug: that the database is out, it says itself, once.
    _log.debug("the database does not answer", path=request.url.path, cause=error.reason)
    if isinstance(error, ConnectionLost) and request.method not in SAFE:
        # Without Retry-After: who sends a create again may create twice.
        return problem(503, "outcome-unknown", str(error))
    return problem(503, "unavailable", str(error), headers={"Retry-After": str(error.retry_after)})
