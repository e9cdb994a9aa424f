"""Errors of grpclib and of grpcio become those of the domain, with what the service told and without it."""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from book_contracts import errors
from book_contracts.errors import CatalogueError, Violation, error_of
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2 as details
from google.rpc.status_pb2 import Status as RpcStatus
from grpclib import GRPCError, Status
from grpclib.exceptions import StreamTerminatedError

Make = Callable[..., Any]


def info(reason: str, domain: str = "colophon", **metadata: str) -> details.ErrorInfo:
    return details.ErrorInfo(reason=reason, domain=domain, metadata=metadata)


def in_grpcio(code: str, message: str = "", *told: Message) -> grpc.aio.AioRpcError:
    status = RpcStatus(message=message)
    for detail in told:
        status.details.add().Pack(detail)
    trailers = [("grpc-status-details-bin", status.SerializeToString())] if told else []
    return with_trailers(code, message, *trailers)


def with_trailers(code: str, message: str, *trailers: tuple[str, str | bytes]) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(grpc.StatusCode[code], grpc.aio.Metadata(), grpc.aio.Metadata(*trailers), message)


def in_grpclib(code: str, message: str = "", *told: Message) -> GRPCError:
    return GRPCError(Status[code], message, list(told) or None)


@pytest.fixture(params=[in_grpcio, in_grpclib])
def make(request: pytest.FixtureRequest) -> Make:
    """An error as one of the two clients raises it."""
    made: Make = request.param
    return made


class TestWhatTheServiceTells:
    def test_a_book_that_is_not_there(self, make: Make) -> None:
        error = error_of(make("NOT_FOUND", "No book has the id 42.", info("BOOK_NOT_FOUND", id="42")))
        assert isinstance(error, errors.BookNotFound)
        assert (error.ids, error.code, error.reason, str(error)) == (
            (42,),
            "NOT_FOUND",
            "BOOK_NOT_FOUND",
            "No book has the id 42.",
        )
        assert error.metadata == {"id": "42"}

    def test_several_books_that_are_not_there(self, make: Make) -> None:
        error = error_of(make("NOT_FOUND", "None.", info("BOOKS_NOT_FOUND", ids="7,8")))
        assert isinstance(error, errors.BookNotFound)
        assert error.ids == (7, 8)

    def test_every_field_that_is_wrong(self, make: Make) -> None:
        violations = [
            details.BadRequest.FieldViolation(field=field, description="must not be negative", reason="INVALID_FIELD")
            for field in ("page_size", "after")
        ]
        bad = details.BadRequest(field_violations=violations)
        error = error_of(make("INVALID_ARGUMENT", "Wrong.", info("INVALID_FIELD", field="page_size"), bad))
        assert isinstance(error, errors.InvalidRequest)
        assert error.violations == tuple(
            Violation(field, "must not be negative", "INVALID_FIELD") for field in ("page_size", "after")
        )

    def test_when_to_repeat(self, make: Make) -> None:
        again = details.RetryInfo(retry_delay=Duration(nanos=250_000_000))
        error = error_of(make("UNAVAILABLE", "Later.", info("DATABASE_UNAVAILABLE"), again))
        assert isinstance(error, errors.Unavailable)
        assert (error.reason, error.retry_after) == ("DATABASE_UNAVAILABLE", 0.25)

    def test_that_a_watcher_was_too_slow(self, make: Make) -> None:
        error = error_of(make("RESOURCE_EXHAUSTED", "Slow.", info("WATCHER_TOO_SLOW", position="9")))
        assert isinstance(error, errors.WatcherTooSlow)
        assert error.metadata == {"position": "9"}

    def test_that_changes_are_no_longer_kept(self, make: Make) -> None:
        error = error_of(make("OUT_OF_RANGE", "Swept.", info("POSITION_SWEPT", position="9")))
        assert type(error) is errors.PositionSwept
        assert error.metadata == {"position": "9"}

    def test_a_reference_for_the_operators(self, make: Make) -> None:
        reference = details.RequestInfo(request_id="0a1b")
        error = error_of(make("INTERNAL", "A fault.", info("INTERNAL"), reference))
        assert isinstance(error, errors.ServiceFailed)
        assert error.reference == "0a1b"

    def test_a_reason_of_somebody_else_is_not_taken_for_the_catalogue_s(self, make: Make) -> None:
        error = error_of(make("RESOURCE_EXHAUSTED", "", info("WATCHER_TOO_SLOW", domain="proxy.example.org")))
        assert type(error) is errors.LimitReached
        assert error.reason == ""


class TestWithoutDetails:
    @pytest.mark.parametrize(
        ("code", "kind"),
        [
            ("NOT_FOUND", errors.BookNotFound),
            ("INVALID_ARGUMENT", errors.InvalidRequest),
            ("UNAUTHENTICATED", errors.NotSignedIn),
            ("PERMISSION_DENIED", errors.NotAllowed),
            ("UNAVAILABLE", errors.Unavailable),
            ("DEADLINE_EXCEEDED", errors.DeadlineExceeded),
            ("RESOURCE_EXHAUSTED", errors.LimitReached),
            ("OUT_OF_RANGE", errors.PositionNotReached),
            ("INTERNAL", errors.ServiceFailed),
            ("UNIMPLEMENTED", CatalogueError),
        ],
    )
    def test_the_code_alone_gives_the_class(self, make: Make, code: str, kind: type[CatalogueError]) -> None:
        error = error_of(make(code))
        assert type(error) is kind
        assert (error.code, error.reason, error.retry_after) == (code, "", None)
        assert str(error) == kind.__doc__, "where nobody has said more"

    def test_details_that_somebody_has_garbled_leave_the_code(self) -> None:
        error = error_of(with_trailers("NOT_FOUND", "", ("grpc-status-details-bin", b"\xff\xff")))
        assert isinstance(error, errors.BookNotFound)
        assert error.ids == ()

    def test_details_of_a_kind_that_is_not_known_are_passed_over(self) -> None:
        error = error_of(in_grpcio("UNAVAILABLE", "", details.Help(), info("STOPPING")))
        assert error.reason == "STOPPING"


class TestWhatGrpclibRaisesBesides:
    @pytest.mark.parametrize(
        ("raised", "kind"),
        [
            (TimeoutError(), errors.DeadlineExceeded),
            (ConnectionRefusedError("nobody"), errors.Unavailable),
            (StreamTerminatedError("gone"), errors.Unavailable),
        ],
        ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
    )
    def test_it_has_its_class_too(self, raised: Any, kind: type[CatalogueError]) -> None:
        assert type(error_of(raised)) is kind


class TestTheErrors:
    async def test_a_deadline_that_passes_is_a_timeout_like_others(self) -> None:
        with pytest.raises(asyncio.TimeoutError):
            raise errors.DeadlineExceeded

    def test_programs_can_raise_them_in_their_own_tests(self) -> None:
        assert errors.BookNotFound([1, 2]).ids == (1, 2)
        assert errors.Unavailable(retry_after=1).retry_after == 1
        assert errors.InvalidRequest([Violation("id", "must be 1 or more")]).code == "INVALID_ARGUMENT"
