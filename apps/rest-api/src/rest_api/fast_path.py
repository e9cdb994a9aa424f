"""The fast path past FastAPI, for what is asked for most.

On its way to an endpoint a request goes through twelve layers of Starlette, FastAPI and ours, which take twice as
long as the read of a book does. A request of plain form needs none of them: it is answered here, by the function that
its endpoint names with `@fast_path`. All others go on to FastAPI, which answers alike, or says what is wrong.

docs/decisions/0023 gives the reasons.
"""

import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from re import Pattern
from typing import Any, Final, NamedTuple, TypeVar

from book_db.accounts.authentication import Caller
from fastapi import FastAPI, Request, Response
from fastapi.routing import iter_route_contexts
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rest_api.body_limit import declared_length
from rest_api.guard import GuardedRoute, authenticate
from rest_api.problems.translation import answer_to

Answer = Callable[[Request], Awaitable[Response | None]]
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])

_NUMBER: Final = "[1-9][0-9]{0,17}"
"""A parameter of a path in plain form. With 18 digits it is below 2**63 for certain."""


class _PlainForm(NamedTuple):
    answer: Answer
    longest_body: int


_PLAIN_FORMS: Final[dict[Callable[..., Any] | None, _PlainForm]] = {}
"""By endpoint."""


def fast_path(answer: Answer, *, longest_body: int = 0) -> Callable[[Endpoint], Endpoint]:
    """Marks the endpoint of a GuardedRoute: what is of plain form is answered by ``answer``, past FastAPI.

    ``answer`` returns None to leave a request to FastAPI. It is called when the caller has been authorized, and may
    read the body. ``longest_body`` is how many bytes a request may say it has; one that says nothing comes here too.
    """

    def mark(endpoint: Endpoint) -> Endpoint:
        _PLAIN_FORMS[endpoint] = _PlainForm(answer, longest_body)
        return endpoint

    return mark


@dataclass(frozen=True, slots=True)
class FastRoute:
    """A route of the app whose endpoint is marked."""

    operation_id: str
    """Where Observed looks for it."""
    method: str
    path: Pattern[str]
    authorize: Callable[[Caller], object]
    answer: Answer
    longest_body: int


class FastPath:
    """ASGI middleware: answers what is of plain form, and hands on the rest."""

    def __init__(self, app: ASGIApp, of: FastAPI) -> None:
        """``of`` is the application whose routes these are."""
        self._app = app
        self._of = of
        self._routes = tuple(_fast_routes(of))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._route_of(scope)
        if route is None:
            await self._app(scope, receive, send)
            return
        scope["app"], scope["route"] = self._of, route
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
        for route in self._routes:
            if route.method == method and route.path.fullmatch(path):
                return route if declared_length(scope) <= route.longest_body else None
        return None


def _fast_routes(app: FastAPI) -> Iterator[FastRoute]:
    for route in iter_route_contexts(app.routes):
        if plain := _PLAIN_FORMS.get(route.endpoint):
            guarded = route.original_route
            assert isinstance(guarded, GuardedRoute)  # what `fast_path` is for
            assert guarded.methods is not None  # an endpoint has them
            [method] = guarded.methods
            path = re.compile(re.sub(r"\{\w+\}", _NUMBER, route.path or ""))
            yield FastRoute(route.operation_id, method, path, guarded.authorizer(), *plain)


async def _answer(request: Request, route: FastRoute) -> Response | None:
    try:
        request.state.caller = caller = await authenticate(request)
        route.authorize(caller)
        return await route.answer(request)
    except Exception as error:  # noqa: BLE001  # as FastAPI: whatever it is, it has an answer
        return answer_to(error, request)


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
