"""The providers: httpx-oauth's clients, over one pool of connections, believing only addresses that are verified."""

import asyncio
import base64
import hashlib
import hmac
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeVar

import httpx
import msgspec
import structlog
from httpx_oauth.clients.github import EMAILS_ENDPOINT, GitHubOAuth2
from httpx_oauth.clients.github import PROFILE_ENDPOINT as GITHUB_PROFILE_ENDPOINT
from httpx_oauth.clients.google import GoogleOAuth2
from httpx_oauth.oauth2 import BaseOAuth2, GetAccessTokenError, OAuth2RequestError, OAuth2Token

from rest_api.users.oauth.problems import CodeRefused, ProviderFailed
from rest_api.users.settings import AccountSettings

_log = structlog.get_logger(__name__)

T = TypeVar("T")

GOOGLE_PROFILE_ENDPOINT: Final = "https://openidconnect.googleapis.com/v1/userinfo"
"""Unlike the one of httpx-oauth it needs no API to be switched on, and no scope beyond the address."""

TIMEOUT_SECONDS: Final = 10.0
"""Seconds for all that is asked of a provider at a time, however slowly it drips."""

_BAD_CODE: Final = frozenset(("invalid_grant", "bad_verification_code"))
"""What Google and GitHub say of a code that is used up; anything else is no fault of who signs in."""

_NOT_AS_IT_SHOULD: Final = (TimeoutError, httpx.HTTPError, msgspec.MsgspecError, UnicodeError, RecursionError)


_Token = Annotated[str, msgspec.Meta(pattern=r"\A[!-~]+\Z")]
"""Printable ASCII without blanks: it will stand in a header."""


class _Grant(msgspec.Struct):
    # GitHub sends errors with status 200, so each field may be missing.
    access_token: _Token = ""
    error: str = ""


class _GitHubProfile(msgspec.Struct):
    id: int


class _GitHubEmail(msgspec.Struct):
    email: str
    primary: bool = False
    verified: bool = False


class _GoogleProfile(msgspec.Struct):
    sub: _Token
    email: str = ""
    email_verified: bool = False


def open_http() -> httpx.AsyncClient:
    """What providers are asked with: it verifies certificates, follows no redirect, keeps no cookie and gives up."""
    # A cookie that came with the answer about one user would go along with the question about the next.
    no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=()))
    return httpx.AsyncClient(timeout=5, follow_redirects=False, cookies=no_cookies, headers={"User-Agent": "Colophon"})


