"""What happens before a route reads its body: who is calling, and is it JSON."""

from collections.abc import Callable, Coroutine
from typing import Any, Final

from book_db.callers import Caller, Callers
from book_runtime.tokens import InvalidToken
from fastapi import Request, Response
from fastapi.routing import APIRoute
from fastapi.security import OAuth2PasswordBearer
from starlette.exceptions import HTTPException

LOGIN_PATH: Final = "/api/v1/auth/login"

bearer = OAuth2PasswordBearer(tokenUrl=LOGIN_PATH, auto_error=False, scheme_name="Password")
"""Says in OpenAPI how to sign in. The token itself is read by GuardedRoute, before the body is."""


class JsonRoute(APIRoute):
    """A route for everybody, whose body is JSON and sent as such."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        reads_body = self.body_field is not None

        async def handle_json(request: Request) -> Response:
            if reads_body:
                _require_json(request)
            return await handle(request)

        return handle_json


class GuardedRoute(JsonRoute):
    """A route for those who are signed in.

    FastAPI reads and parses a body before it asks a dependency: a stranger could make it parse anything, and would be
    told 422 instead of 401. Here the caller comes first, the body's media type second, the body third.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            request.state.caller = await _identify(request)
            return await handle(request)

        return guarded


def caller_of(request: Request) -> Caller:
    """The caller of a guarded route."""
    caller: Caller = request.state.caller
    return caller


async def _identify(request: Request) -> Caller:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise InvalidToken("there is none in the Authorization header")
    callers: Callers = request.app.state.store.callers
    return await callers.identify(token.strip())


def _require_json(request: Request) -> None:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not (
        media_type.startswith("application/") and media_type.endswith("+json")
    ):
        raise HTTPException(415)
