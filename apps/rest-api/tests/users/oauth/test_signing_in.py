"""Signing in with a provider: who is let in, and as whom."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from book_db.accounts.oauth_accounts import ProviderAccount
from fastapi import FastAPI
from rest_api.app import create_app
from rest_api.serving import listen, serving
from rest_api.settings import RestSettings
from rest_api.users.services import AccountServices
from support.mailbox import Mailbox
from support.people import PASSWORD, Person, log_in
from support.providers import ADDRESS, CODE, TOKEN, Browser, Browsers, GitHub, Google, Provider

pytestmark = pytest.mark.usefixtures("quick_hashing")

Rows = Callable[[str], list[tuple[Any, ...]]]

ANOTHER = "staple battery horse"


def problem(answer: httpx.Response) -> tuple[int, str]:
    """What a problem document says: status and type."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    assert answer.json()["status"] == answer.status_code
    assert "{" not in answer.json()["detail"]
    return answer.status_code, answer.json()["type"].removeprefix("urn:colophon:")


class TestBeginning:
    async def test_sends_the_browser_away_with_a_state_and_a_challenge(
        self, browser: Browser, provider: Provider
    ) -> None:
        away = (await browser.begin(provider)).parameters
        assert away["redirect_uri"] == f"https://books.example.org/catalogue/api/v1/auth/{provider.name}/callback"
        assert away["client_id"] == f"colophon-at-{provider.name}"
        assert (away["response_type"], away["code_challenge_method"]) == ("code", "S256")
        assert away["scope"] == {"github": "user:email", "google": "openid email"}[provider.name]

    async def test_ties_the_state_to_the_browser(self, browser: Browser, provider: Provider) -> None:
        answer = await browser.client.get(f"/api/v1/auth/{provider.name}/authorize")
        name, _, attributes = answer.headers["set-cookie"].partition("=")
        assert name == f"__Host-sign-in-{provider.name}"
        said = {each.strip() for each in attributes.split(";")[1:]}
        assert said == {"HttpOnly", "Secure", "SameSite=lax", "Path=/", "Max-Age=3600"}
        assert answer.headers["cache-control"] == "no-store"

    async def test_does_so_without_tls_too_where_people_come_without(self, rest_settings: RestSettings) -> None:
        app = create_app(rest_settings.model_copy(update={"public_url": "http://127.0.0.1:8000"}))
        async with app.router.lifespan_context(app), Browser(app).client as client:
            cookie = (await client.get("/api/v1/auth/github/authorize")).headers["set-cookie"]
        assert cookie.startswith("sign-in-github=")
        assert "Secure" not in cookie

    async def test_asks_the_provider_nothing(self, browser: Browser, provider: Provider) -> None:
        await browser.begin(provider)
        assert provider.asked == 0


