"""HEAD: what GET answers, without its content (RFC 9110, 9.3.2)."""

from collections.abc import Awaitable
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEAD: Final = "colophon.head"
"""An entry of the scope."""

_OF_GET_ALONE: Final = frozenset((b"range", b"if-range"))
"""Fields that any other method has to pass over (RFC 9110, 14.2)."""


class HeadMethod:
    """ASGI middleware: asks the app for GET, and lets nothing but the head of the answer through, which ends it.

    Content that is much work need not be made for nobody: `is_head` tells.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    # A plain function: a coroutine less for each request.
    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http" and scope["method"] == "HEAD":
            return self._app(_as_get(scope), receive, _without_content(send))
        return self._app(scope, receive, send)


def is_head(scope: Scope) -> bool:
    """Whether nothing but the head of the answer is wanted."""
    return _HEAD in scope


def _as_get(scope: Scope) -> Scope:
    return {
        **scope,
        _HEAD: True,
        "method": "GET",
        "headers": [(name, value) for name, value in scope["headers"] if name not in _OF_GET_ALONE],
    }


def _without_content(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            await send(message)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    return sending
