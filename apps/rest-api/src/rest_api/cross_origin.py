"""Which other sites' pages may call the service from a browser: none, unless CORS_ORIGINS names them."""

import re
from http import HTTPStatus
from typing import Annotated, Final

from pydantic import AfterValidator, Field
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from rest_api.problems.document import problem

_ORIGIN: Final = re.compile(r"https?://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
"""As browsers write it: in small letters, an international name in Punycode, with no slash at the end."""

_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_TAKEN: Final = ("Authorization", "Content-Type", "If-Match", "If-None-Match", "Idempotency-Key", "traceparent")
_SHOWN: Final = (
    "Content-Disposition",
    "ETag",
    "Idempotent-Replayed",
    "Link",
    "Location",
    "Retry-After",
    "WWW-Authenticate",
)
_DAY_SECONDS: Final = 86_400


def _checked_origins(text: str) -> str:
    for origin in _split(text):
        if origin == "*":
            raise ValueError("it must name each origin: * would let every page on the web call with what users type in")
        if not _ORIGIN.fullmatch(origin):
            raise ValueError("it must be origins with commas between them, each scheme://host[:port] in small letters")
    return text


Origins = Annotated[
    str, AfterValidator(_checked_origins), Field(examples=["https://books.example.org,http://localhost:5173"])
]
"""Origins (RFC 6454) with commas between them."""


def open_to(origins: str, app: ASGIApp) -> ASGIApp:
    """The app, which pages of these origins may call. Tokens are sent in a header, so no cookie is let through."""
    allowed = _split(origins)
    if not allowed:
        return app
    return _CrossOrigin(
        app,
        allow_origins=allowed,
        allow_methods=_METHODS,
        allow_headers=_TAKEN,
        expose_headers=_SHOWN,
        max_age=_DAY_SECONDS,
    )


class _CrossOrigin(CORSMiddleware):
    def preflight_response(self, request_headers: Headers) -> Response:
        answer = super().preflight_response(request_headers)
        if answer.status_code < HTTPStatus.BAD_REQUEST:
            return answer
        return problem(HTTPStatus.BAD_REQUEST, "cross-origin", bytes(answer.body).decode() + ".")


def _split(text: str) -> list[str]:
    return [each for part in text.split(",") if (each := part.strip())]