class TestTheFirstTime:
    async def test_makes_an_account_whose_address_is_confirmed(self, browser: Browser, provider: Provider) -> None:
        me = await browser.me(await browser.sign_in(provider))
        assert (me["email"], me["is_verified"], me["is_superuser"]) == (ADDRESS, True, False)

    async def test_is_answered_like_a_password(self, browser: Browser, provider: Provider, ada: Person) -> None:
        password = await log_in(browser.client, ada.email, PASSWORD)
        answer = await browser.sign_in(provider)
        assert answer.json().keys() == password.json().keys()
        assert answer.headers["cache-control"] == "no-store"
        refresh = {"refresh_token": answer.json()["refresh_token"]}
        assert (await browser.client.post("/api/v1/auth/refresh", json=refresh)).status_code == 200

    async def test_is_a_session_like_any(self, browser: Browser, provider: Provider, rows: Rows) -> None:
        answer = await browser.sign_in(provider)
        assert rows("SELECT count(*), count(ended_at) FROM sessions") == [(1, 0)]
        assert (await browser.call("POST", "/auth/logout", answer)).status_code == 204
        assert (await browser.call("GET", "/users/me", answer)).status_code == 401

    async def test_leaves_a_password_that_nobody_knows_until_one_is_chosen_by_mail(
        self, browser: Browser, provider: Provider, mailbox: Mailbox
    ) -> None:
        await browser.sign_in(provider)
        assert problem(await log_in(browser.client, ADDRESS, PASSWORD)) == (400, "bad-credentials")
        await browser.client.post("/api/v1/auth/forgot-password", json={"email": ADDRESS})
        proof = {"token": await mailbox.reset_token(ADDRESS), "password": PASSWORD}
        assert (await browser.client.post("/api/v1/auth/reset-password", json=proof)).status_code == 204
        assert (await log_in(browser.client, ADDRESS, PASSWORD)).status_code == 200

    async def test_keeps_no_token_of_the_provider(self, browser: Browser, provider: Provider, rows: Rows) -> None:
        await browser.sign_in(provider)
        links = rows("SELECT to_jsonb(oauth_accounts)::text FROM oauth_accounts")
        assert len(links) == 1
        assert TOKEN not in str(links)

    async def test_takes_the_address_in_the_one_form(self, browser: Browser, provider: Provider) -> None:
        provider.recognises(1, "re\u0301ne\u0301e@EXAMPLE.org")
        assert (await browser.me(await browser.sign_in(provider)))["email"] == "rénée@example.org"

    async def test_makes_one_user_and_one_link_of_20_at_a_time(
        self, browsers: Browsers, provider: Provider, rows: Rows
    ) -> None:
        answers = await asyncio.gather(*(browsers().sign_in(provider) for _ in range(20)))
        assert Counter(answer.status_code for answer in answers) == {200: 20}
        users, links = rows("SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM oauth_accounts)")[0]
        print(f"20 first sign-ins at once with {provider.title}: {users} user, {links} link")
        assert (users, links) == (1, 1)

    async def test_makes_one_user_of_two_providers_at_a_time(
        self, browsers: Browsers, github: GitHub, google: Google, rows: Rows
    ) -> None:
        answers = await asyncio.gather(*(browsers().sign_in(each) for each in (github, google) * 5))
        assert Counter(answer.status_code for answer in answers) == {200: 10}
        assert rows("SELECT count(DISTINCT user_id), count(*) FROM oauth_accounts") == [(1, 2)]


class TestAnAccountThatIsKnown:
    @pytest.mark.parametrize(
        ("email", "verified"),
        [
            pytest.param("lovelace@example.org", True, id="another"),
            pytest.param(ADDRESS, False, id="unverified"),
            pytest.param(None, False, id="none"),
            pytest.param("no address", True, id="no-address"),
        ],
    )
    async def test_is_the_same_user_whatever_its_address_is_now(
        self, browser: Browser, provider: Provider, email: str | None, verified: bool
    ) -> None:
        first = await browser.me(await browser.sign_in(provider))
        provider.recognises(1, email, verified=verified)
        assert await browser.me(await browser.sign_in(provider)) == first

    async def test_is_not_the_user_who_has_its_address(self, browser: Browser, provider: Provider) -> None:
        provider.recognises(2, "grace@example.org")
        grace = await browser.me(await browser.sign_in(provider))
        provider.recognises(1)
        ada = await browser.me(await browser.sign_in(provider))
        provider.recognises(1, "grace@example.org")
        assert (await browser.me(await browser.sign_in(provider)))["id"] == ada["id"] != grace["id"]

    async def test_makes_a_new_user_when_the_old_one_is_gone(
        self, browser: Browser, provider: Provider, services: AccountServices, rows: Rows
    ) -> None:
        first = await browser.me(await browser.sign_in(provider))
        await services.users.remove(first["id"])
        assert rows("SELECT count(*) FROM oauth_accounts") == [(0,)]
        assert (await browser.me(await browser.sign_in(provider)))["id"] != first["id"]

    async def test_refuses_a_deactivated_user(
        self, browser: Browser, provider: Provider, services: AccountServices
    ) -> None:
        me = await browser.me(await browser.sign_in(provider))
        await services.users.change(me["id"], {"is_active": False}, decided_on={"id": me["id"]})
        assert problem(await browser.sign_in(provider)) == (403, "account-inactive")


