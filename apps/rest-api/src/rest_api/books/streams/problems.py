"""What is wrong with an upload as a whole, or with the form a download is asked for in."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus

from book_db.errors import TooManyExports
from fastapi import Request, Response

from rest_api.problems.document import problem
from rest_api.problems.translation import answer_to


class StreamError(Exception):
    """A stream that cannot begin, or not go on."""

    status: HTTPStatus
    slug: str

    def __init__(
        self,
        detail: str,
        *,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, int] | None = None,
    ) -> None:
        self.errors = errors
        self.headers = headers
        self.members = members
        super().__init__(detail)


class UnknownForm(StreamError):
    """An upload of a media type that is not read."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    slug = "unsupported-media-type"


class TooManyImports(StreamError):
    """An upload beside as many as this service takes in at a time."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    slug = "too-many-imports"

    def __init__(self, at_once: int, *, own: bool) -> None:
        whose = "of yours" if own else "of all users"
        super().__init__(
            f"{at_once} imports {whose} are running, and this service runs no more at once.",
            headers={"Retry-After": "10"},
        )


class NotAcceptable(StreamError):
    """A download that the client would not take in any form there is."""

    status = HTTPStatus.NOT_ACCEPTABLE
    slug = "not-acceptable"


class WrongHeader(StreamError):
    """A CSV file whose first line does not name the fields of books."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    slug = "invalid"

    def __init__(self, *faults: str) -> None:
        super().__init__("The first line does not name the columns of books.", errors=[{"detail": f} for f in faults])


class UploadBrokenOff(StreamError):
    """An upload of which the client sent only a part. There is hardly anyone left to read this."""

    status = HTTPStatus.BAD_REQUEST
    slug = "unreadable"


class ImportBrokenOff(StreamError):
    """An import that ended when some of it was loaded. ``progress`` are members of the problem document."""

    slug = "import-broken-off"

    def __init__(
        self, status: HTTPStatus, detail: str, *, progress: Mapping[str, int], headers: Mapping[str, str] | None
    ) -> None:
        self.status = status
        super().__init__(detail, headers=headers, members=progress)


@answer_to.register
def _(error: StreamError, _request: Request) -> Response:
    return problem(
        error.status, error.slug, str(error), errors=error.errors, headers=error.headers, members=error.members
    )


@answer_to.register
def _(error: TooManyExports, _request: Request) -> Response:
    return problem(503, "too-many-exports", str(error), headers={"Retry-After": str(error.retry_after)})
