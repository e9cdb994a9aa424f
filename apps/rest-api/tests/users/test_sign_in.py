import asyncio
import base64
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import jwt
import pytest
from pwdlib.hashers.argon2 import Argon2Hasher
from rest_api.app import create_app
from rest_api.settings import RestSettings
from rest_api.users.keys import rotate_keys
from rest_api.users.problems import BadCredentials
from rest_api.users.services import AccountServices
from support.mailbox import Mailbox
from support.people import PASSWORD, Person, log_in
from support.waiting import patience, until

pytestmark = pytest.mark.usefixtures("quick_hashing")

ANOTHER = "staple battery horse"
DEEP = base64.urlsafe_b64encode(b"[" * 740).decode().rstrip("=") + ".e30.e30"

NOBODY = UUID("7c1e1a52-3d5c-4a43-9f69-6e5f4d3c2b1a")
"""An id that no user has."""


async def register(client: httpx.AsyncClient, **changed: Any) -> httpx.Response:
    body = {"email": f"{uuid4().hex}@example.org", "password": PASSWORD} | changed
    return await client.post("/api/v1/auth/register", json=body)


Problem = tuple[int, str, list[dict[str, str]]]


def problem(answer: httpx.Response) -> Problem:
    """What a problem document says: status, type, errors."""
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["status"] == answer.status_code
    assert document["detail"]
    return answer.status_code, document["type"].removeprefix("urn:colophon:"), document.get("errors", [])


class TestRegister:
    async def test_gives_an_account_that_may_do_little(self, anonymous: httpx.AsyncClient) -> None:
        answer = await register(anonymous, email="ada@example.org")
        assert answer.status_code == 201
        user = answer.json()
        assert user.keys() == {
            "id",
            "email",
            "new_email",
            "role",
            "is_active",
            "is_superuser",
            "is_verified",
            "created_at",
        }
        assert user["email"] == "ada@example.org"
        assert (user["is_active"], user["is_superuser"], user["is_verified"]) == (True, False, False)
        assert user["role"] == "editor"

    async def test_stores_an_argon2_hash_and_nothing_else_of_the_password(
        self, anonymous: httpx.AsyncClient, services: AccountServices
    ) -> None:
        await register(anonymous, email="ada@example.org")
        user = await services.users.by_email("ada@example.org")
        assert user is not None
        assert user.hashed_password.startswith("$argon2id$")

    async def test_brings_the_address_into_one_form(self, anonymous: httpx.AsyncClient) -> None:
        answer = await register(anonymous, email="re\u0301ne\u0301e@EXAMPLE.org")
        assert answer.json()["email"] == "rénée@example.org"

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            pytest.param("ada@example.org", "ada@example.org", id="same"),
            pytest.param("ada@example.org", "ADA@Example.ORG", id="other-case"),
            pytest.param("ren\u00e9e@example.org", "rene\u0301e@example.org", id="other-normal-form"),
            pytest.param("RENÉE@example.org", "renée@example.org", id="other-case-with-accent"),
            pytest.param("ada@bücher.example", "ada@xn--bcher-kva.example", id="domain-in-ascii"),
        ],
    )
    async def test_takes_an_address_once(self, anonymous: httpx.AsyncClient, first: str, second: str) -> None:
        assert (await register(anonymous, email=first)).status_code == 201
        assert problem(await register(anonymous, email=second)) == (409, "email-taken", [])

    async def test_takes_an_address_once_from_20_at_a_time(self, anonymous: httpx.AsyncClient) -> None:
        answers = await asyncio.gather(*(register(anonymous, email="ada@example.org") for _ in range(20)))
        assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 19}

    @pytest.mark.parametrize(
        ("changed", "pointer"),
        [
            pytest.param({"email": "ada"}, "/email", id="no-address"),
            pytest.param({"password": "eleven char"}, "/password", id="short-password"),
            pytest.param(
                {"email": "ada.lovelace@example.org", "password": "ADA.lovelace"}, "/password", id="as-address"
            ),
            pytest.param({"is_superuser": True}, "/is_superuser", id="superuser"),
        ],
    )
    async def test_says_what_is_wrong(
        self, anonymous: httpx.AsyncClient, changed: dict[str, Any], pointer: str
    ) -> None:
        status, kind, errors = problem(await register(anonymous, **changed))
        assert (status, kind) == (422, "invalid")
        assert [error["pointer"] for error in errors] == [pointer]
        assert "correct horse" not in errors[0]["detail"]

    async def test_refuses_a_lone_surrogate(self, anonymous: httpx.AsyncClient) -> None:
        answer = await anonymous.post(
            "/api/v1/auth/register",
            content=rb'{"email": "ada@example.org", "password": "correct horse \ud800 battery"}',
            headers={"Content-Type": "application/json"},
        )
        assert problem(answer)[:2] == (422, "invalid")

    async def test_wants_json(self, anonymous: httpx.AsyncClient) -> None:
        answer = await anonymous.post("/api/v1/auth/register", data={"email": "ada@example.org", "password": PASSWORD})
        assert problem(answer) == (415, "not-json", [])


