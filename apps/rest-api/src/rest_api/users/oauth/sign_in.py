"""How somebody signs in with a provider: fastapi-users' router, with what it leaves open seen to before it is asked."""

import hmac
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import jwt
import structlog
from fastapi import Request, Response
from fastapi.routing import APIRoute
from fastapi_users.jwt import decode_jwt
from fastapi_users.router.oauth import CSRF_TOKEN_KEY, STATE_TOKEN_AUDIENCE, get_oauth_router

from rest_api.users.manager import UserManager
from rest_api.users.oauth.problems import (
    AccountInactive,
    CodeRefused,
    NotBegunHere,
    ProviderFailed,
    SignInDenied,
)
from rest_api.users.oauth.providers import PROVIDERS, ProviderClient, open_http, registered
from rest_api.users.problems import BadCredentials
from rest_api.users.services import AccountServices
from rest_api.users.settings import AccountSettings
from rest_api.users.signing import derived_secret
from rest_api.users.trail import about

_log = structlog.get_logger(__name__)

SignIns = dict[str, "SignIn"]
"""By the names of the providers."""


class Callback(NamedTuple):
    """What the browser brings back from the provider."""

    code: str | None
    state: str | None
    error: str | None


class SignIn:
    """Signing in with one provider."""

    def __init__(self, client: ProviderClient, services: AccountServices, state_secret: str, public_url: str) -> None:
        self._client = client
        self._services = services
        self._state_secret = state_secret
        self._callback_url = f"{public_url.rstrip('/')}/api/v1/auth/{client.name}/callback"
        self._secure = public_url.startswith("https://")
        # With this prefix a browser takes the cookie from this very host alone, not from one beside it.
        self._cookie = f"{'__Host-' if self._secure else ''}sign-in-{client.name}"
        self._send_away, self._take_back = self._endpoints_of_fastapi_users()

    async def begin(self, request: Request, response: Response) -> str:
        """The address to which the browser is to go. The response ties what comes back to this browser."""
        away = await self._send_away(request, response, None)
        return str(away.authorization_url)

    async def finish(self, request: Request, callback: Callback) -> Response:
        """Signs in whom the provider has recognised. Raises SignInFailed."""
        # The router would look at the state after it has asked the provider, which then anybody could make it do.
        state = self._own_state(request, callback.state)
        about(request, detail=self._client.name)
        code = self._code_in(callback)
        token = await self._client.get_access_token(code, self._callback_url, self._client.verifier_of(state))
        try:
            response: Response = await self._take_back(
                request, (token, state), self._services.manager, self._services.strategy_of(request)
            )
        except BadCredentials as error:  # deactivated, or gone, since the account was found
            raise AccountInactive(self._client.name) from error
        response.delete_cookie(self._cookie, secure=self._secure, httponly=True, samesite="lax")
        return response

    def _own_state(self, request: Request, state: str | None) -> str:
        """The state, if it was given to this browser."""
        try:
            claims = decode_jwt(state or "", self._state_secret, [STATE_TOKEN_AUDIENCE])
        except jwt.PyJWTError as error:
            raise NotBegunHere(self._client.name) from error
        cookie = request.cookies.get(self._cookie, "")
        if not state or not hmac.compare_digest(cookie.encode(), claims[CSRF_TOKEN_KEY].encode()):
            raise NotBegunHere(self._client.name)
        return state

    def _code_in(self, callback: Callback) -> str:
        if callback.error == "access_denied":
            raise SignInDenied(self._client.name)
        if callback.error:
            _log.warning("a provider failed", provider=self._client.name, asked="to sign in", refusal=callback.error)
            raise ProviderFailed(self._client.name)
        if not callback.code:
            raise CodeRefused(self._client.name)
        return callback.code

    def _endpoints_of_fastapi_users(self) -> Iterator[Any]:
        async def manager() -> UserManager:
            return self._services.manager

        router = get_oauth_router(
            self._client,
            self._services.backend,
            manager,
            self._state_secret,
            self._callback_url,
            associate_by_email=True,  # by UserManager.oauth_callback, which looks whether it is verified
            is_verified_by_default=True,
            csrf_token_cookie_name=self._cookie,
            csrf_token_cookie_secure=self._secure,
        )
        return (route.endpoint for route in router.routes if isinstance(route, APIRoute))


@asynccontextmanager
async def open_sign_ins(
    services: AccountServices, private_key_pem: bytes, settings: AccountSettings
) -> AsyncIterator[SignIns]:
    """What signs in with each provider, over one pool of connections that lives as long as the block."""
    credentials = registered(settings)
    if not credentials:
        yield {}
        return
    async with open_http() as http:
        pkce_secret = derived_secret(private_key_pem, "sign-in challenge")
        # A secret for each: what was begun with one provider cannot be finished with the other.
        yield {
            name: SignIn(
                PROVIDERS[name](*pair, http, pkce_secret),
                services,
                derived_secret(private_key_pem, f"sign-in with {name}"),
                settings.public_url,
            )
            for name, pair in credentials.items()
        }
