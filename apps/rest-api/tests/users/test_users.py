import asyncio
from typing import Any
from uuid import uuid4

import httpx
import pytest
from rest_api.users.services import AccountServices
from support.mailbox import Mailbox
from support.people import PASSWORD, Person, log_in

pytestmark = pytest.mark.usefixtures("quick_hashing")

ANOTHER = "staple battery horse"


async def change_me(person: Person, current_password: str = PASSWORD, **change: Any) -> httpx.Response:
    return await person.call("PATCH", "/users/me", json={"current_password": current_password, **change})


async def change_user(
    superuser: Person, user: Person, current_password: str = PASSWORD, **change: Any
) -> httpx.Response:
    body = {"current_password": current_password, **change}
    return await superuser.call("PATCH", f"/users/{user.id}", json=body)


def address_of(answer: httpx.Response) -> tuple[str, str | None, bool]:
    """The one that is in force, the one that waits, and whether the first is confirmed."""
    assert answer.status_code == 200, answer.text
    user = answer.json()
    return user["email"], user["new_email"], user["is_verified"]


class TestGetMe:
    async def test_tells_who_is_signed_in(self, ada: Person) -> None:
        answer = await ada.call("GET", "/users/me")
        assert answer.status_code == 200
        assert (answer.json()["id"], answer.json()["email"]) == (str(ada.id), ada.email)
        assert "password" not in answer.text


class TestChangeMe:
    async def test_sets_a_password_and_ends_every_other_session(
        self, ada: Person, anonymous: httpx.AsyncClient
    ) -> None:
        other = ada.token
        mine = await ada.sign_in()
        assert (await change_me(ada, password=ANOTHER)).status_code == 200
        assert (await ada.call("GET", "/books", token=other)).status_code == 401
        assert (await ada.call("GET", "/books", token=mine)).status_code == 200
        assert (await log_in(anonymous, ada.email, PASSWORD)).status_code == 400
        assert (await log_in(anonymous, ada.email, ANOTHER)).status_code == 200

    async def test_changes_the_address_when_it_is_confirmed_and_tells_the_old_one(
        self, ada: Person, anonymous: httpx.AsyncClient, mailbox: Mailbox
    ) -> None:
        await ada.confirm(await mailbox.verification_token(ada.email))
        answer = await change_me(ada, email="ada.new@EXAMPLE.org")
        assert address_of(answer) == (ada.email, "ada.new@example.org", True)
        assert (await log_in(anonymous, "ada.new@example.org", PASSWORD)).status_code == 400
        confirmed = await ada.confirm(await mailbox.verification_token("ada.new@example.org"))
        assert address_of(confirmed) == ("ada.new@example.org", None, True)
        assert (await log_in(anonymous, "ada.new@example.org", PASSWORD)).status_code == 200
        assert (await log_in(anonymous, ada.email, PASSWORD)).status_code == 400
        told = await mailbox.newest(ada.email, "Your e-mail address was changed")
        assert "is now ada.new@example.org" in told.get_content()
        # Which would go to whoever has the new address.
        assert "by mail" not in told.get_content()

    async def test_changes_no_address_that_somebody_has_by_the_time_it_is_confirmed(
        self, ada: Person, anonymous: httpx.AsyncClient, mailbox: Mailbox
    ) -> None:
        await change_me(ada, email="ada.new@example.org")
        await Person.register(anonymous, "Ada.New@example.org")
        answer = await ada.confirm(await mailbox.verification_token("ada.new@example.org"))
        assert (answer.status_code, answer.json()["type"]) == (409, "urn:colophon:email-taken")
        assert address_of(await ada.call("GET", "/users/me")) == (ada.email, "ada.new@example.org", False)

    @pytest.mark.parametrize(
        "change",
        [
            pytest.param({"email": "ada.newer@example.org"}, id="another-address"),
            pytest.param({"email": None}, id="the-address-that-it-is"),
            pytest.param({"password": ANOTHER}, id="password"),
        ],
    )
    async def test_gives_up_an_address_that_waits(
        self, ada: Person, mailbox: Mailbox, change: dict[str, str | None]
    ) -> None:
        """A new password too: whoever had the old one may have asked for the address."""
        await change_me(ada, email="ada.new@example.org")
        token = await mailbox.verification_token("ada.new@example.org")
        assert (await change_me(ada, **{name: value or ada.email for name, value in change.items()})).status_code == 200
        ada.password = change.get("password") or PASSWORD
        answer = await ada.confirm(token)
        assert (answer.status_code, answer.json()["type"]) == (400, "urn:colophon:bad-verification-link")

    async def test_tells_of_a_new_password(self, ada: Person, mailbox: Mailbox) -> None:
        await change_me(ada, password=ANOTHER)
        told = await mailbox.newest(ada.email, "Your password was changed")
        assert "If that was not you, choose a new password by mail" in told.get_content()

    @pytest.mark.parametrize("end", [pytest.param(False, id="kept"), pytest.param(True, id="ended")])
    async def test_ends_the_tokens_of_programs_with_a_new_password_if_that_is_wanted(
        self, ada: Person, end: bool
    ) -> None:
        body = {"name": "export", "scopes": ["books:read"], "current_password": PASSWORD}
        token = (await ada.call("POST", "/users/me/tokens", json=body)).json()["token"]
        assert (await change_me(ada, password=ANOTHER, end_tokens=end)).status_code == 200
        assert (await ada.call("GET", "/books", token=token)).status_code == (401 if end else 200)

    async def test_ends_no_tokens_without_a_new_password(self, ada: Person) -> None:
        answer = await change_me(ada, email="ada.new@example.org", end_tokens=True)
        assert (answer.status_code, answer.json()["errors"][0]["detail"]) == (
            422,
            "end_tokens goes with a new password",
        )

    async def test_wants_the_password_as_it_is_now(self, ada: Person, anonymous: httpx.AsyncClient) -> None:
        for change in ({"password": ANOTHER}, {"email": "ada.new@example.org"}):
            answer = await change_me(ada, current_password=ANOTHER, **change)
            assert (answer.status_code, answer.json()["type"]) == (403, "urn:colophon:wrong-password")
            answer = await ada.call("PATCH", "/users/me", json=change)
            assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/current_password")
        assert (await ada.call("GET", "/users/me")).json()["email"] == ada.email
        assert (await log_in(anonymous, ada.email, PASSWORD)).status_code == 200

    async def test_may_change_the_case_of_the_address_alone(self, ada: Person, mailbox: Mailbox) -> None:
        local, domain = ada.email.split("@")
        answer = await change_me(ada, email=f"{local.upper()}@{domain}")
        assert address_of(answer) == (ada.email, f"{local.upper()}@{domain}", False)
        answer = await ada.confirm(await mailbox.verification_token(f"{local.upper()}@{domain}"))
        assert address_of(answer) == (f"{local.upper()}@{domain}", None, True)

    async def test_takes_no_address_of_another(self, ada: Person, anonymous: httpx.AsyncClient) -> None:
        bob = await Person.register(anonymous)
        answer = await change_me(ada, email=bob.email.upper())
        assert (answer.status_code, answer.json()["type"]) == (409, "urn:colophon:email-taken")

    async def test_holds_the_password_against_the_new_address(self, ada: Person) -> None:
        change = {"email": "ada.lovelace@example.org", "password": "ada.lovelace"}
        answer = await change_me(ada, **change)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/password")
        assert (await ada.call("GET", "/users/me")).json()["email"] == ada.email

    @pytest.mark.parametrize("field", ["is_active", "is_superuser", "is_verified"])
    async def test_makes_nobody_more_than_they_are(self, ada: Person, field: str) -> None:
        answer = await change_me(ada, **{field: True})  # type: ignore[arg-type]  # it is none of the arguments
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, f"/{field}")
        assert not (await ada.call("GET", "/users/me")).json()["is_superuser"]


