"""Conditional requests (RFC 9110, section 13): what If-Match and If-None-Match say of a book's version."""

import re
from collections.abc import Iterator
from typing import Any, Final

from book_db.book import ANY_VERSION, Precondition
from book_db.errors import VersionMismatch
from fastapi import Request, Response

from rest_api.books.problems import MalformedHeader, PreconditionRequired
from rest_api.problems.document import problem
from rest_api.problems.translation import answer_to

CACHING: Final = {"Cache-Control": "private, no-cache"}
"""A client may keep the answer, and must ask whether it is still good before using it again.

There is no Vary: a book is the same for everyone who may read it, and with `Vary: Authorization` a copy would be
worthless after each new access token.
"""

_INT64_MAX: Final = 2**63 - 1

_TAG: Final = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_TAGS: Final = rf"[ \t,]*{_TAG}(?:[ \t]*,[ \t]*(?:{_TAG})?)*[ \t]*"
# Possessive, so that a header made for it cannot make the search long.
_LIST: Final = re.compile(_TAGS.replace("*", "*+").replace(")?", ")?+"))
_EACH: Final = re.compile(_TAG)
_VERSION: Final = re.compile(r'"([1-9][0-9]{0,18})"')

_ONLY_IF_ABSENT: Final = Precondition(versions=frozenset())
"""No write makes a book at an address of the client's choice, so this one is never done."""

_FORM: Final = 'must be * or entity tags with commas between them, for example "7"'


def etag_of(version: int) -> str:
    """The strong entity tag of a book at this version."""
    return f'"{version}"'


@answer_to.register
def _(error: VersionMismatch, _request: Request) -> Response:
    return problem(412, "precondition-failed", str(error), headers={"ETag": etag_of(error.version)})


def condition_of(request: Request) -> Precondition:
    """What a write asks of the book's version. Raises MalformedHeader, and PreconditionRequired where that is set."""
    if_match, if_none_match = _header(request, "If-Match"), _header(request, "If-None-Match")
    if if_match is None and request.app.state.require_if_match:
        raise PreconditionRequired
    if if_match is None and if_none_match is None:
        return ANY_VERSION
    versions = None if if_match in (None, "*") else frozenset(_versions("If-Match", if_match, weak=False))
    if if_none_match == "*":
        return _ONLY_IF_ABSENT
    return Precondition(versions, excluded_versions=frozenset(_versions("If-None-Match", if_none_match, weak=True)))


def is_known(request: Request, book_id: int, version: int) -> bool:
    """Whether the client has this version of the book already.

    Raises MalformedHeader, and VersionMismatch where If-Match rules the version out.
    """
    if_match = _header(request, "If-Match")
    if if_match not in (None, "*") and version not in _versions("If-Match", if_match, weak=False):
        raise VersionMismatch(book_id, version)
    if_none_match = _header(request, "If-None-Match")
    if if_none_match is None:
        return False
    if if_none_match in (etag_of(version), "*"):
        return True
    return version in _versions("If-None-Match", if_none_match, weak=True)


def _header(request: Request, name: str) -> str | None:
    return ", ".join(request.headers.getlist(name)) if name in request.headers else None


def _versions(name: str, value: str | None, *, weak: bool) -> Iterator[int]:
    """The versions that are named. Tags that are not ours name none, and weak ones only in a weak comparison."""
    if value is None:
        return
    if not _LIST.fullmatch(value):
        raise MalformedHeader(name, _FORM)
    for tag in _EACH.findall(value):
        found = _VERSION.fullmatch(tag.removeprefix("W/") if weak else tag)
        if found and int(found[1]) <= _INT64_MAX:
            yield int(found[1])


def _described(name: str, description: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": description,
        "schema": {"type": "string", "pattern": rf"^(?:\*|{_TAGS})$", "examples": ['"7"']},
    }


FOR_READS: Final = {
    "parameters": [
        _described("If-Match", "Read only if the book is at one of these versions, by their ETags; `*`: at any."),
        _described("If-None-Match", "The ETag of a copy; while it is good the answer is 304, without a body."),
    ]
}
FOR_WRITES: Final = {
    "parameters": [
        _described("If-Match", "Write only if the book is at one of these versions, by their ETags; `*`: at any."),
        _described("If-None-Match", "Write only if the book is at none of these versions; `*`: not if it is there."),
    ]
}
"""What OpenAPI says of these headers."""
