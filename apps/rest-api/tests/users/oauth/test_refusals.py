"""Signing in with a provider: what must not be believed, and what providers get wrong."""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi_users.router.oauth import CSRF_TOKEN_KEY, generate_state_token
from rest_api.settings import RestSettings
from rest_api.users.oauth import providers as ours
from rest_api.users.signing import derived_secret
from structlog.testing import capture_logs
from support.people import PASSWORD, Person
from support.providers import ADDRESS, CODE, SECRET, TOKEN, Browser, Browsers, GitHub, Google, Provider
from support.waiting import patiently

pytestmark = pytest.mark.usefixtures("quick_hashing")

Rows = Callable[[str], list[tuple[Any, ...]]]

DEEP = b"[" * 100_000


def problem(answer: httpx.Response) -> tuple[int, str]:
    """What a problem document says: status and type."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    assert answer.json()["status"] == answer.status_code
    return answer.status_code, answer.json()["type"].removeprefix("urn:colophon:")


class TestTheState:
    """Nothing is asked of the provider for a state that this browser was not given."""

    @pytest.fixture(autouse=True)
    async def _nobody_was_signed_in(self, provider: Provider, rows: Rows) -> Any:
        yield
        assert provider.asked == 0
        assert rows("SELECT (SELECT count(*) FROM sessions), (SELECT count(*) FROM oauth_accounts)") == [(0, 0)]

    @pytest.fixture
    def private_key(self, private_key_file: Path) -> bytes:
        return private_key_file.read_bytes()

    @pytest.mark.parametrize(
        "state",
        [
            pytest.param(None, id="missing"),
            pytest.param("", id="empty"),
            pytest.param("a.b.c", id="garbage"),
            pytest.param("W1tbW1tb" * 60 + ".e30.e30", id="deep"),
        ],
    )
    async def test_is_one_of_ours(self, browser: Browser, provider: Provider, state: str | None) -> None:
        await browser.begin(provider)
        parameters = {"code": CODE} | ({} if state is None else {"state": state})
        assert problem(await browser.come_back(provider, **parameters)) == (400, "sign-in-not-begun-here")

    async def test_is_signed(self, browser: Browser, provider: Provider) -> None:
        state = (await browser.begin(provider)).state
        cookie = dict(browser.client.cookies)[f"__Host-sign-in-{provider.name}"]
        forged = generate_state_token({CSRF_TOKEN_KEY: cookie}, "a secret of the forger, as long as it need be")
        for each in (forged, f"{state[:-4]}AAAA"):
            answer = await browser.come_back(provider, code=CODE, state=each)
            assert problem(answer) == (400, "sign-in-not-begun-here")

    async def test_is_good_for_an_hour(self, browser: Browser, provider: Provider, private_key: bytes) -> None:
        await browser.begin(provider)
        cookie = dict(browser.client.cookies)[f"__Host-sign-in-{provider.name}"]
        secret = derived_secret(private_key, f"sign-in with {provider.name}")
        expired = generate_state_token({CSRF_TOKEN_KEY: cookie}, secret, lifetime_seconds=-1)
        answer = await browser.come_back(provider, code=CODE, state=expired)
        assert problem(answer) == (400, "sign-in-not-begun-here")

    async def test_is_good_in_the_browser_that_began(self, browsers: Browsers, provider: Provider) -> None:
        """Or a victim could be sent to a link that signs them in as somebody else."""
        state = (await browsers().begin(provider)).state
        without_cookie, with_its_own = browsers(), browsers()
        await with_its_own.begin(provider)
        for browser in (without_cookie, with_its_own):
            answer = await browser.come_back(provider, code=CODE, state=state)
            assert problem(answer) == (400, "sign-in-not-begun-here")

    async def test_is_good_for_one_provider(self, browser: Browser, github: GitHub, google: Google) -> None:
        states = {github: (await browser.begin(github)).state, google: (await browser.begin(google)).state}
        answers = [
            await browser.come_back(github, code=CODE, state=states[google]),
            await browser.come_back(google, code=CODE, state=states[github]),
        ]
        assert {problem(answer) for answer in answers} == {(400, "sign-in-not-begun-here")}

    async def test_may_come_with_any_cookie(self, browser: Browser, provider: Provider) -> None:
        state = (await browser.begin(provider)).state
        browser.client.cookies.clear()
        answer = await browser.client.get(
            f"/api/v1/auth/{provider.name}/callback",
            params={"code": CODE, "state": state},
            headers={b"Cookie": f"__Host-sign-in-{provider.name}=".encode() + b"\xe9\xff"},
        )
        assert problem(answer) == (400, "sign-in-not-begun-here")

    @pytest.mark.parametrize(
        ("parameters", "expected"),
        [
            pytest.param({"error": "access_denied"}, (400, "sign-in-denied"), id="denied"),
            pytest.param({"error": "access_denied", "code": CODE}, (400, "sign-in-denied"), id="denied-with-code"),
            pytest.param({"error": "temporarily_unavailable"}, (502, "provider-failed"), id="provider-unavailable"),
            pytest.param({"error": "application_suspended"}, (502, "provider-failed"), id="suspended"),
            pytest.param({}, (400, "code-refused"), id="no-code"),
            pytest.param({"code": ""}, (400, "code-refused"), id="empty-code"),
            pytest.param({"code": "x" * 3_000}, (422, "invalid"), id="long-code"),
        ],
    )
    async def test_may_come_back_without_a_sign_in(
        self, browser: Browser, provider: Provider, parameters: dict[str, str], expected: tuple[int, str]
    ) -> None:
        state = (await browser.begin(provider)).state
        assert problem(await browser.come_back(provider, state=state, **parameters)) == expected

    @pytest.mark.parametrize("name", ["code", "state", "error"])
    async def test_may_not_come_beside_what_is_not_utf_8(self, browser: Browser, provider: Provider, name: str) -> None:
        state = (await browser.begin(provider)).state
        answer = await browser.client.get(f"/api/v1/auth/{provider.name}/callback?state={state}&code={CODE}&{name}=%E9")
        assert (answer.status_code, answer.json()["errors"]) == (422, [{"parameter": name, "detail": "must be UTF-8"}])


class TestAStateThatWasUsed:
    async def test_is_good_no_more(self, browser: Browser, provider: Provider) -> None:
        state = (await browser.begin(provider)).state
        assert (await browser.come_back(provider, code=CODE, state=state)).status_code == 200
        asked = provider.asked
        answer = await browser.come_back(provider, code=CODE, state=state)
        assert problem(answer) == (400, "sign-in-not-begun-here")
        assert provider.asked == asked


class TestTooManyAttempts:
    @pytest.fixture
    def rest_settings(self, rest_settings: RestSettings) -> RestSettings:
        return rest_settings.model_copy(update={"limit_login_per_address": "2/minute"})

    async def test_are_refused_like_those_with_a_password(self, browser: Browser, provider: Provider) -> None:
        for _ in range(2):
            assert problem(await browser.come_back(provider, code=CODE)) == (400, "sign-in-not-begun-here")
        answer = await browser.sign_in(provider)
        assert problem(answer) == (429, "too-many-requests")
        assert int(answer.headers["retry-after"]) > 0
        assert provider.asked == 0


class TestTheCode:
    async def test_is_good_once(self, browser: Browser, provider: Provider, rows: Rows) -> None:
        provider.token.mock(return_value=provider.wrong_code)
        assert problem(await browser.sign_in(provider)) == (400, "code-refused")
        assert rows("SELECT count(*) FROM users") == [(0,)]

    async def test_is_of_no_use_to_a_thief(self, browsers: Browsers, provider: Provider) -> None:
        """Its answer to the challenge is another one in every sign-in."""
        challenges = [(await browsers().begin(provider)).parameters["code_challenge"] for _ in range(10)]
        assert len(set(challenges)) == 10


def answering(content: bytes, status: int = 200) -> Callable[[Any], httpx.Response]:
    return lambda _: httpx.Response(status, content=content)


BROKEN = [
    pytest.param(answering(b"", 500), id="500"),
    pytest.param(answering(b"", 403), id="403"),
    pytest.param(answering(b'{"error": "invalid_client"}', 401), id="401"),
    pytest.param(answering(b"", 204), id="204"),
    pytest.param(lambda _: httpx.Response(302, headers={"Location": "https://evil.example/"}), id="redirect"),
    pytest.param(answering(b"<html>Unicorn!</html>"), id="html"),
    pytest.param(answering(b'{"access_token": "\xff", "sub": "\xff", "id": "\xff"}'), id="not-utf-8"),
    pytest.param(answering(b"null"), id="null"),
    pytest.param(answering(b"[1]"), id="array"),
    pytest.param(answering(b"{}"), id="empty"),
    pytest.param(answering(b'{"access_token": 1, "sub": 1, "id": "1", "email": "a@example.org"}'), id="other-types"),
    pytest.param(answering(b'{"access_token": "a\\nb", "sub": "a\\nb", "id": null}'), id="line-break"),
    pytest.param(answering(DEEP), id="deep"),
    pytest.param(httpx.ConnectError("refused"), id="refused"),
    pytest.param(httpx.ConnectTimeout("timed out"), id="connect-timeout"),
    pytest.param(httpx.ReadTimeout("timed out"), id="read-timeout"),
    pytest.param(httpx.RemoteProtocolError("garbage"), id="no-http"),
]


class TestAProviderThatFails:
    """Whatever it answers: one kind of problem, one line in the log that tells no secret, and nothing half-made."""

    @pytest.fixture(autouse=True)
    async def _nothing_is_made(self, rows: Rows) -> Any:
        yield
        assert rows("SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM sessions)") == [(0, 0)]

    async def fails(self, browser: Browser, provider: Provider) -> None:
        with capture_logs() as lines:
            assert problem(await browser.sign_in(provider)) == (502, "provider-failed")
        [line] = lines
        assert (line["log_level"], line["event"]) == ("warning", "a provider failed")
        assert not [secret for secret in (CODE, TOKEN, SECRET, ADDRESS) if secret in str(line)]

    @pytest.mark.parametrize("answer", BROKEN)
    async def test_at_any_step(self, browser: Browser, github: GitHub, google: Google, answer: Any) -> None:
        """When it is asked for the token, the account, and at GitHub for the addresses."""
        for provider, route in (
            (github, github.token),
            (github, github.profile),
            (github, github.emails),
            (google, google.token),
            (google, google.profile),
        ):
            as_it_should, route.side_effect = route.side_effect, answer
            await self.fails(browser, provider)
            route.side_effect = as_it_should

    async def test_because_it_is_asked_wrongly(self, browser: Browser, github: GitHub) -> None:
        """GitHub says so with status 200."""
        for error in ("incorrect_client_credentials", "redirect_uri_mismatch", "something new"):
            github.token.mock(return_value=httpx.Response(200, json={"error": error, "error_description": TOKEN}))
            await self.fails(browser, github)

    async def test_to_answer_in_time(
        self, browser: Browser, provider: Provider, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def never(_: httpx.Request) -> httpx.Response:
            await asyncio.Event().wait()
            raise AssertionError

        monkeypatch.setattr(ours, "TIMEOUT_SECONDS", 0.05)
        provider.profile.side_effect = never
        await patiently(self.fails(browser, provider), "the provider is given up")


class TestWhatProvidersAreAskedWith:
    async def test_keeps_no_cookie_from_one_user_to_the_next(self, browser: Browser, provider: Provider) -> None:
        for _ in range(2):
            assert (await browser.sign_in(provider)).status_code == 200
        assert [call.request.headers.get("cookie") for call in provider.router.calls] == [None] * provider.asked

    async def test_verifies_certificates_follows_no_redirect_and_gives_up(self) -> None:
        async with ours.open_http() as http:
            transport = http._transport
            assert isinstance(transport, httpx.AsyncHTTPTransport)
            context = transport._pool._ssl_context
            assert context is not None
            assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
            assert not http.follow_redirects
            assert None not in http.timeout.as_dict().values()


class TestAServiceThatIsRegisteredWithNone:
    @pytest.fixture
    def rest_settings(self, rest_settings: RestSettings) -> RestSettings:
        return rest_settings.model_copy(update={"github_client_id": None, "google_client_id": None})

    @pytest.mark.parametrize("path", ["/auth/github/authorize", "/auth/google/callback", "/users/me/logins"])
    async def test_has_no_such_address(self, browser: Browser, path: str) -> None:
        assert problem(await browser.client.get(f"/api/v1{path}")) == (404, "not-found")

    async def test_does_not_tell_of_it(self, app: FastAPI) -> None:
        paths = app.openapi()["paths"]
        assert not [path for path in paths if "github" in path or "google" in path or "logins" in path]


class TestAServiceThatIsRegisteredWithOne:
    @pytest.fixture
    def rest_settings(self, rest_settings: RestSettings) -> RestSettings:
        return rest_settings.model_copy(update={"google_client_id": None})

    async def test_signs_in_with_that_one(self, browser: Browser, github: GitHub) -> None:
        assert (await browser.sign_in(github)).status_code == 200
        assert problem(await browser.client.get("/api/v1/auth/google/authorize")) == (404, "not-found")


class TestTheDocument:
    def test_tells_what_each_can_answer(self, app: FastAPI) -> None:
        answers = {
            operation["operationId"]: set(operation["responses"])
            for path, methods in app.openapi()["paths"].items()
            for operation in methods.values()
            if "/auth/git" in path or "/auth/goo" in path or "logins" in path
        }
        away, back = {"200", "503"}, {"200", "400", "403", "409", "422", "429", "502", "503"}
        assert answers == {
            "authorizeWithGitHub": away,
            "authorizeWithGoogle": away,
            "signInWithGitHub": back,
            "signInWithGoogle": back,
            "listLogins": {"200", "401", "403", "503"},
            "unlinkLogin": {"204", "400", "401", "403", "404", "413", "415", "422", "429", "503"},
        }

    def test_describes_every_parameter(self, app: FastAPI) -> None:
        for provider in ("github", "google"):
            parameters = app.openapi()["paths"][f"/api/v1/auth/{provider}/callback"]["get"]["parameters"]
            assert {each["name"] for each in parameters} == {"code", "state", "error"}
            assert all(each["description"] for each in parameters)


async def test_a_program_takes_no_login_away(app: FastAPI, ada: Person, browser: Browser) -> None:
    body = {"name": "reader", "scopes": ["books:read"], "current_password": PASSWORD}
    made = await ada.call("POST", "/users/me/tokens", json=body)
    assert made.status_code == 201, made.text
    answer = await ada.call("GET", "/users/me/logins", token=made.json()["token"])
    assert problem(answer) == (403, "insufficient-scope")