class TestAUserWithTheSameAddress:
    async def test_is_signed_in_if_it_is_confirmed(
        self, browser: Browser, provider: Provider, ada: Person, services: AccountServices
    ) -> None:
        await services.users.change(ada.id, {"is_verified": True}, decided_on={"id": ada.id})
        provider.recognises(1, ada.email.upper())
        assert (await browser.me(await browser.sign_in(provider)))["id"] == str(ada.id)
        provider.recognises(1, "lovelace@example.org")
        assert (await browser.me(await browser.sign_in(provider)))["id"] == str(ada.id)
        assert (await log_in(browser.client, ada.email, PASSWORD)).status_code == 200

    async def test_is_not_signed_in_if_it_is_not(
        self, browser: Browser, provider: Provider, ada: Person, rows: Rows
    ) -> None:
        provider.recognises(1, ada.email)
        answer = await browser.sign_in(provider)
        assert problem(answer) == (409, "email-not-confirmed")
        assert "/api/v1/auth/forgot-password" in answer.json()["detail"]
        assert rows("SELECT is_verified, (SELECT count(*) FROM oauth_accounts) FROM users") == [(False, 0)]

    async def test_can_be_taken_from_its_maker_by_the_owner_of_the_address(
        self, browser: Browser, provider: Provider, ada: Person, mailbox: Mailbox
    ) -> None:
        """What the problem says is done, step by step; `ada` is the one who came before the owner."""
        provider.recognises(1, ada.email)
        assert problem(await browser.sign_in(provider)) == (409, "email-not-confirmed")
        post = browser.client.post
        await post("/api/v1/auth/forgot-password", json={"email": ada.email})
        proof = {"token": await mailbox.reset_token(ada.email), "password": ANOTHER}
        assert (await post("/api/v1/auth/reset-password", json=proof)).status_code == 204
        await post("/api/v1/auth/request-verify-token", json={"email": ada.email})
        proof = {"token": await mailbox.verification_token(ada.email), "current_password": ANOTHER}
        assert (await post("/api/v1/auth/verify", json=proof)).status_code == 200
        assert (await browser.me(await browser.sign_in(provider)))["id"] == str(ada.id)
        assert (await ada.call("GET", "/users/me")).status_code == 401
        assert (await log_in(browser.client, ada.email, PASSWORD)).status_code == 400

    async def test_refuses_a_deactivated_user(
        self, browser: Browser, provider: Provider, ada: Person, services: AccountServices, rows: Rows
    ) -> None:
        await services.users.change(ada.id, {"is_verified": True, "is_active": False}, decided_on={"id": ada.id})
        provider.recognises(1, ada.email)
        assert problem(await browser.sign_in(provider)) == (403, "account-inactive")
        assert rows("SELECT count(*) FROM oauth_accounts") == [(0,)]


class TestTheTrail:
    async def test_tells_who_came_with_which_provider_and_what_was_linked(
        self,
        browser: Browser,
        browsers: Browsers,
        provider: Provider,
        ada: Person,
        services: AccountServices,
        rows: Rows,
    ) -> None:
        await services.users.change(ada.id, {"is_verified": True}, decided_on={"id": ada.id})
        provider.recognises(1, ada.email)
        for _ in range(2):
            await browser.sign_in(provider)
        provider.recognises(2, "lovelace@example.org")
        await browsers().sign_in(provider)
        found = rows(
            "SELECT kind, outcome, session_id IS NULL, user_id FROM account_events WHERE detail IS NOT NULL ORDER BY id"
        )
        assert [(kind, outcome, nothing) for kind, outcome, nothing, _ in found] == [
            ("login-linked", "done", False),
            ("signed-in", "done", False),
            ("signed-in", "done", False),
            ("registered", "done", False),
            ("signed-in", "done", False),
        ]
        assert [user_id == ada.id for *_, user_id in found] == [True, True, True, False, False]


class TestWhereAccountsAreMadeByInvitation:
    @pytest.fixture
    def rest_settings(self, rest_settings: RestSettings) -> RestSettings:
        return rest_settings.model_copy(update={"registration": "closed"})

    async def test_a_newcomer_gets_none(self, browser: Browser, provider: Provider, rows: Rows) -> None:
        assert problem(await browser.sign_in(provider)) == (403, "registration-closed")
        assert rows("SELECT count(*) FROM users") == [(0,)]

    async def test_an_invited_user_signs_in(
        self, browser: Browser, provider: Provider, services: AccountServices
    ) -> None:
        user = await services.manager.invite(ADDRESS, None)
        assert (await browser.me(await browser.sign_in(provider)))["id"] == str(user.id)


