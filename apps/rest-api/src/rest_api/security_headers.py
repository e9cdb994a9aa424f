"""What browsers are told about every answer, errors included."""

from collections.abc import Awaitable, Mapping
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_OF_EVERY_ANSWER: Final = (
    # Answers are data. A page that is more says so itself, and what it says holds.
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
# Without includeSubDomains: who runs this service need not be who runs the names below its own.
_HSTS: Final = (b"strict-transport-security", b"max-age=31536000")

Headers = tuple[tuple[bytes, bytes], ...]


def headers_for(public_url: str) -> Headers:
    """The headers of a service that people reach at this address."""
    return (*_OF_EVERY_ANSWER, _HSTS) if public_url.startswith("https:") else _OF_EVERY_ANSWER


class SecurityHeaders:
    """ASGI middleware that adds these headers to every answer, but none that the answer has already."""

    def __init__(self, app: ASGIApp, headers: Headers) -> None:
        self._app = app
        self._headers = headers
        self._names = frozenset(name for name, _ in headers)

    # Plain functions that hand awaitables on: two coroutines less for each message.
    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http":
            return self._app(scope, receive, send)

        def sending(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                present = dict(message.get("headers", ()))
                # Only pages have a policy of their own.
                more = self._headers if self._names.isdisjoint(present) else self._all_but(present)
                message["headers"] = [*message.get("headers", ()), *more]
            return send(message)

        return self._app(scope, receive, sending)

    def _all_but(self, present: Mapping[bytes, bytes]) -> list[tuple[bytes, bytes]]:
        return [header for header in self._headers if header[0] not in present]
