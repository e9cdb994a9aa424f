"""GitHub and Google as far as a sign-in sees them, and browsers that go there and come back."""

import base64
import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx
import respx
from fastapi import FastAPI

TOKEN = "gho_the-providers-token"
SECRET = "the-secret-of-this-service"
CODE = "the-code-of-this-sign-in"
ADDRESS = "ada@example.org"


class Provider:
    """A provider that answers as it is told. It grants a token to those who know the answer to the challenge."""

    name: str
    title: str
    token_url: str
    wrong_code: httpx.Response

    def __init__(self, router: respx.MockRouter) -> None:
        self.router = router
        self.token = router.post(self.token_url)
        self.challenges: list[str] = []
        self.token.side_effect = self._grant

    def recognises(self, account: int, email: str | None = ADDRESS, *, verified: bool = True) -> None:
        """Whoever comes next is this one."""
        raise NotImplementedError  # each provider answers in its own form

    @property
    def profile(self) -> respx.Route:
        """What is asked for the account, and decides who it is."""
        raise NotImplementedError  # at an address of its own

    @property
    def asked(self) -> int:
        """How often it was asked for anything."""
        return len(self.router.calls)

    def _grant(self, request: httpx.Request) -> httpx.Response:
        form = parse_qs(request.content.decode())
        digest = hashlib.sha256(form["code_verifier"][0].encode()).digest()
        assert base64.urlsafe_b64encode(digest).decode().rstrip("=") in self.challenges
        assert form["client_secret"] == [SECRET]
        assert form["redirect_uri"] == [f"https://books.example.org/catalogue/api/v1/auth/{self.name}/callback"]
        # A cookie that must not come along with the next question.
        return httpx.Response(200, json=self._granted, headers={"Set-Cookie": "session=somebody; Path=/"})

    @property
    def _granted(self) -> dict[str, Any]:
        return {"access_token": TOKEN, "token_type": "bearer", "expires_in": "soon", "refresh_token": f"{TOKEN}-too"}


class GitHub(Provider):
    name = "github"
    title = "GitHub"
    token_url = "https://github.com/login/oauth/access_token"
    wrong_code = httpx.Response(200, json={"error": "bad_verification_code", "error_description": CODE})

    def __init__(self, router: respx.MockRouter) -> None:
        super().__init__(router)
        self._profile = router.get("https://api.github.com/user")
        self.emails = router.get("https://api.github.com/user/emails")
        self.recognises(1)

    @property
    def profile(self) -> respx.Route:
        return self._profile

    def recognises(self, account: int, email: str | None = ADDRESS, *, verified: bool = True) -> None:
        self._profile.respond(json={"id": account, "login": "ada", "email": "public@example.org"})
        others = [
            {"email": "other@example.org", "primary": False, "verified": True},
            {"email": "unverified@example.org", "primary": False, "verified": False},
        ]
        primary = {"email": email, "primary": True, "verified": verified, "visibility": None}
        self.emails.respond(json=[*others, *([primary] if email is not None else [])])


class Google(Provider):
    name = "google"
    title = "Google"
    token_url = "https://oauth2.googleapis.com/token"
    wrong_code = httpx.Response(400, json={"error": "invalid_grant", "error_description": CODE})

    def __init__(self, router: respx.MockRouter) -> None:
        super().__init__(router)
        self._profile = router.get("https://openidconnect.googleapis.com/v1/userinfo")
        self.recognises(1)

    @property
    def profile(self) -> respx.Route:
        return self._profile

    def recognises(self, account: int, email: str | None = ADDRESS, *, verified: bool = True) -> None:
        address = {"email": email, "email_verified": verified} if email is not None else {}
        self._profile.respond(json={"sub": str(account), "name": "Ada", **address})


class Away(NamedTuple):
    """Where a browser was sent."""

    url: str
    parameters: dict[str, str]

    @property
    def state(self) -> str:
        return self.parameters["state"]


class Browser:
    """A browser with cookies of its own."""

    def __init__(self, app: FastAPI) -> None:
        # A failure of the service is for it to answer, not for the test to see.
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        self.client = httpx.AsyncClient(transport=transport, base_url="https://books.example.org")

    async def begin(self, provider: Provider) -> Away:
        answer = await self.client.get(f"/api/v1/auth/{provider.name}/authorize")
        assert answer.status_code == 200, answer.text
        url = answer.json()["authorization_url"]
        away = Away(url, dict(parse_qsl(urlsplit(url).query)))
        provider.challenges.append(away.parameters["code_challenge"])
        return away

    async def come_back(self, provider: Provider, **parameters: str) -> httpx.Response:
        return await self.client.get(f"/api/v1/auth/{provider.name}/callback", params=parameters)

    async def sign_in(self, provider: Provider) -> httpx.Response:
        """The answer to a sign-in, all the way there and back."""
        away = await self.begin(provider)
        return await self.come_back(provider, code=CODE, state=away.state)

    async def me(self, answer: httpx.Response) -> dict[str, Any]:
        """Who was signed in by this answer."""
        assert answer.status_code == 200, answer.text
        return dict((await self.call("GET", "/users/me", answer)).json())

    async def call(self, method: str, path: str, signed_in: httpx.Response, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {signed_in.json()['access_token']}"}
        return await self.client.request(method, f"/api/v1{path}", headers=headers, **options)


Browsers = Callable[[], Browser]
"""Makes another one."""
