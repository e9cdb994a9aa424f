"""Whoever gets an account back has it alone: no login of an account at a provider outlives that."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from rest_api.users.services import AccountServices
from support.mailbox import Mailbox
from support.people import PASSWORD, Person, log_in
from support.providers import ADDRESS, Browser, Browsers, GitHub, Google, Provider

pytestmark = pytest.mark.usefixtures("quick_hashing")

Rows = Callable[[str], list[tuple[Any, ...]]]

VICTIMS = "victim@example.org"
THIEFS = "evil@example.com"
NEW = "staple battery horse"


class Thief:
    """Somebody with an account at a provider, and a user of their own who has come to have another address."""

    def __init__(self, browser: Browser, provider: Provider, user: dict[str, Any], session: Person) -> None:
        self.browser = browser
        self.provider = provider
        self.user = user
        self.session = session

    async def sign_in(self) -> httpx.Response:
        self.provider.recognises(666, THIEFS)
        return await self.browser.sign_in(self.provider)

    async def is_in(self) -> bool:
        """Whether the account at the provider signs them in as the user whom they have had."""
        answer = await self.sign_in()
        return answer.status_code == 200 and (await self.browser.me(answer))["id"] == self.user["id"]


async def choose_password(client: httpx.AsyncClient, mailbox: Mailbox, email: str, password: str) -> None:
    await client.post("/api/v1/auth/forgot-password", json={"email": email})
    proof = {"token": await mailbox.reset_token(email), "password": password}
    assert (await client.post("/api/v1/auth/reset-password", json=proof)).status_code == 204


@pytest.fixture
async def thief(browsers: Browsers, google: Google, services: AccountServices, rows: Rows) -> Thief:
    """Who has linked an account at a provider to the user."""
    browser = browsers()
    google.recognises(666, THIEFS)
    user = await browser.me(await browser.sign_in(google))
    await services.manager.change_other(user["id"], {"password": PASSWORD})
    thief = Thief(browser, google, user, Person(browser.client, user["id"], THIEFS, PASSWORD))
    assert await thief.is_in()
    await thief.session.sign_in()
    assert rows("SELECT account_email FROM oauth_accounts") == [(THIEFS,)]
    return thief


Recovery = Callable[[httpx.AsyncClient, Mailbox, AccountServices, Any, Person], Awaitable[object]]


async def resets(
    client: httpx.AsyncClient, mailbox: Mailbox, services: AccountServices, user_id: Any, _: Person
) -> None:
    await choose_password(client, mailbox, (await services.manager.get(user_id)).email, NEW)


async def has_a_password_set(_: Any, __: Any, ___: Any, user_id: Any, superuser: Person) -> None:
    change = {"password": NEW, "current_password": PASSWORD}
    answer = await superuser.call("PATCH", f"/users/{user_id}", json=change)
    assert answer.status_code == 200, answer.text


async def is_put_out_and_let_in_again(_: Any, __: Any, ___: Any, user_id: Any, superuser: Person) -> None:
    for is_active in (False, True):
        answer = await superuser.call("PATCH", f"/users/{user_id}", json={"is_active": is_active})
        assert answer.status_code == 200, answer.text


class TestALogin:
    @pytest.mark.parametrize("recover", [resets, has_a_password_set, is_put_out_and_let_in_again])
    async def test_does_not_outlive_a_recovery(
        self,
        thief: Thief,
        anonymous: httpx.AsyncClient,
        mailbox: Mailbox,
        services: AccountServices,
        superuser: Person,
        rows: Rows,
        recover: Recovery,
    ) -> None:
        await recover(anonymous, mailbox, services, thief.user["id"], superuser)
        assert rows("SELECT count(*) FROM oauth_accounts") == [(0,)]
        assert (await thief.session.call("GET", "/users/me")).status_code == 401

    async def test_of_another_address_does_not_outlive_a_change_of_address(
        self, thief: Thief, mailbox: Mailbox, rows: Rows
    ) -> None:
        change = {"email": VICTIMS, "current_password": PASSWORD}
        assert (await thief.session.call("PATCH", "/users/me", json=change)).status_code == 200
        assert await thief.is_in()
        assert (await thief.session.confirm(await mailbox.verification_token(VICTIMS))).status_code == 200
        assert rows("SELECT count(*) FROM oauth_accounts") == [(0,)]
        assert not await thief.is_in()

    async def test_of_the_same_address_does(
        self, browser: Browser, provider: Provider, services: AccountServices, rows: Rows
    ) -> None:
        me = await browser.me(await browser.sign_in(provider))
        await services.manager.change_other(me["id"], {"password": PASSWORD})
        assert (await browser.me(await browser.sign_in(provider)))["id"] == me["id"]
        ada = Person(browser.client, me["id"], ADDRESS, PASSWORD)
        await ada.sign_in()
        change = {"email": ADDRESS.upper(), "current_password": PASSWORD}
        assert (await ada.call("PATCH", "/users/me", json=change)).status_code == 200
        assert rows("SELECT account_email FROM oauth_accounts") == [(ADDRESS,)]

    async def test_does_not_lead_to_an_address_that_its_owner_has_not_confirmed(
        self, thief: Thief, browser: Browser, github: GitHub, mailbox: Mailbox
    ) -> None:
        """Who asks for the address of another has nothing of it, and its owner has an account of their own."""
        change = {"email": VICTIMS, "current_password": PASSWORD}
        assert (await thief.session.call("PATCH", "/users/me", json=change)).status_code == 200
        github.recognises(1, VICTIMS)
        assert (await browser.me(await browser.sign_in(github)))["id"] != thief.user["id"]
        answer = await thief.session.confirm(await mailbox.verification_token(VICTIMS))
        assert (answer.status_code, answer.json()["type"]) == (409, "urn:colophon:email-taken")

    async def test_does_not_outlive_an_owner_who_moves_in(
        self,
        thief: Thief,
        browser: Browser,
        github: GitHub,
        anonymous: httpx.AsyncClient,
        mailbox: Mailbox,
        services: AccountServices,
    ) -> None:
        """The steps of the problem `email-not-confirmed`, which promise that it shuts out who came before: somebody for
        whom an older release has put the address in force.
        """
        theirs = {"email": VICTIMS, "is_verified": False}
        await services.users.change(thief.user["id"], theirs, decided_on={"id": thief.user["id"]})
        github.recognises(1, VICTIMS)
        assert (await browser.sign_in(github)).json()["type"] == "urn:colophon:email-not-confirmed"
        await choose_password(anonymous, mailbox, VICTIMS, NEW)
        await anonymous.post("/api/v1/auth/request-verify-token", json={"email": VICTIMS})
        proof = {"token": await mailbox.verification_token(VICTIMS), "current_password": NEW}
        assert (await anonymous.post("/api/v1/auth/verify", json=proof)).status_code == 200
        github.recognises(1, VICTIMS)
        assert (await browser.me(await browser.sign_in(github)))["id"] == thief.user["id"]
        assert not await thief.is_in()
        assert (await log_in(anonymous, VICTIMS, PASSWORD)).status_code == 400
        assert (await thief.session.call("GET", "/users/me")).status_code == 401
