"""The short way past FastAPI, for what is asked for most.

On its way to an endpoint a request goes through twelve layers of Starlette, FastAPI and ours, which take twice as
long as the read of a book does. One of plain form needs none of them and is answered here, by the function
that is the endpoint elsewhere. Whatever else is asked goes on to FastAPI, which answers alike, or says what is wrong.

docs/decisions/0023 gives the reasons.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from re import Pattern

from fastapi import FastAPI, Request, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rest_api.body_limit import declared_length
from rest_api.guard import authenticate
from rest_api.problems import answer_to


@dataclass(frozen=True, slots=True)
class FastRoute:
    """An operation that goes the short way."""

    operation_id: str
    """What OpenAPI calls it."""
    method: str
    path: Pattern[str]
    demands: str
    """The scope that the caller must have."""
    longest_body: int
    """Bytes that a request of plain form may say it has; what it has without saying so is not read here."""
    answer: Callable[[Request], Awaitable[Response | None]]
    """None leaves the request to FastAPI. The caller is known by then, and the body may have been read."""


class FastPath:
    """ASGI middleware: answers what its routes are for, and hands on the rest."""

    def __init__(self, app: ASGIApp, routes: Sequence[FastRoute], of: FastAPI) -> None:
        """``of`` is the application whose state the routes work on."""
        self._app = app
        self._routes = routes
        self._of = of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._route_of(scope)
        if route is None:
            await self._app(scope, receive, send)
            return
        scope["app"], scope["route"] = self._of, route  # where Observed looks for the name of the operation
        request = Request(scope, receive)
        response = await _answer(request, route)
        if response is None:
            del scope["route"]
            await self._app(scope, _again(request), send)
        else:
            await response(scope, receive, send)

    def _route_of(self, scope: Scope) -> FastRoute | None:
        if scope["type"] != "http":
            return None
        method, path = scope["method"], scope["path"]
        route = next((route for route in self._routes if route.method == method and route.path.fullmatch(path)), None)
        return None if route is None or declared_length(scope) > route.longest_body else route


async def _answer(request: Request, route: FastRoute) -> Response | None:
    try:
        request.state.caller = caller = await authenticate(request)
        caller.require_scope(route.demands)
        return await route.answer(request)
    except Exception as error:  # noqa: BLE001  # as FastAPI: whatever it is, it has an answer
        return await answer_to(request, error)


def _again(request: Request) -> Receive:
    """What the client sends, also where some of it has been read."""
    body: bytes | None = getattr(request, "_body", None)

    async def receive() -> Message:
        nonlocal body
        if body is None:
            return await request.receive()
        message = {"type": "http.request", "body": body, "more_body": False}
        body = None
        return message

    return receive
