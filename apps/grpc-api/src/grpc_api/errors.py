"""Errors as google.rpc statuses, each translated once, here."""

from functools import singledispatch
from typing import Final
from uuid import uuid4

import structlog
from book_db.errors import BookNotFound, DatabaseUnavailable, InsufficientScope, InvalidPageToken
from book_runtime.tokens import InvalidToken
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from google.rpc import code_pb2 as codes
from google.rpc import error_details_pb2 as details
from google.rpc.status_pb2 import Status

_log = structlog.get_logger(__name__)

DOMAIN: Final = "colophon"
"""In whose words the reasons are: ErrorInfo.domain."""


class InvalidField(Exception):
    """{field} {rule}."""

    def __init__(self, field: str, rule: str) -> None:
        """`rule` is what holds for the field, as a clause that follows its name."""
        self.field = field
        self.rule = rule
        super().__init__((type(self).__doc__ or "").format(field=field, rule=rule))


class MissingToken(Exception):
    """The call needs an access token: metadata `authorization: Bearer <token>`."""

    def __init__(self) -> None:
        super().__init__(type(self).__doc__)


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
def _(error: InvalidField, _method: str) -> Status:
    return _invalid(error, "INVALID_FIELD", error.field, error.rule)


@status_of.register
def _(error: InvalidPageToken, _method: str) -> Status:
    return _invalid(error, "INVALID_PAGE_TOKEN", "page_token", str(error))


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
    _log.warning("the database does not answer", method=method, cause=repr(error.__cause__))
    again = details.RetryInfo(retry_delay=Duration(seconds=error.retry_after))
    return _status(codes.UNAVAILABLE, str(error), _info("DATABASE_UNAVAILABLE"), again)


def _invalid(error: Exception, reason: str, field: str, description: str) -> Status:
    violation = details.BadRequest.FieldViolation(field=field, description=description, reason=reason)
    bad_request = details.BadRequest(field_violations=[violation])
    return _status(codes.INVALID_ARGUMENT, str(error), _info(reason, field=field), bad_request)


def _status(code: int, message: str, *more: Message) -> Status:
    return Status(code=code, message=message, details=map(_packed, more))


def _packed(detail: Message) -> Any:
    packed = Any()
    packed.Pack(detail)
    return packed


def _info(reason: str, **facts: str) -> details.ErrorInfo:
    return details.ErrorInfo(reason=reason, domain=DOMAIN, metadata=facts)
