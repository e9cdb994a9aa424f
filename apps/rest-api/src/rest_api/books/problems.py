"""What goes wrong with requests about books, as problems."""

from book_db.errors import BatchTooLarge, BookNotFound, IdempotencyKeyReused, InvalidPageToken
from book_runtime.errors import DocumentedError
from fastapi import Request, Response

from rest_api.problems.document import problem
from rest_api.problems.translation import answer_to, translate


class MalformedHeader(DocumentedError):
    """The header {name} cannot be read."""

    def __init__(self, name: str, detail: str) -> None:
        """`detail` says how it must be."""
        self.name = name
        self.detail = detail


class PreconditionRequired(DocumentedError):
    """The request must say in If-Match which version of the book it is about."""


translate(BookNotFound, 404, "book-not-found")
translate(BatchTooLarge, 413, "batch-too-large")
translate(IdempotencyKeyReused, 422, "idempotency-key-reused")
translate(PreconditionRequired, 428, "precondition-required")


@answer_to.register
def _(error: MalformedHeader, _request: Request) -> Response:
    return problem(400, "malformed-header", str(error), errors=[{"parameter": error.name, "detail": error.detail}])


@answer_to.register
def _(error: InvalidPageToken, _request: Request) -> Response:
    violation = {"parameter": "page_token", "detail": str(error)}
    return problem(422, "invalid", "The request is not valid.", errors=[violation])