class TestLogin:
    async def test_gives_a_token_that_is_not_to_be_stored_on_its_way(self, ada: Person, anonymous: Any) -> None:
        answer = await log_in(anonymous, ada.email, PASSWORD)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        assert answer.json().keys() == {
            *("access_token", "token_type", "expires_in", "refresh_token", "refresh_expires_in")
        }
        assert (answer.json()["token_type"], answer.json()["expires_in"]) == ("bearer", 900)

    async def test_takes_the_address_in_any_case(self, ada: Person, anonymous: httpx.AsyncClient) -> None:
        assert (await log_in(anonymous, ada.email.upper(), PASSWORD)).status_code == 200

    async def test_takes_what_swagger_sends(self, ada: Person, anonymous: httpx.AsyncClient) -> None:
        form = {"grant_type": "password", "username": ada.email, "password": PASSWORD, "scope": "", "client_id": ""}
        assert (await anonymous.post("/api/v1/auth/login", data=form)).status_code == 200

    async def test_answers_every_bad_pair_alike(self, ada: Person, anonymous: httpx.AsyncClient) -> None:
        answers = [
            await log_in(anonymous, ada.email, "correct horse batterz"),
            await log_in(anonymous, "nobody@example.org", PASSWORD),
            await log_in(anonymous, "not an address", PASSWORD),
            await log_in(anonymous, "nul\0@example.org", PASSWORD),
            await log_in(anonymous, ada.email, "\0"),
            await log_in(anonymous, ada.email, "x" * 50_000),
        ]
        assert {answer.text for answer in answers} == {answers[0].text}
        assert problem(answers[0]) == (400, "bad-credentials", [])

    async def test_refuses_a_deactivated_user(
        self, ada: Person, anonymous: httpx.AsyncClient, services: AccountServices
    ) -> None:
        await services.users.change(ada.id, {"is_active": False}, decided_on={"id": ada.id})
        assert problem(await log_in(anonymous, ada.email, PASSWORD)) == (400, "bad-credentials", [])

    async def test_needs_both_fields(self, anonymous: httpx.AsyncClient) -> None:
        status, _, errors = problem(await anonymous.post("/api/v1/auth/login", data={"username": "ada@example.org"}))
        assert (status, [error["pointer"] for error in errors]) == (422, ["/password"])

    async def test_puts_a_better_hash_in_place_of_one_of_an_older_make(
        self, ada: Person, anonymous: httpx.AsyncClient, services: AccountServices
    ) -> None:
        older = Argon2Hasher(time_cost=2, memory_cost=16, parallelism=1).hash(PASSWORD)
        await services.users.change(ada.id, {"hashed_password": older}, decided_on={"id": ada.id})
        assert (await log_in(anonymous, ada.email, PASSWORD)).status_code == 200
        user = await services.users.get(ada.id)
        assert user is not None
        assert user.hashed_password != older
        assert (await log_in(anonymous, ada.email, PASSWORD)).status_code == 200

    async def test_keeps_a_password_that_changes_while_the_hash_is_made_better(
        self, ada: Person, services: AccountServices
    ) -> None:
        as_it_was = await services.users.get(ada.id)
        assert as_it_was is not None
        changed = await services.manager.change_other(ada.id, {"password": ANOTHER})
        assert await services.manager.user_db.rehash(as_it_was, "a better hash of the old password") is None
        user = await services.users.get(ada.id)
        assert user is not None
        assert user.hashed_password == changed.hashed_password

    async def test_opens_no_session_with_a_password_that_is_changed_meanwhile(
        self, ada: Person, anonymous: httpx.AsyncClient, services: AccountServices
    ) -> None:
        as_it_was = await services.manager.get(ada.id)
        await services.manager.change_other(ada.id, {"password": ANOTHER})
        with pytest.raises(BadCredentials):
            await services.strategy.write_token(as_it_was)

    async def test_leaves_no_session_of_the_old_password_whoever_comes_first(
        self, ada: Person, anonymous: httpx.AsyncClient, services: AccountServices
    ) -> None:
        answers, _ = await asyncio.gather(
            asyncio.gather(*(log_in(anonymous, ada.email, PASSWORD) for _ in range(8))),
            services.manager.change_other(ada.id, {"password": ANOTHER}),
        )
        tokens = [answer.json()["access_token"] for answer in answers if answer.status_code == 200]
        assert {(await ada.call("GET", "/users/me", token=token)).status_code for token in tokens} <= {401}


