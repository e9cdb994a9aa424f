"""Content codings (RFC 9110, 8.4): a body is read as it stands, and none that is compressed."""

from typing import Final

from book_runtime.errors import DocumentedError
from starlette.requests import Request
from starlette.responses import Response

from rest_api.problems.document import problem
from rest_api.problems.translation import answer_to

_NONE: Final = frozenset(("identity", ""))


class CodedBody(DocumentedError):
    """The body must not be compressed."""


@answer_to.register
def _(error: CodedBody, _request: Request) -> Response:
    # RFC 9110, 15.5.16
    return problem(415, "unsupported-media-type", str(error), headers={"Accept-Encoding": "identity"})


def refuse_coded(request: Request) -> None:
    """To be called before a body is read. Raises CodedBody."""
    for value in request.headers.getlist("content-encoding"):
        if not _NONE.issuperset(coding.strip().lower() for coding in value.split(",")):
            raise CodedBody