class ProviderClient(BaseOAuth2[Any]):
    """What the clients of all providers do alike. Raises CodeRefused and ProviderFailed, and nothing else."""

    _http: httpx.AsyncClient
    _pkce_secret: bytes

    async def get_authorization_url(  # noqa: PLR0917  # as httpx-oauth has it
        self,
        redirect_uri: str,
        state: str | None = None,
        scope: list[str] | None = None,
        code_challenge: str | None = None,
        code_challenge_method: Literal["plain", "S256"] | None = None,
        extras_params: Any = None,
    ) -> str:
        """With the challenge to which only the bearer of the state can have the answer (RFC 7636)."""
        digest = hashlib.sha256(self.verifier_of(state or "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        return await super().get_authorization_url(redirect_uri, state, scope, challenge, "S256", extras_params)

    def verifier_of(self, state: str) -> str:
        """The answer to the challenge that went out with this state. It is not kept anywhere: it follows."""
        return hmac.digest(self._pkce_secret, state.encode(), "sha256").hex()

    async def get_access_token(self, code: str, redirect_uri: str, code_verifier: str | None = None) -> OAuth2Token:
        async with self._asking("for a token"):
            return await super().get_access_token(code, redirect_uri, code_verifier)

    async def get_id_email(self, token: str) -> tuple[str, str]:
        """The account's id and its verified address, which is empty where there is none."""
        async with self._asking("for the account"):
            return await self._account_of(token)

    async def _account_of(self, token: str) -> tuple[str, str]:
        raise NotImplementedError  # each provider answers in its own form

    def get_httpx_client(self) -> AbstractAsyncContextManager[httpx.AsyncClient]:
        return nullcontext(self._http)

    def get_json(self, response: httpx.Response, *, exc_class: type[OAuth2RequestError]) -> dict[str, Any]:
        """Of all that a provider sends with a token, the token."""
        grant = msgspec.json.decode(response.content, type=_Grant)
        if grant.error or not grant.access_token:
            raise exc_class("no token", response)
        return {"access_token": grant.access_token}

    async def _get(self, url: str, token: str, form: type[T], **parameters: int) -> T:
        headers = {**self.request_headers, "Authorization": f"Bearer {token}"}
        response = await self._http.get(url, headers=headers, params=parameters)
        response.raise_for_status()
        return msgspec.json.decode(response.content, type=form)

    @asynccontextmanager
    async def _asking(self, what: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                yield
        except GetAccessTokenError as error:
            refusal = _refusal_in(error.response)
            if refusal in _BAD_CODE:
                raise CodeRefused(self.name) from error
            raise self._failed(what, error.__cause__ or error, refusal) from error
        except _NOT_AS_IT_SHOULD as error:
            raise self._failed(what, error) from error

    def _failed(self, what: str, cause: BaseException, refusal: str = "") -> ProviderFailed:
        # The kind of the cause and not its text, which may hold what the provider has sent.
        status = cause.response.status_code if isinstance(cause, httpx.HTTPStatusError) else None
        facts = {"cause": type(cause).__name__, "status": status, "refusal": refusal[:100] or None}
        known = {name: fact for name, fact in facts.items() if fact}
        _log.warning("a provider failed", provider=self.name, asked=what, **known)
        return ProviderFailed(self.name)


def _refusal_in(response: httpx.Response | None) -> str:
    """The error code in a provider's answer (RFC 6749, 5.2); empty when it has none."""
    try:
        return msgspec.json.decode(response.content, type=_Grant).error if response is not None else ""
    except _NOT_AS_IT_SHOULD:
        return ""


class GitHub(ProviderClient, GitHubOAuth2):
    """GitHub. The address in a profile there is whatever its owner likes; those under /user/emails are verified."""

    def __init__(self, client_id: str, client_secret: str, http: httpx.AsyncClient, pkce_secret: str) -> None:
        super().__init__(client_id, client_secret, scopes=["user:email"])
        self._http = http
        self._pkce_secret = pkce_secret.encode()

    async def _account_of(self, token: str) -> tuple[str, str]:
        profile = await self._get(GITHUB_PROFILE_ENDPOINT, token, _GitHubProfile)
        emails = await self._get(EMAILS_ENDPOINT, token, list[_GitHubEmail], per_page=100)
        verified = (each.email for each in emails if each.primary and each.verified)
        return str(profile.id), next(verified, "")


class Google(ProviderClient, GoogleOAuth2):
    """Google, by OpenID Connect."""

    def __init__(self, client_id: str, client_secret: str, http: httpx.AsyncClient, pkce_secret: str) -> None:
        super().__init__(client_id, client_secret, scopes=["openid", "email"])
        self._http = http
        self._pkce_secret = pkce_secret.encode()

    async def _account_of(self, token: str) -> tuple[str, str]:
        profile = await self._get(GOOGLE_PROFILE_ENDPOINT, token, _GoogleProfile)
        return profile.sub, profile.email if profile.email_verified else ""


PROVIDERS: Final[dict[str, type[GitHub | Google]]] = {"github": GitHub, "google": Google}


class Credentials(NamedTuple):
    """What a provider knows this service by."""

    client_id: str
    client_secret: str


def registered(settings: AccountSettings) -> dict[str, Credentials]:
    """The credentials with those providers that this service is registered with, by the providers' names."""
    known = {
        "github": (settings.github_client_id, settings.github_client_secret),
        "google": (settings.google_client_id, settings.google_client_secret),
    }
    return {
        name: Credentials(client_id, secret.get_secret_value())
        for name, (client_id, secret) in known.items()
        if client_id and secret
    }