class TestLogout:
    async def test_ends_the_session_at_once(self, ada: Person) -> None:
        assert (await ada.call("GET", "/users/me")).status_code == 200
        assert (await ada.call("POST", "/auth/logout")).status_code == 204
        assert problem(await ada.call("GET", "/users/me")) == (401, "unauthenticated", [])
        assert (await ada.call("GET", "/books")).status_code == 401
        assert (await ada.call("POST", "/auth/logout")).status_code == 401

    async def test_leaves_other_sessions_alone(self, ada: Person) -> None:
        other = ada.token
        await ada.sign_in()
        await ada.call("POST", "/auth/logout")
        assert (await ada.call("GET", "/users/me", token=other)).status_code == 200


class TestTheGuard:
    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("POST", "/auth/logout"),
            ("GET", "/users/me"),
            ("PATCH", "/users/me"),
            ("GET", "/users/me/sessions"),
            ("DELETE", "/users/me/sessions"),
            ("DELETE", f"/users/me/sessions/{NOBODY}"),
            ("GET", "/users/me/tokens"),
            ("POST", "/users/me/tokens"),
            ("DELETE", f"/users/me/tokens/{NOBODY}"),
            ("GET", "/users"),
            ("GET", f"/users/{NOBODY}"),
            ("PATCH", f"/users/{NOBODY}"),
            ("DELETE", f"/users/{NOBODY}"),
        ],
    )
    async def test_lets_no_stranger_in(self, anonymous: httpx.AsyncClient, method: str, path: str) -> None:
        answer = await anonymous.request(method, f"/api/v1{path}", content=b"{", headers={"Content-Type": "text/html"})
        assert problem(answer) == (401, "unauthenticated", [])
        assert answer.headers["www-authenticate"] == "Bearer"

    async def test_lets_a_token_of_a_removed_user_do_nothing(self, ada: Person, services: AccountServices) -> None:
        user = await services.manager.get(ada.id)
        await services.manager.delete(user)
        assert (await ada.call("GET", "/users/me")).status_code == 401
        assert (await ada.call("GET", "/books")).status_code == 401

    async def test_takes_no_token_of_a_mail_for_an_access_token(self, ada: Person, mailbox: Mailbox) -> None:
        token = await mailbox.verification_token(ada.email)
        assert (await ada.call("GET", "/users/me", token=token)).status_code == 401


async def forget(client: httpx.AsyncClient, email: str) -> httpx.Response:
    return await client.post("/api/v1/auth/forgot-password", json={"email": email})


async def reset(client: httpx.AsyncClient, token: str, password: str = ANOTHER) -> httpx.Response:
    return await client.post("/api/v1/auth/reset-password", json={"token": token, "password": password})


BAD_LINK: Problem = (400, "bad-reset-link", [])


class TestForgotPassword:
    async def test_sends_a_link_that_sets_a_new_password(
        self, ada: Person, anonymous: httpx.AsyncClient, mailbox: Mailbox
    ) -> None:
        answer = await forget(anonymous, ada.email)
        assert (answer.status_code, answer.content) == (202, b"")
        assert (await reset(anonymous, await mailbox.reset_token(ada.email))).status_code == 204
        assert (await log_in(anonymous, ada.email, PASSWORD)).status_code == 400
        assert (await log_in(anonymous, ada.email, ANOTHER)).status_code == 200

    async def test_puts_the_token_where_no_server_sees_it(
        self, ada: Person, anonymous: httpx.AsyncClient, mailbox: Mailbox
    ) -> None:
        await forget(anonymous, ada.email)
        text = (await mailbox.newest(ada.email, "Choose a new password")).get_content()
        token = await mailbox.reset_token(ada.email)
        assert f"https://books.example.org/catalogue/account/reset-password#token={token}" in text.splitlines()

    async def test_answers_the_same_for_whom_it_does_not_know(
        self, ada: Person, anonymous: httpx.AsyncClient, services: AccountServices
    ) -> None:
        known = await forget(anonymous, ada.email)
        await services.users.change(ada.id, {"is_active": False}, decided_on={"id": ada.id})
        for email in ("nobody@example.org", ada.email):
            answer = await forget(anonymous, email)
            assert (answer.status_code, answer.content) == (known.status_code, known.content)
            assert answer.headers == known.headers


