"""What a call to the catalogue can end with, in words of the domain, whichever client made the call.

Import this module before a call is made with grpclib: it leaves the details of an error undecoded until their classes
have been imported.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypedDict, Unpack

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2 as details
from google.rpc.status_pb2 import Status
from grpclib import GRPCError
from grpclib.exceptions import StreamTerminatedError

DOMAIN: Final = "colophon"
"""In whose words the reasons are: ErrorInfo.domain."""

_DETAILS: Final = "grpc-status-details-bin"
_KINDS: Final = (
    details.BadRequest,
    details.ErrorInfo,
    details.RequestInfo,
    details.RetryInfo,
)


class Told(TypedDict, total=False):
    """What every error can be told of."""

    code: str
    reason: str
    metadata: Mapping[str, str]
    retry_after: float | None


class CatalogueError(Exception):
    """The catalogue did not do what was asked."""

    code: str = "UNKNOWN"
    """The canonical code, by its name: https://google.aip.dev/193."""
    reason: str = ""
    """ErrorInfo.reason: docs/grpc.md lists them. Empty when the error is none of the catalogue's own."""
    metadata: Mapping[str, str]
    """ErrorInfo.metadata: facts that belong to the reason."""
    retry_after: float | None = None
    """After how many seconds to repeat the call; None when repeating was not proposed."""

    def __init__(self, message: str = "", **told: Unpack[Told]) -> None:
        """Without a message, the docstring of the class stands for it."""
        self.code = told.get("code", self.code)
        self.reason = told.get("reason", self.reason)
        self.metadata = told.get("metadata", {})
        self.retry_after = told.get("retry_after")
        super().__init__(message or type(self).__doc__)


class BookNotFound(CatalogueError):
    """No book has the id, or one of the ids, that was asked for."""

    code = "NOT_FOUND"

    def __init__(self, ids: Iterable[int] = (), message: str = "", **told: Unpack[Told]) -> None:
        self.ids = tuple(ids)
        """All the ids that no book has, as far as the service has told."""
        super().__init__(message, **told)


@dataclass(frozen=True, slots=True)
class Violation:
    """One field of a request, and what holds for it."""

    field: str
    description: str
    reason: str = ""


class InvalidRequest(CatalogueError):
    """The request is not one that the catalogue can answer."""

    code = "INVALID_ARGUMENT"

    def __init__(self, violations: Iterable[Violation] = (), message: str = "", **told: Unpack[Told]) -> None:
        self.violations = tuple(violations)
        super().__init__(message, **told)


class NotSignedIn(CatalogueError):
    """The access token is missing, has expired or was taken back, or signing in was refused."""

    code = "UNAUTHENTICATED"


class NotAllowed(CatalogueError):
    """The caller may not do this."""

    code = "PERMISSION_DENIED"


class Unavailable(CatalogueError):
    """The catalogue cannot be reached, or cannot answer for the moment."""

    code = "UNAVAILABLE"


class DeadlineExceeded(CatalogueError, TimeoutError):
    """The catalogue did not answer in time."""

    code = "DEADLINE_EXCEEDED"


class LimitReached(CatalogueError):
    """The request is too large, or there are too many of them."""

    code = "RESOURCE_EXHAUSTED"


class WatcherTooSlow(LimitReached):
    """The changes were read so slowly that too many had to wait."""

    reason = "WATCHER_TOO_SLOW"


class PositionNotReached(CatalogueError):
    """The position is none that the catalogue has given yet."""

    code = "OUT_OF_RANGE"


class PositionSwept(CatalogueError):
    """The catalogue keeps the changes after the position no longer, or not all of them."""

    code = "OUT_OF_RANGE"
    reason = "POSITION_SWEPT"


class ServiceFailed(CatalogueError):
    """Something went wrong in the service."""

    code = "INTERNAL"

    def __init__(self, reference: str = "", message: str = "", **told: Unpack[Told]) -> None:
        self.reference = reference
        """Under what the operators find the failure in their log; empty when it was not told."""
        super().__init__(message, **told)


class RpcError(Protocol):
    """An error of grpcio: ``grpc.aio.AioRpcError``, and ``grpc.RpcError`` of a blocking call."""

    def code(self) -> Any: ...

    def details(self) -> str | None: ...

    def trailing_metadata(self) -> Any: ...