class TestSuperusers:
    @pytest.mark.parametrize(
        ("method", "path"), [("GET", ""), ("GET", "/{id}"), ("PATCH", "/{id}"), ("DELETE", "/{id}")]
    )
    async def test_alone_manage_users(self, ada: Person, method: str, path: str) -> None:
        body = {"is_superuser": True} if method == "PATCH" else None
        answer = await ada.call(method, "/users" + path.format(id=ada.id), json=body)
        assert (answer.status_code, answer.json()["type"]) == (403, "urn:colophon:not-superuser")

    async def test_are_so_no_longer_than_they_are(
        self, superuser: Person, ada: Person, services: AccountServices
    ) -> None:
        assert (await superuser.call("GET", "/users")).status_code == 200
        await change_user(superuser, ada, is_superuser=True)
        await services.users.change(superuser.id, {"is_superuser": False}, decided_on={"id": superuser.id})
        assert (await superuser.call("GET", "/users")).status_code == 403

    async def test_read_users(self, ada: Person, superuser: Person) -> None:
        answer = await superuser.call("GET", f"/users/{ada.id}")
        assert (answer.status_code, answer.json()["email"]) == (200, ada.email)

    @pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
    async def test_are_told_of_users_who_are_not_there(self, superuser: Person, method: str) -> None:
        body = {"is_active": False} if method == "PATCH" else None
        answer = await superuser.call(method, f"/users/{uuid4()}", json=body)
        assert (answer.status_code, answer.json()["type"]) == (404, "urn:colophon:user-not-found")

    async def test_are_told_of_ids_that_are_none(self, superuser: Person) -> None:
        answer = await superuser.call("GET", "/users/ada")
        assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (422, "user_id")

    async def test_put_a_user_out_at_once(self, ada: Person, superuser: Person, anonymous: httpx.AsyncClient) -> None:
        assert (await ada.call("GET", "/books")).status_code == 200
        answer = await superuser.call("PATCH", f"/users/{ada.id}", json={"is_active": False})
        assert (answer.status_code, answer.json()["is_active"]) == (200, False)
        assert (await ada.call("GET", "/books")).status_code == 401
        assert (await ada.call("GET", "/users/me")).status_code == 401
        assert (await log_in(anonymous, ada.email, PASSWORD)).status_code == 400

    async def test_do_not_bring_old_sessions_back_with_a_user(self, ada: Person, superuser: Person) -> None:
        await superuser.call("PATCH", f"/users/{ada.id}", json={"is_active": False})
        await superuser.call("PATCH", f"/users/{ada.id}", json={"is_active": True})
        assert (await ada.call("GET", "/users/me")).status_code == 401
        await ada.sign_in()
        assert (await ada.call("GET", "/users/me")).status_code == 200

    async def test_set_passwords_and_end_the_sessions_of_the_user(self, ada: Person, superuser: Person) -> None:
        assert (await change_user(superuser, ada, password=ANOTHER)).status_code == 200
        assert (await ada.call("GET", "/users/me")).status_code == 401
        assert (await superuser.call("GET", "/users/me")).status_code == 200

    async def test_change_their_own_address_and_password_as_everybody_does(self, superuser: Person) -> None:
        for change in ({"password": ANOTHER}, {"email": "root@example.org", "is_verified": True}):
            answer = await superuser.call("PATCH", f"/users/{superuser.id}", json=change)
            assert (answer.status_code, answer.json()["type"]) == (403, "urn:colophon:password-needed")
        assert (await change_me(superuser, password=ANOTHER)).status_code == 200

    @pytest.mark.parametrize(
        "change",
        [{"email": "accomplice@example.org"}, {"password": ANOTHER}, {"is_superuser": True}, {"is_verified": True}],
    )
    async def test_show_who_they_are_before_they_change_who_may_do_what(
        self, ada: Person, superuser: Person, services: AccountServices, change: dict[str, Any]
    ) -> None:
        """With a stolen access token alone, nobody makes a superuser who stays one."""
        before = await services.manager.get(ada.id)
        answer = await superuser.call("PATCH", f"/users/{ada.id}", json=change)
        assert (answer.status_code, answer.json()["type"]) == (403, "urn:colophon:password-needed")
        answer = await change_user(superuser, ada, current_password=ANOTHER, **change)
        assert (answer.status_code, answer.json()["type"]) == (403, "urn:colophon:wrong-password")
        after = await services.manager.get(ada.id)
        assert (after.email, after.hashed_password, after.is_superuser, after.is_verified) == (
            before.email,
            before.hashed_password,
            before.is_superuser,
            before.is_verified,
        )
        assert (await change_user(superuser, ada, **change)).status_code == 200

    async def test_vouch_for_an_address_that_they_set(self, ada: Person, superuser: Person) -> None:
        changed = await change_user(superuser, ada, email="ada.new@example.org", is_verified=True)
        assert changed.json()["is_verified"]

    async def test_change_an_address_when_it_is_confirmed_unless_they_say_whose_it_is(
        self, ada: Person, superuser: Person, mailbox: Mailbox
    ) -> None:
        answer = await change_user(superuser, ada, email="ada.new@example.org")
        assert address_of(answer) == (ada.email, "ada.new@example.org", False)
        await mailbox.verification_token("ada.new@example.org")
        answer = await change_user(superuser, ada, email="ada.newer@example.org", is_verified=True)
        assert address_of(answer) == ("ada.newer@example.org", None, True)
        await mailbox.newest(ada.email, "Your e-mail address was changed")

    async def test_change_the_address_of_who_is_deactivated(self, ada: Person, superuser: Person) -> None:
        answer = await change_user(superuser, ada, email="ada.new@example.org", is_verified=True, is_active=False)
        assert address_of(answer) == ("ada.new@example.org", None, True)

    async def test_make_superusers(self, ada: Person, superuser: Person) -> None:
        await change_user(superuser, ada, is_superuser=True)
        assert (await ada.call("GET", f"/users/{superuser.id}")).status_code == 200

    async def test_the_last_one_stays(self, superuser: Person, ada: Person) -> None:
        """Or nobody could manage users any more, but for who reaches the database."""
        me = f"/users/{superuser.id}"
        last_words = [
            await superuser.call("DELETE", me),
            await change_user(superuser, superuser, is_superuser=False),
            await superuser.call("PATCH", me, json={"is_active": False}),
        ]
        assert [(each.status_code, each.json()["type"]) for each in last_words] == [
            (409, "urn:colophon:last-superuser")
        ] * 3
        await change_user(superuser, ada, is_superuser=True)
        assert (await superuser.call("DELETE", me)).status_code == 204

    async def test_of_two_who_remove_each_other_one_stays(self, superuser: Person, ada: Person) -> None:
        await change_user(superuser, ada, is_superuser=True)
        answers = await asyncio.gather(
            superuser.call("DELETE", f"/users/{ada.id}"), ada.call("DELETE", f"/users/{superuser.id}")
        )
        left = [each for each in (superuser, ada) if (await each.call("GET", "/users")).status_code == 200]
        assert len(left) == 1
        assert min(each.status_code for each in answers) == 204

    async def test_what_is_told_of_accounts_is_not_to_be_stored(self, superuser: Person) -> None:
        paths = ("/users/me", "/users/me/sessions", "/users/me/tokens", "/users", f"/users/{superuser.id}")
        answers = [await superuser.call("GET", path) for path in paths]
        assert {(each.status_code, each.headers["cache-control"]) for each in answers} == {(200, "no-store")}

    async def test_remove_users_with_their_sessions(self, ada: Person, superuser: Person) -> None:
        assert (await superuser.call("DELETE", f"/users/{ada.id}")).status_code == 204
        assert (await ada.call("GET", "/users/me")).status_code == 401
        assert (await superuser.call("GET", f"/users/{ada.id}")).status_code == 404
        assert (await superuser.call("DELETE", f"/users/{ada.id}")).status_code == 404