class TestResetPassword:
    @pytest.fixture
    async def token(self, ada: Person, anonymous: httpx.AsyncClient, mailbox: Mailbox) -> str:
        await forget(anonymous, ada.email)
        return await mailbox.reset_token(ada.email)

    async def test_works_once(self, anonymous: httpx.AsyncClient, token: str) -> None:
        assert (await reset(anonymous, token)).status_code == 204
        assert problem(await reset(anonymous, token, "a third password")) == BAD_LINK

    async def test_ends_every_session(self, ada: Person, anonymous: httpx.AsyncClient, token: str) -> None:
        assert (await ada.call("GET", "/books")).status_code == 200
        await reset(anonymous, token)
        assert (await ada.call("GET", "/books")).status_code == 401

    async def test_says_what_is_wrong_with_the_password_and_keeps_the_link_good(
        self, anonymous: httpx.AsyncClient, token: str
    ) -> None:
        status, kind, errors = problem(await reset(anonymous, token, "short"))
        assert (status, kind, errors[0]["pointer"]) == (422, "invalid", "/password")
        assert (await reset(anonymous, token)).status_code == 204

    async def test_is_over_when_the_address_has_changed(
        self, ada: Person, anonymous: httpx.AsyncClient, token: str, mailbox: Mailbox
    ) -> None:
        await ada.call("PATCH", "/users/me", json={"email": "ada.new@example.org", "current_password": PASSWORD})
        assert (await ada.confirm(await mailbox.verification_token("ada.new@example.org"))).status_code == 200
        assert problem(await reset(anonymous, token)) == BAD_LINK

    async def test_is_over_when_the_user_is_deactivated(
        self, ada: Person, anonymous: httpx.AsyncClient, token: str, services: AccountServices
    ) -> None:
        await services.users.change(ada.id, {"is_active": False}, decided_on={"id": ada.id})
        assert problem(await reset(anonymous, token)) == BAD_LINK

    async def test_is_over_after_an_hour(
        self, ada: Person, anonymous: httpx.AsyncClient, services: AccountServices, mailbox: Mailbox
    ) -> None:
        services.manager.reset_password_token_lifetime_seconds = -1
        await forget(anonymous, ada.email)
        assert problem(await reset(anonymous, await mailbox.reset_token(ada.email))) == BAD_LINK

    async def test_takes_no_link_of_another_purpose(
        self, ada: Person, anonymous: httpx.AsyncClient, mailbox: Mailbox
    ) -> None:
        assert problem(await reset(anonymous, await mailbox.verification_token(ada.email))) == BAD_LINK
        assert problem(await reset(anonymous, ada.token)) == BAD_LINK

    @pytest.mark.parametrize(
        "token",
        [
            pytest.param("x", id="no-token"),
            pytest.param("a.b.c", id="no-base64"),
            pytest.param(
                jwt.encode({"aud": "fastapi-users:reset", "sub": str(uuid4())}, "guess" * 8), id="other-secret"
            ),
            pytest.param(DEEP, id="deep"),
            pytest.param("é.ü.ö", id="not-ascii"),
            pytest.param("a\0.b.c", id="nul"),
        ],
    )
    async def test_takes_no_garbage(self, anonymous: httpx.AsyncClient, token: str) -> None:
        assert problem(await reset(anonymous, token)) == BAD_LINK


