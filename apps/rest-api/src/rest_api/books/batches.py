"""The books of one long body, read one by one.

To make a document of all of it first would take many times its length, and as long would everybody else wait: eight
megabytes of empty lists are two million objects. Here no more is made of a body than one book at a time, and no more is
said of it than an answer tells.
"""

import json
import re
from codecs import BOM_UTF8
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

import msgspec
from book_db.book import Draft
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

from rest_api.books.schemas import BATCH_MAX, JSON_MAX_BYTES, BookDraft
from rest_api.problems.validation import VIOLATIONS_MAX

BATCH: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/BookDrafts"}}},
    }
}
"""What OpenAPI says of the body."""

_Error = dict[str, Any]
"""As pydantic has it."""

_Place = tuple[int, int]
"""Where something begins in a body, and where it ends."""

_BOOKS: Final = "books"

_MAX_SIGNS: Final = 200 * BATCH_MAX
"""Strings, brackets and commas in a body; a book has eleven. It takes a tenth of a second to go through so many."""

# Possessive, so that nothing is remembered of the way through a string, and of no more turns than a title of the
# greatest length has, all of it escaped in pairs: an expression keeps all others waiting until it is through.
_STRING: Final = rb'"(?:[^"\\]++|\\.){0,40000}+"'
_SIGN: Final = re.compile(_STRING + rb'|[][{},"]', re.DOTALL)
_MEMBER: Final = re.compile(rb"\s*(" + _STRING + rb")\s*:", re.DOTALL)
_BLANK: Final = re.compile(rb"\s*")
_OPENING, _CLOSING, _COMMA, _QUOTE = frozenset(b"[{"), frozenset(b"]}"), ord(","), b'"'
_FAULT: Final = re.compile(r"JSON is malformed: (.+) \(byte (\d+)\)")


def drafts_of(body: bytes) -> list[Draft]:
    """The books of a body that is to be a `BookDrafts`.

    Raises RequestValidationError, and HTTPException where it is nested deeper than anybody reads.
    """
    if not body:
        raise RequestValidationError([_error("missing")])
    body = body.removeprefix(BOM_UTF8)
    try:
        _refuse_malformed(body)
        return _all_or_none(body)
    except RecursionError as error:
        raise HTTPException(400) from error


def _all_or_none(body: bytes) -> list[Draft]:
    errors: list[_Error] = []
    drafts: list[Draft] = []
    for each in _read(body):
        if isinstance(each, Draft):
            drafts.append(each)
        else:
            errors += each
        if len(errors) >= VIOLATIONS_MAX:
            break
    if errors:
        raise RequestValidationError(errors)
    return drafts


def without_excess(document: Any, schema: type[BaseModel], most: int) -> Any:
    """The same with no more unknown fields than are told of: to find fault with each of thousands takes long."""
    if not isinstance(document, dict) or len(document) <= most:
        return document
    known = {name: document[name] for name in schema.model_fields if name in document}
    return known | dict(islice(document.items(), most + 1))


def _refuse_malformed(body: bytes) -> None:
    """Raises RequestValidationError. Nothing is made of what is looked at."""
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except msgspec.DecodeError as error:
        fault = _FAULT.fullmatch(str(error))
        what, at = (
            (fault[1], int(fault[2]))
            if fault
            else ("the body ends too early, or with half of a surrogate pair", len(body))
        )
        raise _malformed(what, body, at) from error


def _malformed(what: str, body: bytes, at: int) -> RequestValidationError:
    place = len(body[:at].decode(errors="replace"))
    return RequestValidationError([_error("json_invalid", place, ctx={"error": what})])


def _read(body: bytes) -> Iterator[Draft | list[_Error]]:
    if body[_after_blanks(body, 0, len(body))] != ord("{"):
        yield [_error("model_attributes_type")]
        return
    books: _Place | None = None
    for begin, end in _parts(body, 0, len(body)):
        member = _MEMBER.match(body, begin, end)
        assert member is not None  # it is a part of an object that is well-formed
        name = _decoded(body, member.start(1), member.end(1))
        if name == _BOOKS:
            books = member.end(), end
        else:
            yield [_error("extra_forbidden", name)]
    if books is None:
        yield [_error("missing", _BOOKS)]
    else:
        yield from _books(body, *books)


def _books(body: bytes, begin: int, end: int) -> Iterator[Draft | list[_Error]]:
    if body[_after_blanks(body, begin, end)] != ord("["):
        yield [_error("list_type", _BOOKS, msg="must be an array")]
        return
    number = -1
    for number, (begins, ends) in enumerate(_parts(body, begin, end)):
        if number == BATCH_MAX:
            yield [_error("too_long", _BOOKS, ctx={"max_length": BATCH_MAX})]
            return
        if ends - begins > JSON_MAX_BYTES:
            yield [_error("too_large", _BOOKS, number, msg=f"must have at most {JSON_MAX_BYTES:,} bytes")]
        else:
            yield _book(_decoded(body, begins, ends), number)
    if number < 0:
        yield [_error("too_short", _BOOKS, ctx={"min_length": 1})]


def _book(document: Any, number: int) -> Draft | list[_Error]:
    document = without_excess(document, BookDraft, VIOLATIONS_MAX)
    try:
        # From attributes, as FastAPI does, so that what is no object is told in the same words.
        return BookDraft.model_validate(document, from_attributes=True).to_draft()
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
        return [{**each, "loc": ("body", _BOOKS, number, *each["loc"])} for each in errors]


def _parts(body: bytes, begin: int, end: int) -> Iterator[_Place]:
    """What stands between the commas of a well-formed object or array, which begins there.

    Raises RequestValidationError where there are far too many, or one is far too long.
    """
    depth = 0
    for count, sign in enumerate(_SIGN.finditer(body, begin, end)):
        if count == _MAX_SIGNS or sign[0] == _QUOTE:
            raise RequestValidationError([_error("too_large", msg="has more in it than a thousand books")])
        character = body[sign.start()]
        if character in _OPENING:
            depth += 1
            if depth == 1:
                begin = sign.end()
        elif character == _COMMA and depth == 1:
            yield begin, sign.start()
            begin = sign.end()
        elif character in _CLOSING:
            depth -= 1
            if depth == 0 and _after_blanks(body, begin, sign.start()) < sign.start():
                yield begin, sign.start()


def _after_blanks(body: bytes, begin: int, end: int) -> int:
    blanks = _BLANK.match(body, begin, end)
    assert blanks is not None  # it matches nothing as well
    return blanks.end()


def _decoded(body: bytes, begin: int, end: int) -> Any:
    """Raises RequestValidationError, and HTTPException for a number of more digits than Python reads."""
    try:
        return json.loads(body[begin:end].decode())
    except json.JSONDecodeError as error:
        raise _malformed(error.msg, body, begin + len(error.doc[: error.pos].encode())) from error
    except UnicodeDecodeError as error:
        raise _malformed("what is no UTF-8", body, begin + error.start) from error
    except ValueError as error:
        raise HTTPException(400) from error


def _error(kind: str, *path: str | int, msg: str = "", ctx: dict[str, object] | None = None) -> _Error:
    return {"type": kind, "loc": ("body", *path), "msg": msg, "ctx": ctx or {}}
