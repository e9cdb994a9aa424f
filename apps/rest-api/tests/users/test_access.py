"""What others can be acted as with, in the hands of superusers and of whoever reaches the database."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from book_db.accounts.oauth_accounts import ProviderAccount
from rest_api.cli import app as commands
from rest_api.users.services import AccountServices
from support.mailbox import Mailbox
from support.people import PASSWORD, Person, log_in
from support.waiting import until
from typer.testing import CliRunner, Result

pytestmark = pytest.mark.usefixtures("quick_hashing")


@pytest.fixture
async def program(ada: Person, services: AccountServices) -> str:
    """A token of a program of Ada's, who has an account at a provider too."""
    await services.users.change(ada.id, {"is_verified": True}, decided_on={"id": ada.id})
    await services.oauth_accounts.link(ada.id, ProviderAccount("github", "1", ada.email))
    body = {"name": "nightly export", "scopes": ["books:read"], "current_password": PASSWORD}
    made = await ada.call("POST", "/users/me/tokens", json=body)
    token: str = made.json()["token"]
    return token


async def access_of(user: Person, superuser: Person) -> dict[str, list[dict[str, Any]]]:
    answer = await superuser.call("GET", f"/users/{user.id}/access")
    assert answer.status_code == 200, answer.text
    found: dict[str, list[dict[str, Any]]] = answer.json()
    return found


class TestSuperusers:
    async def test_see_all_of_it_and_no_secret(self, ada: Person, superuser: Person, program: str) -> None:
        found = await access_of(ada, superuser)
        assert {kind: len(each) for kind, each in found.items()} == {"sessions": 1, "tokens": 1, "logins": 1}
        assert found["tokens"][0]["name"] == "nightly export"
        assert found["logins"][0]["account_email"] == ada.email
        assert program not in str(found)
        assert ada.refresh_token not in str(found)

    async def test_end_all_of_it_at_once_and_leave_the_password(
        self, ada: Person, superuser: Person, program: str, anonymous: httpx.AsyncClient
    ) -> None:
        assert (await superuser.call("POST", f"/users/{ada.id}/sign-out")).status_code == 204
        assert not any((await access_of(ada, superuser)).values())
        assert (await ada.call("GET", "/users/me")).status_code == 401
        assert (await ada.call("GET", "/books", token=program)).status_code == 401
        assert (await log_in(anonymous, ada.email, PASSWORD)).status_code == 200
        assert (await superuser.call("GET", "/users/me")).status_code == 200

    @pytest.mark.usefixtures("program")
    @pytest.mark.parametrize("kind", ["sessions", "tokens", "logins"])
    async def test_end_one_of_it(self, ada: Person, superuser: Person, kind: str) -> None:
        found = await access_of(ada, superuser)
        path = f"/users/{ada.id}/access/{found[kind][0]['id']}"
        assert (await superuser.call("DELETE", path)).status_code == 204
        assert await access_of(ada, superuser) == found | {kind: []}
        again = await superuser.call("DELETE", path)
        assert (again.status_code, again.json()["type"]) == (404, "urn:colophon:access-not-found")

    @pytest.mark.usefixtures("program")
    async def test_end_nothing_of_another_by_mistake(self, ada: Person, superuser: Person) -> None:
        [session] = (await access_of(ada, superuser))["sessions"]
        answer = await superuser.call("DELETE", f"/users/{superuser.id}/access/{session['id']}")
        assert answer.status_code == 404
        assert (await ada.call("GET", "/users/me")).status_code == 200

    async def test_start_a_reset_and_do_not_choose_the_password(
        self, ada: Person, superuser: Person, mailbox: Mailbox, anonymous: httpx.AsyncClient
    ) -> None:
        answer = await superuser.call("POST", f"/users/{ada.id}/password-reset")
        assert (answer.status_code, answer.content) == (202, b"")
        proof = {"token": await mailbox.reset_token(ada.email), "password": "staple battery horse"}
        assert (await anonymous.post("/api/v1/auth/reset-password", json=proof)).status_code == 204
        assert (await ada.call("GET", "/users/me")).status_code == 401

    async def test_start_none_for_a_deactivated_user(
        self, ada: Person, superuser: Person, mailbox: Mailbox, services: AccountServices
    ) -> None:
        await services.users.change(ada.id, {"is_active": False}, decided_on={"id": ada.id})
        await until(lambda: not services.manager._mail_queue._under_way, "all mails have left")
        mailbox.messages.clear()
        assert (await superuser.call("POST", f"/users/{ada.id}/password-reset")).status_code == 202
        await until(lambda: not services.manager._mail_queue._under_way, "all mails have left")
        assert mailbox.messages == []

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "/access"),
            ("POST", "/sign-out"),
            ("DELETE", f"/access/{UUID(int=0)}"),
            ("POST", "/password-reset"),
        ],
    )
    async def test_alone_do_so_and_are_told_of_users_who_are_not_there(
        self, ada: Person, superuser: Person, method: str, path: str
    ) -> None:
        answer = await ada.call(method, f"/users/{ada.id}{path}")
        assert (answer.status_code, answer.json()["type"]) == (403, "urn:colophon:not-superuser")
        answer = await superuser.call(method, f"/users/{uuid4()}{path}")
        assert answer.status_code == 404


class TestTheCommand:
    @pytest.fixture(autouse=True)
    def environment(self, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DATABASE_URL", database_url)

    async def run(self, *arguments: str) -> Result:
        # It has an event loop of its own.
        return await asyncio.to_thread(CliRunner().invoke, commands, ["access", *arguments])

    @pytest.mark.usefixtures("program")
    async def test_shows_a_line_for_each_and_ends_all(self, ada: Person) -> None:
        shown = await self.run(ada.email.upper())
        assert shown.exit_code == 0, shown.output
        assert [line.split()[0] for line in shown.stdout.splitlines()] == ["session", "token", "login"]
        assert "'nightly export' for books:read" in shown.stdout
        ended = await self.run(ada.email, "--end")
        assert ended.stdout.splitlines()[-1] == f"All of it has ended. The password of {ada.email} stays as it is."
        assert (await self.run(ada.email)).stdout == f"{ada.email} has no session, no token and no login.\n"
        # Another process has done it.
        await until(lambda: self.is_out(ada), "the session is over")

    async def is_out(self, person: Person) -> bool:
        return (await person.call("GET", "/users/me")).status_code == 401

    @pytest.mark.parametrize("email", ["nobody@example.org", "nobody"])
    async def test_says_that_nobody_has_the_address(self, email: str) -> None:
        result = await self.run(email)
        assert (result.exit_code, result.stderr) == (1, f"Nobody has the address {email}.\n")
