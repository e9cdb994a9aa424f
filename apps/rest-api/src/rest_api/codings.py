"""Content codings (RFC 9110, 8.4): a body is read as it stands, and none that is compressed."""

from typing import Final

from book_runtime.errors import DocumentedError
from starlette.requests import Request

_NONE: Final = frozenset(("identity", ""))


class CodedBody(DocumentedError):
    """The body must not be compressed."""


def refuse_coded(request: Request) -> None:
    """Raises CodedBody. Whoever is about to read a body calls it."""
    for value in request.headers.getlist("content-encoding"):
        if not _NONE.issuperset(coding.strip().lower() for coding in value.split(",")):
            raise CodedBody