class TestListUsers:
    async def test_pages_through_all_by_ascending_id(self, superuser: Person, services: AccountServices) -> None:
        added = [
            await services.users.add({"email": f"{number}@example.org", "hashed_password": "none"})
            for number in range(6)
        ]
        seen: list[str] = []
        query: dict[str, object] = {"page_size": 3}
        while True:
            page = (await superuser.call("GET", "/users", params=query)).json()
            assert len(page["users"]) in (3, 1)
            seen += [user["id"] for user in page["users"]]
            if page["next_page_token"] is None:
                break
            query["page_token"] = page["next_page_token"]
        assert seen == sorted(str(user_id) for user_id in [superuser.id, *(user.id for user in added)])

    async def test_has_no_next_page_when_the_last_is_full(self, superuser: Person) -> None:
        page = (await superuser.call("GET", "/users", params={"page_size": 1})).json()
        assert (len(page["users"]), page["next_page_token"]) == (1, None)

    @pytest.mark.parametrize(
        ("query", "parameter"),
        [
            pytest.param({"page_size": 0}, "page_size", id="no-users-a-page"),
            pytest.param({"page_size": 1_001}, "page_size", id="too-many-a-page"),
            pytest.param({"page_token": "guess"}, "page_token", id="token-of-nobody"),
            pytest.param({"page_token": ""}, "page_token", id="empty-token"),
        ],
    )
    async def test_says_what_is_wrong(self, superuser: Person, query: dict[str, object], parameter: str) -> None:
        answer = await superuser.call("GET", "/users", params=query)
        assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (422, parameter)


class TestOpenApi:
    async def test_names_every_operation(self, anonymous: httpx.AsyncClient) -> None:
        document = (await anonymous.get("/api/v1/openapi.json")).json()
        operations = {
            operation["operationId"]: operation
            for path, methods in document["paths"].items()
            if path.startswith(("/api/v1/auth", "/api/v1/users", "/api/v1/audit"))
            for operation in methods.values()
        }
        for_everybody = {
            *("register", "login", "refresh", "forgotPassword", "resetPassword", "requestVerification", "verifyEmail"),
        }
        for_those_signed_in = {
            *("logout", "getMe", "changeMe", "listUsers", "createUser", "getUser", "changeUser", "deleteUser"),
            *("listAccess", "endAccess", "endOneAccess", "startReset", "listAudit", "listMyAudit"),
            *("listSessions", "endSession", "endOtherSessions", "createToken", "listTokens", "removeToken"),
        }
        assert set(operations) == for_everybody | for_those_signed_in
        assert all(operation["summary"] and operation["description"] for operation in operations.values())
        assert "403" in operations["listUsers"]["responses"]
        guarded = {name: operation["security"] for name, operation in operations.items() if "security" in operation}
        assert guarded == {name: [{"Password": []}] for name in for_those_signed_in}