class TestTheAddress:
    @pytest.mark.parametrize(
        ("email", "verified"), [pytest.param(ADDRESS, False, id="unverified"), pytest.param(None, False, id="none")]
    )
    async def test_must_be_verified_by_the_provider(
        self, browser: Browser, provider: Provider, rows: Rows, email: str | None, verified: bool
    ) -> None:
        """At GitHub the profile shows a public address, and there is a verified one that is not the primary one."""
        provider.recognises(1, email, verified=verified)
        assert problem(await browser.sign_in(provider)) == (400, "no-verified-email")
        assert rows("SELECT count(*) FROM users") == [(0,)]

    @pytest.mark.parametrize(
        "email",
        [
            pytest.param("ada", id="no-domain"),
            pytest.param("ada\0@example.org", id="null-character"),
            pytest.param(f"{'a' * 250}@example.org", id="too-long"),
        ],
    )
    async def test_must_be_one_that_registers_too(
        self, browser: Browser, provider: Provider, rows: Rows, email: str
    ) -> None:
        provider.recognises(1, email)
        assert problem(await browser.sign_in(provider)) == (400, "unusable-email")
        assert rows("SELECT count(*) FROM users") == [(0,)]


class TestLogins:
    async def test_are_listed_with_the_address_they_had_last(
        self, browser: Browser, github: GitHub, google: Google
    ) -> None:
        await browser.sign_in(github)
        await browser.sign_in(google)
        github.recognises(1, "lovelace@example.org")
        answer = await browser.sign_in(github)
        logins = (await browser.call("GET", "/users/me/logins", answer)).json()["logins"]
        assert [(each["provider"], each["account_email"]) for each in logins] == [
            ("github", "lovelace@example.org"),
            ("google", ADDRESS),
        ]
        assert logins[0].keys() == {"id", "provider", "account_email", "created_at"}

    async def test_sign_in_no_more_when_they_are_taken_away(
        self, browser: Browser, provider: Provider, services: AccountServices
    ) -> None:
        me = await browser.me(await browser.sign_in(provider))
        await services.manager.change_other(me["id"], {"password": PASSWORD})
        answer = await log_in(browser.client, me["email"], PASSWORD)
        await services.oauth_accounts.link(me["id"], ProviderAccount(provider.name, "1", me["email"]))
        [login] = (await browser.call("GET", "/users/me/logins", answer)).json()["logins"]
        path = f"/users/me/logins/{login['id']}/unlink"
        refused = await browser.call("POST", path, answer, json={"current_password": ANOTHER})
        assert problem(refused) == (403, "wrong-password")
        proof = {"current_password": PASSWORD}
        assert (await browser.call("POST", path, answer, json=proof)).status_code == 204
        assert (await browser.call("GET", "/users/me/logins", answer)).json() == {"logins": []}
        provider.recognises(1, "lovelace@example.org")
        assert (await browser.me(await browser.sign_in(provider)))["email"] == "lovelace@example.org"

    async def test_are_nobody_elses(self, browser: Browser, provider: Provider, ada: Person) -> None:
        answer = await browser.sign_in(provider)
        [login] = (await browser.call("GET", "/users/me/logins", answer)).json()["logins"]
        assert (await ada.call("GET", "/users/me/logins")).json() == {"logins": []}
        unlink = ada.call("POST", f"/users/me/logins/{login['id']}/unlink", json={"current_password": PASSWORD})
        assert problem(await unlink) == (404, "login-not-found")
        assert len((await browser.call("GET", "/users/me/logins", answer)).json()["logins"]) == 1

    async def test_are_for_those_who_are_signed_in(self, browser: Browser) -> None:
        assert problem(await browser.client.get("/api/v1/users/me/logins")) == (401, "unauthenticated")


async def test_the_access_log_does_not_tell_the_code(
    rest_settings: RestSettings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "uvicorn.access")
    with listen("127.0.0.1", 0, "REST_PORT") as listening:
        async with (
            serving(rest_settings.model_copy(update={"access_log": True}), listening),
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}") as client,
        ):
            await client.get("/api/v1/auth/github/callback", params={"code": CODE, "state": "a.b.c"})
            await client.get("/healthz/live", params={"shown": "still"})
    told = [record.getMessage() for record in caplog.records if record.name == "uvicorn.access"]
    assert len(told) == 2
    assert "/api/v1/auth/github/callback HTTP/1.1" in told[0]
    assert "/healthz/live?shown=still" in told[1]


async def test_the_code_goes_to_the_provider_and_nowhere_else(
    browser: Browser, provider: Provider, app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    answer = await browser.sign_in(provider)
    assert answer.status_code == 200
    for secret in (CODE, TOKEN, answer.json()["access_token"], answer.json()["refresh_token"]):
        # httpx of the test's own browser tells where it went.
        told = [record.getMessage() for record in caplog.records if "books.example.org" not in record.getMessage()]
        assert secret not in "\n".join(told)
