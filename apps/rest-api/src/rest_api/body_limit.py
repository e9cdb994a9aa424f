"""No more of a body is read than the service takes."""

import sys
from collections.abc import Callable
from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rest_api.problems.document import TOO_LARGE, too_large

_DIGITS_MAX: Final = 18
"""Of a number of bytes that 64 bits hold."""


class BodyLimit:
    """ASGI middleware. Starlette's own does the same but answers in plain text; here it is a problem document.

    A body that says it is too long is refused before any of it is read; one that does not say so is cut off.
    ``max_bytes`` tells the limit of a path.
    """

    def __init__(self, app: ASGIApp, max_bytes: Callable[[str], int]) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        max_bytes = self._max_bytes(scope["path"])
        if declared_length(scope) > max_bytes:
            await too_large()(scope, receive, send)
        else:
            await self._app(scope, _counting(receive, max_bytes), send)


def _counting(receive: Receive, max_bytes: int) -> Receive:
    left = max_bytes

    async def receive_within_limit() -> Message:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise HTTPException(TOO_LARGE, "The body is longer than this service reads.")
        return message

    return receive_within_limit


def declared_length(scope: Scope) -> int:
    """How many bytes of body a request says it has; 0 where it does not say."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            digits = value.lstrip(b"0")
            # Python reads no number of thousands of digits.
            return int(digits or b"0") if len(digits) <= _DIGITS_MAX else sys.maxsize
    return 0
