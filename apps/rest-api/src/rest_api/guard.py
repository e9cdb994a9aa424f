"""What happens before a route reads its body: who is calling, may they, and is it JSON."""

import json
from collections.abc import Callable, Collection, Coroutine
from typing import Any, Final

from book_db.accounts.authentication import Authenticator, Caller
from book_db.errors import InsufficientRole, InsufficientScope, SessionRequired
from book_db.roles import READ_BOOKS, WRITE_BOOKS
from book_runtime.tokens import InvalidToken
from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from rest_api.codings import refuse_coded
from rest_api.problems.document import documented, problem
from rest_api.problems.translation import SAFE, answer_to, translate

LOGIN_PATH: Final = "/api/v1/auth/login"

SECURITY_SCHEMES: Final[dict[str, dict[str, Any]]] = {
    "Password": {
        "type": "oauth2",
        "flows": {"password": {"tokenUrl": LOGIN_PATH, "scopes": {}}},
        "description": "The access token that signing in gives. It opens everything that the user may do, and is "
        "exchanged for a new one with the refresh token (`POST /api/v1/auth/refresh`).",
    },
    "ApiToken": {
        "type": "http",
        "scheme": "bearer",
        "description": "A token that a user has made for a program (`POST /api/v1/users/me/tokens`). It opens books "
        "alone, within its scopes: `books:read`, `books:write`.",
    },
}
"""What OpenAPI says of tokens. They are read by GuardedRoute, before the body is, and by no dependency: each of those
costs every request some 13 microseconds.
"""

_PASSWORD: Final[dict[str, list[str]]] = {"Password": []}


FIELDS_MAX: Final = 100
"""Far more than any operation knows: to find fault with each of thousands holds up everybody."""


class JsonRequest(Request):
    """Its JSON is UTF-8, as RFC 8259, 8.1 has it: what guards a service reads no other, and Python would guess."""

    async def json(self) -> Any:
        """The document. Raises HTTPException where it has too many fields, and ValueError where it is none."""
        document = json.loads((await self.body()).decode("utf-8-sig"))
        if isinstance(document, dict) and len(document) > FIELDS_MAX:
            raise HTTPException(422, f"The body must have at most {FIELDS_MAX} fields, this has {len(document):,}.")
        return document


class JsonRoute(APIRoute):
    """A route for everybody, whose body is JSON and sent as such."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        reads_body = self.body_field is not None

        async def handle_json(request: Request) -> Response:
            if reads_body:
                require_json(request)
                request = JsonRequest(request.scope, request.receive)
            return await handle(request)

        return handle_json


class GuardedRoute(JsonRoute):
    """A route to books: for those who are signed in, and for programs whose token has the scope that the method needs.

    FastAPI reads and parses a body before it asks a dependency: a stranger could make it parse anything, and would be
    told 422 instead of 401. Here the caller comes first, the body's media type second, the body third.
    """

    def __init__(
        self,
        path: str,
        endpoint: Callable[..., Any],
        *,
        methods: set[str] | list[str] | None = None,
        responses: dict[int | str, dict[str, Any]] | None = None,
        openapi_extra: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            path,
            endpoint,
            methods=methods,
            responses=documented(401, 403) | (responses or {}),
            openapi_extra={"security": self._security(methods or ["GET"])} | (openapi_extra or {}),
            **options,
        )

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        authorize = self.authorizer()

        async def guarded(request: Request) -> Response:
            request.state.caller = caller = await authenticate(request)
            authorize(caller)
            return await handle(request)

        return guarded

    def _security(self, methods: Collection[str]) -> list[dict[str, list[str]]]:
        """The tokens that open this route, for OpenAPI."""
        return [_PASSWORD, {"ApiToken": [_scope_of(methods)]}]

    def authorizer(self) -> Callable[[Caller], object]:
        """A function of the caller, which raises InsufficientScope, InsufficientRole or SessionRequired."""
        scope = _scope_of(self.methods or ())
        return lambda caller: caller.require_scope(scope)


class SessionRoute(GuardedRoute):
    """A route for those who are signed in, and for no program: with one token nobody shall make another.

    What it tells of an account is stored by nobody on its way.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def unstored(request: Request) -> Response:
            answer = await handle(request)
            answer.headers["Cache-Control"] = "no-store"
            return answer

        return unstored

    def _security(self, methods: Collection[str]) -> list[dict[str, list[str]]]:
        return [_PASSWORD]

    def authorizer(self) -> Callable[[Caller], object]:
        return Caller.session


def caller_of(request: Request) -> Caller:
    """The caller of a guarded route."""
    caller: Caller = request.state.caller
    return caller


def _scope_of(methods: Collection[str]) -> str:
    return READ_BOOKS if SAFE.issuperset(methods) else WRITE_BOOKS


async def authenticate(request: Request) -> Caller:
    """Who calls, by the token of the request. Raises InvalidToken."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise InvalidToken("there is none in the Authorization header")
    authenticator: Authenticator = request.app.state.store.authenticator
    return await authenticator.authenticate(token.strip())


def require_json(request: Request) -> None:
    """Raises HTTPException where the body is not sent as JSON, and CodedBody where that is compressed."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not (
        media_type.startswith("application/") and media_type.endswith("+json")
    ):
        raise HTTPException(415)
    refuse_coded(request)


translate(InsufficientRole, 403, "insufficient-role")


@answer_to.register
def _(error: InvalidToken, _request: Request) -> Response:
    return problem(401, "unauthenticated", str(error), headers={"WWW-Authenticate": "Bearer"})


@answer_to.register
def _(error: InsufficientScope, _request: Request) -> Response:
    return _insufficient_scope(error, f', scope="{error.scope}"')


@answer_to.register
def _(error: SessionRequired, _request: Request) -> Response:
    return _insufficient_scope(error)


def _insufficient_scope(error: Exception, missing: str = "") -> Response:
    # RFC 6750, section 3.1
    challenge = f'Bearer error="insufficient_scope"{missing}'
    return problem(403, "insufficient-scope", str(error), headers={"WWW-Authenticate": challenge})
