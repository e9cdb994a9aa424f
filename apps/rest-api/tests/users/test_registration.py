"""Who gets an account, who may sign in with it, and what they may do."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from rest_api.app import create_app
from rest_api.settings import RestSettings
from rest_api.users.problems import BadCredentials
from rest_api.users.services import AccountServices
from support.mailbox import Mailbox
from support.people import PASSWORD, Person, log_in

pytestmark = pytest.mark.usefixtures("quick_hashing")

ANOTHER = "staple battery horse"
A_BOOK = {"title": "Middlemarch", "author": "George Eliot", "publication_date": "1871-12-01"}


def problem(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["type"].removeprefix("urn:colophon:")


@asynccontextmanager
async def service(settings: RestSettings, **changes: Any) -> AsyncIterator[tuple[FastAPI, httpx.AsyncClient]]:
    app = create_app(settings.model_copy(update=changes))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield app, client


async def a_superuser(app: FastAPI, client: httpx.AsyncClient) -> Person:
    services: AccountServices = app.state.account_services
    email = "root@example.org"
    hashed = await services.manager._hash(PASSWORD, email)
    rights = {"is_superuser": True, "is_verified": True}
    user = await services.users.add({"email": email, "hashed_password": hashed, **rights})
    person = Person(client, user.id, email, PASSWORD)
    await person.sign_in()
    return person


async def invite(superuser: Person, email: str, password: str = PASSWORD, **more: Any) -> httpx.Response:
    return await superuser.call("POST", "/users", json={"email": email, "current_password": password, **more})


class TestTheSetting:
    @pytest.mark.parametrize(
        ("registration", "smtp_url", "expected"),
        [
            pytest.param(None, None, "open", id="no-mails"),
            pytest.param(None, "smtp://mail.example.org", "confirmed", id="mails"),
            pytest.param("open", "smtp://mail.example.org", "open", id="open"),
            pytest.param("confirmed", None, "confirmed", id="confirmed"),
            pytest.param("closed", None, "closed", id="closed"),
        ],
    )
    def test_is_what_can_be_kept_unless_it_is_said(
        self, rest_settings: RestSettings, registration: str | None, smtp_url: str | None, expected: str
    ) -> None:
        settings = rest_settings.model_copy(update={"registration": registration, "smtp_url": smtp_url})
        assert settings.who_registers() == expected


class TestConfirmed:
    async def test_signs_nobody_in_who_has_not_confirmed_the_address(
        self, rest_settings: RestSettings, mailbox: Mailbox
    ) -> None:
        async with service(rest_settings, registration="confirmed") as (_, client):
            ada = await Person.register(client)
            assert problem(await log_in(client, ada.email, PASSWORD)) == (403, "email-not-confirmed")
            assert problem(await log_in(client, ada.email, ANOTHER)) == (400, "bad-credentials")
            assert (await ada.confirm(await mailbox.verification_token(ada.email))).status_code == 200
            assert (await log_in(client, ada.email, PASSWORD)).status_code == 200

    async def test_begins_no_session_for_who_lost_the_confirmation_meanwhile(self, rest_settings: RestSettings) -> None:
        async with service(rest_settings, registration="confirmed") as (app, client):
            ada = await Person.register(client)
            services: AccountServices = app.state.account_services
            as_it_was = await services.users.change(ada.id, {"is_verified": True}, decided_on={"id": ada.id})
            await services.users.change(ada.id, {"is_verified": False}, decided_on={"id": ada.id})
            with pytest.raises(BadCredentials):
                await services.strategy.begin(as_it_was)
            assert await services.sessions.of(ada.id) == []


class TestClosed:
    async def test_registers_nobody(self, rest_settings: RestSettings, mailbox: Mailbox) -> None:
        async with service(rest_settings, registration="closed") as (_, client):
            body = {"email": "ada@example.org", "password": PASSWORD}
            answer = await client.post("/api/v1/auth/register", json=body)
            assert problem(answer) == (403, "registration-closed")
        assert mailbox.messages == []

    async def test_lets_superusers_invite_who_then_chooses_a_password(
        self, rest_settings: RestSettings, mailbox: Mailbox
    ) -> None:
        async with service(rest_settings, registration="closed") as (app, client):
            root = await a_superuser(app, client)
            answer = await invite(root, "ada@example.org", role="reader")
            assert answer.status_code == 201, answer.text
            assert (answer.json()["role"], answer.json()["is_verified"]) == ("reader", True)
            assert problem(await invite(root, "ADA@example.org")) == (409, "email-taken")
            token = await mailbox.token_of("ada@example.org", "You have an account in the book catalogue")
            proof = {"token": token, "password": ANOTHER}
            assert (await client.post("/api/v1/auth/reset-password", json=proof)).status_code == 204
            assert (await log_in(client, "ada@example.org", ANOTHER)).status_code == 200
            assert problem(await client.post("/api/v1/auth/reset-password", json=proof)) == (400, "bad-reset-link")

    async def test_takes_the_superusers_own_password_for_that(self, rest_settings: RestSettings) -> None:
        async with service(rest_settings, registration="closed") as (app, client):
            root = await a_superuser(app, client)
            assert problem(await invite(root, "ada@example.org", ANOTHER)) == (403, "wrong-password")

    async def test_lets_nobody_else_invite(self, ada: Person) -> None:
        assert problem(await invite(ada, "eve@example.org")) == (403, "not-superuser")


class TestRoles:
    @pytest.mark.parametrize("role", ["reader", "editor"])
    async def test_of_who_registers_is_the_one_that_is_set(self, rest_settings: RestSettings, role: str) -> None:
        async with service(rest_settings, default_role=role) as (_, client):
            ada = await Person.register(client)
            await ada.sign_in()
            assert (await ada.call("GET", "/users/me")).json()["role"] == role
            assert (await ada.call("GET", "/books")).status_code == 200
            answer = await ada.call("POST", "/books", json=A_BOOK)
            if role == "reader":
                assert problem(answer) == (403, "insufficient-role")
            else:
                assert answer.status_code == 201

    async def test_are_given_and_taken_by_superusers_at_once(self, ada: Person, superuser: Person) -> None:
        body = {"name": "export", "scopes": ["books:read", "books:write"], "current_password": PASSWORD}
        program = (await ada.call("POST", "/users/me/tokens", json=body)).json()["token"]
        path = f"/users/{ada.id}"
        seen = []
        for role in ("reader", "editor", "admin", "reader"):
            change = {"role": role, "current_password": PASSWORD}
            answer = await superuser.call("PATCH", path, json=change)
            assert (answer.status_code, answer.json()["role"]) == (200, role)
            seen.append(
                (
                    (await ada.call("POST", "/books", json=A_BOOK)).status_code,
                    (await ada.call("POST", "/books", json=A_BOOK, token=program)).status_code,
                    (await ada.call("GET", "/users")).status_code,
                )
            )
        assert seen == [(403, 403, 403), (201, 201, 403), (201, 201, 200), (403, 403, 403)]

    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            pytest.param("POST", "/books", A_BOOK, id="create"),
            pytest.param("POST", "/books/batch", {"books": [A_BOOK]}, id="create-many"),
            pytest.param("POST", "/books/import", A_BOOK, id="import"),
            pytest.param("PUT", "/books/1", A_BOOK, id="replace"),
            pytest.param("PATCH", "/books/1", {"title": "Emma"}, id="change"),
            pytest.param("DELETE", "/books/1", None, id="delete"),
        ],
    )
    async def test_of_readers_open_no_write(
        self, ada: Person, superuser: Person, method: str, path: str, body: dict[str, Any] | None
    ) -> None:
        await superuser.call("PATCH", f"/users/{ada.id}", json={"role": "reader", "current_password": PASSWORD})
        assert problem(await ada.call(method, path, json=body)) == (403, "insufficient-role")

    async def test_of_readers_let_no_program_write(self, ada: Person, superuser: Person) -> None:
        await superuser.call("PATCH", f"/users/{ada.id}", json={"role": "reader", "current_password": PASSWORD})
        for scope, status in (("books:write", 403), ("books:read", 201)):
            body = {"name": "export", "scopes": [scope], "current_password": PASSWORD}
            assert (await ada.call("POST", "/users/me/tokens", json=body)).status_code == status

    async def test_take_the_superusers_own_password(self, ada: Person, superuser: Person) -> None:
        answer = await superuser.call("PATCH", f"/users/{ada.id}", json={"role": "admin"})
        assert problem(answer) == (403, "password-needed")

    async def test_are_named_once(self, ada: Person, superuser: Person) -> None:
        change = {"role": "admin", "is_superuser": False, "current_password": PASSWORD}
        answer = await superuser.call("PATCH", f"/users/{ada.id}", json=change)
        assert answer.status_code == 422
        assert "name one of them" in answer.json()["errors"][0]["detail"]

    async def test_of_the_last_superuser_stays(self, superuser: Person) -> None:
        change = {"role": "editor", "current_password": PASSWORD}
        assert problem(await superuser.call("PATCH", f"/users/{superuser.id}", json=change)) == (409, "last-superuser")