def error_of(error: "GRPCError | StreamTerminatedError | OSError | RpcError") -> CatalogueError:
    """The error of the domain behind one that a call has raised, on grpclib or on grpcio.

    What comes from a proxy or from gRPC itself, and so has no details, is known by its code alone. On grpclib a
    deadline that passes is a TimeoutError, and a connection that fails another OSError or a StreamTerminatedError.
    """
    answer = _answer_of(error)
    return _MAKERS.get(answer.code, _of_another_code)(answer)


@dataclass(frozen=True, slots=True)
class _Answer:
    """An error, in whichever form it came."""

    code: str
    message: str
    details: list[Message] = field(default_factory=list)

    def all(self, kind: type[Any]) -> list[Any]:
        return [detail for detail in self.details if isinstance(detail, kind)]

    @property
    def told(self) -> Told:
        info = next((info for info in self.all(details.ErrorInfo) if info.domain == DOMAIN), details.ErrorInfo())
        return Told(code=self.code, reason=info.reason, metadata=dict(info.metadata), retry_after=self._retry_after)

    @property
    def _retry_after(self) -> float | None:
        return next((info.retry_delay.ToNanoseconds() / 1e9 for info in self.all(details.RetryInfo)), None)


def _answer_of(error: object) -> _Answer:
    match error:
        case GRPCError():
            found = [detail for detail in error.details or [] if isinstance(detail, Message)]
            return _Answer(error.status.name, error.message or "", found)
        case TimeoutError():
            return _Answer("DEADLINE_EXCEEDED", "")
        case OSError() | StreamTerminatedError():
            return _Answer("UNAVAILABLE", str(error))
    rpc_error: Any = error
    return _Answer(rpc_error.code().name, rpc_error.details() or "", _details_of(rpc_error.trailing_metadata()))


def _details_of(metadata: Iterable[tuple[str, str | bytes]] | None) -> list[Message]:
    packed = next((value for key, value in metadata or () if key == _DETAILS), b"")
    try:
        status = Status.FromString(packed)
    except DecodeError:  # whoever garbled them has left the code, which says enough
        return []
    return [detail for each in status.details if (detail := _unpacked(each)) is not None]


def _unpacked(packed: AnyMessage) -> Message | None:
    """None for a kind of details that is not known here."""
    kind = next((kind for kind in _KINDS if packed.Is(kind.DESCRIPTOR)), None)
    if kind is None:
        return None
    detail: Message = kind()
    packed.Unpack(detail)
    return detail


def _book_not_found(answer: _Answer) -> CatalogueError:
    facts = answer.told["metadata"]
    ids = f"{facts.get('id', '')},{facts.get('ids', '')}".split(",")
    return BookNotFound((int(each) for each in ids if each.isdecimal()), answer.message, **answer.told)


def _invalid_request(answer: _Answer) -> CatalogueError:
    violations = (
        Violation(each.field, each.description, each.reason)
        for request in answer.all(details.BadRequest)
        for each in request.field_violations
    )
    return InvalidRequest(violations, answer.message, **answer.told)


def _limit_reached(answer: _Answer) -> CatalogueError:
    told = answer.told
    kind = WatcherTooSlow if told["reason"] == WatcherTooSlow.reason else LimitReached
    return kind(answer.message, **told)


def _out_of_range(answer: _Answer) -> CatalogueError:
    told = answer.told
    kind = PositionSwept if told["reason"] == PositionSwept.reason else PositionNotReached
    return kind(answer.message, **told)


def _service_failed(answer: _Answer) -> CatalogueError:
    reference = next((info.request_id for info in answer.all(details.RequestInfo)), "")
    return ServiceFailed(reference, answer.message, **answer.told)


def _plain(kind: type[CatalogueError]) -> Callable[[_Answer], CatalogueError]:
    return lambda answer: kind(answer.message, **answer.told)


_of_another_code: Final = _plain(CatalogueError)

_MAKERS: Final[Mapping[str, Callable[[_Answer], CatalogueError]]] = {
    BookNotFound.code: _book_not_found,
    InvalidRequest.code: _invalid_request,
    LimitReached.code: _limit_reached,
    PositionNotReached.code: _out_of_range,
    ServiceFailed.code: _service_failed,
    **{kind.code: _plain(kind) for kind in (NotSignedIn, NotAllowed, Unavailable, DeadlineExceeded)},
}
