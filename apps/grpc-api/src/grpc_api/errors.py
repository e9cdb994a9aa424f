"""Errors as google.rpc statuses, each translated once, here."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import singledispatch
from itertools import accumulate
from random import randrange
from typing import Final, TypeVar
from uuid import uuid4

import structlog
from book_db.errors import (
    BookNotFound,
    BooksNotFound,
    DatabaseUnavailable,
    InsufficientScope,
    InvalidPageToken,
    PositionSwept,
)
from book_runtime.errors import DocumentedError
from book_runtime.tokens import InvalidToken
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from google.rpc import code_pb2 as codes
from google.rpc import error_details_pb2 as details
from google.rpc.status_pb2 import Status

from grpc_api.checks import InvalidFields, Violation
from grpc_api.limits import TooManyCalls
from grpc_api.streams import ServiceStopping
from grpc_api.watching.errors import PositionNotReached, TooManyWatchers, WatcherTooSlow

_log = structlog.get_logger(__name__)

DOMAIN: Final = "colophon"
"""In whose words the reasons are: ErrorInfo.domain."""

_TRAILERS_MAX_BYTES: Final = 7_900
"""Of the 8 KiB of trailers that clients take, what is left for a message and, in base64, its status."""

_INFO_MAX_BYTES: Final = 200
"""Of an ErrorInfo without its lists."""

_FRAMING_MAX_BYTES: Final = 6
"""Before a message in a list, and before the list."""

T = TypeVar("T")


class MissingToken(DocumentedError):
    """The call needs an access token: metadata `authorization: Bearer <token>`."""


@singledispatch
def status_of(error: Exception, method: str) -> Status:
    """What the caller is told. An error that nobody foresaw is logged under a reference, and only that is told."""
    reference = uuid4().hex
    _log.error("a call failed", method=method, reference=reference, exc_info=error)
    message = f"Something went wrong here. The reference for the operators is {reference}."
    return _status(codes.INTERNAL, message, _info("INTERNAL"), details.RequestInfo(request_id=reference))


@status_of.register
def _(error: BookNotFound, _method: str) -> Status:
    book_id = str(error.book_id)
    book = details.ResourceInfo(resource_type="books.v1.Book", resource_name=book_id, description=str(error))
    return _status(codes.NOT_FOUND, str(error), _info("BOOK_NOT_FOUND", id=book_id), book)


@status_of.register
def _(error: BooksNotFound, _method: str) -> Status:
    ids = [str(book_id) for book_id in error.book_ids]
    status = _status(codes.NOT_FOUND, str(error))
    named = _fitting(ids, [len(f"{book_id},") for book_id in ids], _room(status) - _INFO_MAX_BYTES)
    status.details.append(_packed(_info("BOOKS_NOT_FOUND", ids=",".join(named), **_total(ids, named))))
    books = [_packed(details.ResourceInfo(resource_type="books.v1.Book", resource_name=book_id)) for book_id in named]
    status.details.extend(_fitting(books, map(_size, books), _room(status)))
    return status


@status_of.register
def _(error: InvalidFields, _method: str) -> Status:
    return _invalid(error, "INVALID_FIELD", error.violations)


@status_of.register
def _(error: InvalidPageToken, _method: str) -> Status:
    return _invalid(error, "INVALID_PAGE_TOKEN", [Violation("page_token", str(error))])


@status_of.register
def _(_error: DecodeError, _method: str) -> Status:
    return _status(codes.INVALID_ARGUMENT, "The request cannot be decoded.", _info("UNDECODABLE_REQUEST"))


@status_of.register
def _(error: MissingToken, _method: str) -> Status:
    return _status(codes.UNAUTHENTICATED, str(error), _info("ACCESS_TOKEN_MISSING"))


@status_of.register
def _(error: InvalidToken, _method: str) -> Status:
    return _status(codes.UNAUTHENTICATED, str(error), _info("ACCESS_TOKEN_INVALID"))


@status_of.register
def _(error: InsufficientScope, _method: str) -> Status:
    return _status(codes.PERMISSION_DENIED, str(error), _info("INSUFFICIENT_SCOPE", scope=error.scope))


@status_of.register
def _(error: DatabaseUnavailable, method: str) -> Status:
    # At debug: that the database is out, it says itself, once.
    _log.debug("the database does not answer", method=method, cause=error.reason)
    again = details.RetryInfo(retry_delay=Duration(seconds=error.retry_after))
    return _status(codes.UNAVAILABLE, str(error), _info("DATABASE_UNAVAILABLE"), again)


@status_of.register
def _(error: ServiceStopping, _method: str) -> Status:
    return _status(codes.UNAVAILABLE, str(error), _info("STOPPING"), _within_a_second())


@status_of.register
def _(error: TooManyCalls, _method: str) -> Status:
    return _status(codes.RESOURCE_EXHAUSTED, str(error), _info("TOO_MANY_CALLS"), _within_a_second())


@status_of.register
def _(error: PositionNotReached, _method: str) -> Status:
    return _status(codes.OUT_OF_RANGE, str(error), _info("POSITION_NOT_REACHED", position=str(error.position)))


@status_of.register
def _(error: PositionSwept, _method: str) -> Status:
    return _status(codes.OUT_OF_RANGE, str(error), _info("POSITION_SWEPT", position=str(error.position)))


@status_of.register
def _(error: TooManyWatchers, _method: str) -> Status:
    again = details.RetryInfo(retry_delay=Duration(seconds=10))
    return _status(codes.RESOURCE_EXHAUSTED, str(error), _info("TOO_MANY_WATCHERS"), again)


@status_of.register
def _(error: WatcherTooSlow, _method: str) -> Status:
    again = details.RetryInfo(retry_delay=Duration())
    info = _info("WATCHER_TOO_SLOW", position=str(error.position))
    return _status(codes.RESOURCE_EXHAUSTED, str(error), info, again)


def _within_a_second() -> details.RetryInfo:
    """Each at its own time: they would all come back, or to the next replica, at once."""
    return details.RetryInfo(retry_delay=Duration(nanos=randrange(10**9)))  # noqa: S311  # no secret


def _invalid(error: Exception, reason: str, wrong: Sequence[Violation]) -> Status:
    violations = [
        details.BadRequest.FieldViolation(field=field, description=rule, reason=reason) for field, rule in wrong
    ]
    status = _status(codes.INVALID_ARGUMENT, str(error))
    named = _fitting(violations, map(_size, violations), _room(status) - _INFO_MAX_BYTES)
    info = _info(reason, field=wrong[0].field, **_total(violations, named))
    status.details.extend(map(_packed, (info, details.BadRequest(field_violations=named))))
    return status


def _room(status: Status) -> int:
    """How many bytes of details may still be added; the message is of ASCII."""
    taken: int = status.ByteSize()
    return (_TRAILERS_MAX_BYTES - len(status.message)) * 3 // 4 - taken


def _fitting(each: Sequence[T], sizes: Iterable[int], room: int) -> Sequence[T]:
    """The first of them, as many as there is room for."""
    return each[: bisect_right(list(accumulate(sizes)), room)]


def _size(message: Message) -> int:
    return message.ByteSize() + _FRAMING_MAX_BYTES


def _total(all_of_them: Sequence[object], named: Sequence[object]) -> dict[str, str]:
    """How many there are, where not all are named."""
    return {} if len(named) == len(all_of_them) else {"total": str(len(all_of_them))}


def _status(code: int, message: str, *more: Message) -> Status:
    return Status(code=code, message=message, details=map(_packed, more))


def _packed(detail: Message) -> Any:
    packed = Any()
    packed.Pack(detail)
    return packed


def _info(reason: str, **facts: str) -> details.ErrorInfo:
    return details.ErrorInfo(reason=reason, domain=DOMAIN, metadata=facts)
