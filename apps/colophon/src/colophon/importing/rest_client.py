"""The client of the REST API that the import uses.

Each batch goes out with an idempotency key, so it can be sent again whatever the outcome: it is loaded once.
"""

import json
import re
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import httpx
from book_runtime.retry import retry
from httpx import codes

LOGIN_PATH: Final = "/api/v1/auth/login"
BATCH_PATH: Final = "/api/v1/books/batch"

# A large batch on a slow machine; the service gives up on its database long before.
REQUEST_TIMEOUT: Final = httpx.Timeout(120, connect=5)
# uvicorn closes idle connections after 5 seconds: never write to one that it may just be closing.
CONNECTION_LIMITS: Final = httpx.Limits(max_connections=1, keepalive_expiry=2)
MAX_RETRY_AFTER_SECONDS: Final = 60.0
# How often a service may say that it has too much to do before the import gives up.
MAX_REFUSALS: Final = 5

_POINTER: Final = re.compile(r"/books/([0-9]+)(?:/(.*))?", re.DOTALL)


class ServiceError(Exception):
    """The service will not do what was asked; the text is for the user."""


class LoginRefused(ServiceError):
    """The service refused the login."""


class OutcomeUnknown(Exception):
    """The service stayed away or went on failing, so it is not known whether a batch was loaded; the text says how."""


class BooksRefused(Exception):
    """The service takes some books of a batch not at all and so loaded none; `reasons` are by their place in it."""

    def __init__(self, reasons: dict[int, str]) -> None:
        self.reasons = reasons
        super().__init__(str(reasons))


class _Unreachable(OutcomeUnknown):
    """No connection came about."""


class _Failed(OutcomeUnknown):
    """The connection broke, or the service failed, after the batch had been sent."""


class _Busy(OutcomeUnknown):
    """The service said after how many seconds to come again. What became of an earlier attempt is another question."""

    def __init__(self, reason: str, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(reason)


class _LoggedOut(ServiceError):
    """The access token is no longer valid."""


class RestClient:
    """A connection to the REST API at `url`, logged in with the first batch.

    `pause` waits for the number of seconds that a busy service asked for.
    """

    def __init__(self, url: str, email: str, password: str, *, pause: Callable[[float], None] = time.sleep) -> None:
        self._url = url.rstrip("/")
        self._credentials = {"username": email, "password": password}
        self._pause = pause
        # A proxy that stands in the environment cannot reach this machine's own addresses.
        trusts_environment = urlsplit(url).hostname not in ("localhost", "127.0.0.1", "::1")
        self._http = httpx.Client(
            base_url=self._url, timeout=REQUEST_TIMEOUT, limits=CONNECTION_LIMITS, trust_env=trusts_environment
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._http.close()

    def login(self) -> None:
        """Raises LoginRefused, or ServiceError when the service is not there."""
        answer = self._answer_to_login()
        if answer.is_client_error:
            raise LoginRefused(f"the login was refused: {_said_by(answer)}")
        token = _json(answer).get("access_token") if answer.is_success else None
        if not isinstance(token, str):
            raise ServiceError(f"{self._url} does not answer a login as Colophon does: {_said_by(answer)}")
        self._http.headers["Authorization"] = f"Bearer {token}"

    def load(self, books: Sequence[bytes], key: str) -> bool:
        """Loads books, given as JSON objects: all, or none when it raises BooksRefused or ServiceError.

        Under one key they are loaded once within 24 hours. Tells whether an earlier attempt had loaded them. Raises
        OutcomeUnknown when the connection broke, or the service failed, each time that they were sent.
        """
        request = self._http.build_request(
            "POST",
            BATCH_PATH,
            content=b'{"books":[' + b",".join(books) + b"]}",
            headers={"Content-Type": "application/json", "Idempotency-Key": f'"{key}"'},
        )
        try:
            return self._send_patiently(request)
        except _LoggedOut:
            self.login()
            request.headers["Authorization"] = self._http.headers["Authorization"]
            return self._send_patiently(request)

    def _answer_to_login(self) -> httpx.Response:
        try:
            return self._http.post(LOGIN_PATH, data=self._credentials)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise ServiceError(f"nothing answers at {self._url}: is the service running?") from error
        except httpx.HTTPError as error:
            raise ServiceError(f"{self._url} did not answer the login: {_reason(error)}") from error

    def _send_patiently(self, request: httpx.Request) -> bool:
        for _ in range(MAX_REFUSALS):
            try:
                return self._send(request)
            except _Busy as busy:
                self._pause(busy.seconds)
        return self._send(request)

    @retry(times=5, delay=0.5, exceptions=(_Unreachable, _Failed), backoff=2, jitter=0.5)
    def _send(self, request: httpx.Request) -> bool:
        answer = self._exchange(request)
        _check(answer)
        return "Idempotent-Replayed" in answer.headers

    def _exchange(self, request: httpx.Request) -> httpx.Response:
        try:
            return self._http.send(request)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise _Unreachable(f"nothing answers at {self._url} any more: {_reason(error)}") from error
        except httpx.HTTPError as error:
            raise _Failed(f"the connection broke: {_reason(error)}") from error


def _check(answer: httpx.Response) -> None:
    """Returns when the batch was loaded, raises what became of it otherwise."""
    said = _said_by(answer)
    match answer.status_code:
        case codes.CREATED:
            return
        case codes.UNAUTHORIZED:
            raise _LoggedOut(said)
        case codes.UNPROCESSABLE_ENTITY if reasons := _refused_books(answer):
            raise BooksRefused(reasons)
        case codes.REQUEST_ENTITY_TOO_LARGE:
            raise ServiceError(f"the batch is too large for the service: {said} A smaller --batch-size will do.")
        case codes.TOO_MANY_REQUESTS | codes.SERVICE_UNAVAILABLE if (seconds := _retry_after(answer)) is not None:
            raise _Busy(f"the service refused for now: {said}", seconds)
    if answer.is_server_error:
        raise _Failed(f"the service failed: {said}")
    if answer.is_redirect:
        raise ServiceError(f"the service is at another address: {answer.headers.get('Location')}")
    raise ServiceError(f"the service did not take the batch: {said}")


def _refused_books(answer: httpx.Response) -> dict[int, str]:
    reasons: dict[int, str] = {}
    errors = _json(answer).get("errors")
    for error in errors if isinstance(errors, list) else []:
        found = _POINTER.fullmatch(str(error.get("pointer"))) if isinstance(error, dict) else None
        if found:
            reason = " ".join(filter(None, (found[2], str(error.get("detail", "is not valid")))))
            place = int(found[1])
            reasons[place] = f"{reasons[place]}; {reason}" if place in reasons else reason
    return reasons


def _retry_after(answer: httpx.Response) -> float | None:
    value = answer.headers.get("Retry-After", "")
    # The other form, a date, needs two clocks that agree.
    return min(float(value), MAX_RETRY_AFTER_SECONDS) if value.isdecimal() else None


def _said_by(answer: httpx.Response) -> str:
    problem = _json(answer)
    detail = problem.get("detail")
    errors = problem.get("errors")
    details = [str(each.get("detail")) for each in errors if isinstance(each, dict)] if isinstance(errors, list) else []
    return " ".join(filter(None, (f"{answer.status_code}", detail if isinstance(detail, str) else "", *details[:3])))


def _json(answer: httpx.Response) -> dict[str, Any]:
    try:
        value = answer.json()
    except (json.JSONDecodeError, UnicodeDecodeError):
        return {}
    return value if isinstance(value, dict) else {}


def _reason(error: httpx.HTTPError) -> str:
    return str(error) or type(error).__name__