class TestVerify:
    async def verify(self, client: httpx.AsyncClient, token: str, password: str = PASSWORD) -> httpx.Response:
        return await client.post("/api/v1/auth/verify", json={"token": token, "current_password": password})

    async def test_takes_the_password_of_the_account_as_well(
        self, ada: Person, anonymous: httpx.AsyncClient, mailbox: Mailbox
    ) -> None:
        """Or somebody makes an account with the address of another, who confirms it and moves in."""
        token = await mailbox.verification_token(ada.email)
        assert problem(await self.verify(anonymous, token, "the victim's password")) == (403, "wrong-password", [])
        answer = await anonymous.post("/api/v1/auth/verify", json={"token": token})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/current_password")
        assert not (await ada.call("GET", "/users/me")).json()["is_verified"]

    async def test_counts_wrong_passwords_as_signing_in_does(
        self, ada: Person, anonymous: httpx.AsyncClient, mailbox: Mailbox
    ) -> None:
        tokens = [await mailbox.verification_token(ada.email)]
        await anonymous.post("/api/v1/auth/request-verify-token", json={"email": ada.email})
        await until(lambda: len(mailbox.messages) == 2, "the second link has come")
        tokens.append(await mailbox.verification_token(ada.email))
        answers = [await self.verify(anonymous, tokens[number % 2], f"wrong {number}") for number in range(11)]
        assert [answer.status_code for answer in answers] == [403] * 10 + [429]
        assert (await log_in(anonymous, ada.email, PASSWORD)).status_code == 429

    async def test_confirms_an_address_with_the_link_that_came_after_registering(
        self, ada: Person, anonymous: httpx.AsyncClient, mailbox: Mailbox
    ) -> None:
        answer = await self.verify(anonymous, await mailbox.verification_token(ada.email))
        assert (answer.status_code, answer.json()["is_verified"]) == (200, True)
        assert (await ada.call("GET", "/users/me")).json()["is_verified"]

    async def test_says_when_it_was_done_already(
        self, ada: Person, anonymous: httpx.AsyncClient, mailbox: Mailbox
    ) -> None:
        token = await mailbox.verification_token(ada.email)
        await self.verify(anonymous, token)
        assert problem(await self.verify(anonymous, token)) == (409, "already-verified", [])

    async def test_sends_another_link_on_request(
        self, ada: Person, anonymous: httpx.AsyncClient, mailbox: Mailbox
    ) -> None:
        await mailbox.verification_token(ada.email)
        mailbox.messages.clear()
        answer = await anonymous.post("/api/v1/auth/request-verify-token", json={"email": ada.email})
        assert (answer.status_code, answer.content) == (202, b"")
        assert (await self.verify(anonymous, await mailbox.verification_token(ada.email))).status_code == 200

    async def test_sends_no_link_where_none_is_needed_and_does_not_say_so(
        self, ada: Person, anonymous: httpx.AsyncClient, mailbox: Mailbox, services: AccountServices
    ) -> None:
        await self.verify(anonymous, await mailbox.verification_token(ada.email))
        mailbox.messages.clear()
        for email in (ada.email, "nobody@example.org"):
            answer = await anonymous.post("/api/v1/auth/request-verify-token", json={"email": email})
            assert (answer.status_code, answer.content) == (202, b"")
        await until(lambda: not services.manager._mail_queue._under_way, "all mails have left")
        assert mailbox.messages == []

    async def test_does_not_confirm_an_address_that_was_given_up(
        self, ada: Person, anonymous: httpx.AsyncClient, mailbox: Mailbox
    ) -> None:
        token = await mailbox.verification_token(ada.email)
        await ada.call("PATCH", "/users/me", json={"email": "ada.new@example.org", "current_password": PASSWORD})
        assert (
            await self.verify(anonymous, await mailbox.verification_token("ada.new@example.org"))
        ).status_code == 200
        assert problem(await self.verify(anonymous, token)) == (400, "bad-verification-link", [])

    @pytest.mark.parametrize("token", [pytest.param("a.b.c", id="garbage"), pytest.param(DEEP, id="deep")])
    async def test_takes_no_garbage(self, anonymous: httpx.AsyncClient, token: str) -> None:
        assert problem(await self.verify(anonymous, token)) == (400, "bad-verification-link", [])


class TestLinksOfBefore:
    @pytest.fixture
    def rotated(self, rest_settings: RestSettings, tmp_path: Path) -> RestSettings:
        """The service as it is started again after its keys were rotated."""
        private, public = tmp_path / "private.pem", tmp_path / "public.pem"
        private.write_bytes(rest_settings.jwt_private_key_file.read_bytes())
        rotate_keys(private, public)
        return rest_settings.model_copy(update={"jwt_private_key_file": private})

    async def test_are_good_after_the_keys_were_rotated_and_so_is_the_session(
        self, ada: Person, anonymous: httpx.AsyncClient, mailbox: Mailbox, rotated: RestSettings
    ) -> None:
        await anonymous.post("/api/v1/auth/forgot-password", json={"email": ada.email})
        reset_token, token = await mailbox.reset_token(ada.email), await mailbox.verification_token(ada.email)
        app = create_app(rotated)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client,
        ):
            again = Person(client, ada.id, ada.email, PASSWORD)
            assert (await again.call("GET", "/users/me", token=ada.token)).status_code == 200
            assert (await again.confirm(token)).status_code == 200
            assert (await reset(client, reset_token)).status_code == 204


class TestMails:
    async def test_hold_up_no_answer(self, anonymous: httpx.AsyncClient, services: AccountServices) -> None:
        server_is_back = asyncio.Event()

        class Stuck:
            async def send(self, _letter: object) -> None:
                await server_is_back.wait()

        services.manager._mail_queue._mailer = Stuck()
        async with patience("both are answered"):
            assert (await register(anonymous, email="ada@example.org")).status_code == 201
            assert (await forget(anonymous, "ada@example.org")).status_code == 202
        server_is_back.set()
