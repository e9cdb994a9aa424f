"""What browsers are told about every answer, errors included."""

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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = message.get("headers", ())
                names = {name for name, _ in present}
                message["headers"] = [*present, *(each for each in self._headers if each[0] not in names)]
            await send(message)

        await self._app(scope, receive, sending)
