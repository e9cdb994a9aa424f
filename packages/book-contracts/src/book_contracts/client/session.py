"""Somebody who is signed in over REST, and stays so."""

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import httpx

from book_contracts.checking import is_unicode
from book_contracts.client.channel import leaves_the_machine
from book_contracts.errors import CatalogueError, LimitReached, NotSignedIn, Unavailable

_log = logging.getLogger(__name__)

_LOGIN: Final = "/api/v1/auth/login"
_REFRESH: Final = "/api/v1/auth/refresh"
_LOGOUT: Final = "/api/v1/auth/logout"

_RENEW_AT_FRACTION: Final = 0.2
"""Of a token's life: it is renewed when less than this is left."""
_RENEW_RETRY_SECONDS: Final = 5.0
"""While the old token is still good."""


@dataclass(slots=True)
class _AccessToken:
    token: str
    renew_at: float
    ends_at: float


class Session:
    """Signs in with e-mail address and password, and gives BookCatalogue its access tokens: ``token=Session(...)``.

    It signs in when the first token is needed, refreshes the session before a token ends and once when one is refused,
    and signs in again when the session has ended. However many calls want a token, it is fetched once. Several
    catalogues of one event loop may share a session. ``async with`` signs out at the end.
    """

    def __init__(self, url: str, email: str, password: str, *, timeout: float = 10, insecure: bool = False) -> None:
        """`url` is where the REST service is, `timeout` the seconds that it may take for an answer.

        Raises ValueError for what is no address or no text, and when the password would leave the machine unencrypted,
        unless `insecure` says that it may.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or not _is_valid(url):
            raise ValueError(f"{url} is no address like https://books.example.org")
        if not all(map(is_unicode, (email, password))):
            raise ValueError(
                "E-mail address and password must be Unicode text: there are bytes in them that were not UTF-8."
            )
        is_away = leaves_the_machine(f"[{parts.hostname}]")
        if parts.scheme == "http" and is_away and not insecure:
            raise ValueError(
                f"The password would go to {url} unencrypted, for everyone on the way to read. Use https, or say"
                " insecure=True where the network is trusted."
            )
        self._url = url.rstrip("/")
        self._credentials = {"username": email, "password": password}
        self._timeout = timeout
        # A proxy that stands in the environment cannot reach this machine's own addresses.
        self._trusts_environment = is_away
        self._access: _AccessToken | None = None
        self._refresh_token: str | None = None
        self._renewing: asyncio.Task[str] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.sign_out()

    async def token(self) -> str:
        """An access token. Raises NotSignedIn, Unavailable or LimitReached."""
        access = self._access
        if access is None or access.ends_at <= time.monotonic():
            return await self._renew()
        return access.token if time.monotonic() < access.renew_at else await self._renewed_early(access)

    async def renewed(self, refused: str) -> str:
        """A token in place of one that was refused. Raises as `token` does."""
        if self._access is None or self._access.token == refused:
            return await self._renew()
        return self._access.token

    async def sign_out(self) -> None:
        """Ends the session, if there is one; a session that cannot be ended now ends by itself, and is logged."""
        if self._renewing is not None:
            await asyncio.wait([self._renewing])
        access, self._access, self._refresh_token = self._access, None, None
        if access is None:
            return
        try:
            async with self._http() as http:
                await http.post(_LOGOUT, headers={"Authorization": f"Bearer {access.token}"})
        except httpx.HTTPError as error:
            _log.warning("could not sign out at %s: %r", self._url, error)

    async def _renewed_early(self, access: _AccessToken) -> str:
        try:
            return await self._renew()
        except (Unavailable, LimitReached):
            # The one that is there is good for a while yet.
            access.renew_at = time.monotonic() + _RENEW_RETRY_SECONDS
            return access.token

    async def _renew(self) -> str:
        """One renewal for all who ask while it runs, which goes on when they ask no longer.

        A refresh token is good once, and one that comes twice ends the session: its answer must not be thrown away.
        """
        if self._renewing is None:
            self._renewing = asyncio.create_task(self._fetch())
            self._renewing.add_done_callback(self._fetched)
        return await asyncio.shield(self._renewing)

    def _fetched(self, renewing: asyncio.Task[str]) -> None:
        self._renewing = None
        # Callers that wait for it get its error; there may be none.
        _ = renewing.cancelled() or renewing.exception()

    async def _fetch(self) -> str:
        async with self._http() as http:
            return self._keep(await self._refresh(http) or await self._sign_in(http))

    async def _refresh(self, http: httpx.AsyncClient) -> Mapping[str, Any] | None:
        """What the refresh token is exchanged for; None when it is good no more, or nobody knows whether it is."""
        token, self._refresh_token = self._refresh_token, None
        if token is None:
            return None
        try:
            answer = await http.post(_REFRESH, json={"refresh_token": token})
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            self._refresh_token = token  # it was not sent
            raise Unavailable(f"Nothing answers at {self._url}.") from error
        except httpx.HTTPError:
            return None
        if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
            self._refresh_token = token  # it was not looked at
            raise _error_of(answer)
        return _tokens_in(answer)

    async def _sign_in(self, http: httpx.AsyncClient) -> Mapping[str, Any]:
        try:
            answer = await http.post(_LOGIN, data=self._credentials)
        except httpx.HTTPError as error:
            raise Unavailable(f"Cannot sign in at {self._url}: {error!r}") from error
        tokens = _tokens_in(answer)
        if tokens is None:
            raise _error_of(answer)
        return tokens

    def _keep(self, tokens: Mapping[str, Any]) -> str:
        now, life = time.monotonic(), float(tokens["expires_in"])
        self._access = _AccessToken(str(tokens["access_token"]), now + life * (1 - _RENEW_AT_FRACTION), now + life)
        self._refresh_token = str(tokens["refresh_token"])
        return self._access.token

    def _http(self) -> httpx.AsyncClient:
        """A client for one exchange: there is one in many minutes, and so nothing that has to be closed."""
        return httpx.AsyncClient(base_url=self._url, timeout=self._timeout, trust_env=self._trusts_environment)


def _is_valid(url: str) -> bool:
    try:
        httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError):
        return False
    return True


def _tokens_in(answer: httpx.Response) -> Mapping[str, Any] | None:
    return _json(answer) if answer.is_success and "access_token" in _json(answer) else None


def _error_of(answer: httpx.Response) -> CatalogueError:
    said = str(_json(answer).get("detail", ""))
    status = f"{answer.request.url} answered {answer.status_code}"
    text = f"{status}: {said}" if said else f"{status}."
    if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
        return LimitReached(text, retry_after=_retry_after(answer))
    if answer.is_client_error:
        return NotSignedIn(text)
    return Unavailable(text, retry_after=_retry_after(answer))


def _retry_after(answer: httpx.Response) -> float | None:
    value = answer.headers.get("Retry-After", "")
    return float(value) if value.isdecimal() else None


def _json(answer: httpx.Response) -> Mapping[str, Any]:
    try:
        value = answer.json()
    except ValueError:  # no JSON, or not in UTF-8
        return {}
    return value if isinstance(value, dict) else {}
