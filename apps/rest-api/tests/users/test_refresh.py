"""Sessions that live on: refresh tokens over REST."""

import asyncio
from collections import Counter
from typing import Any
from uuid import UUID

import httpx
import jwt
import pytest
from rest_api.users.services import AccountServices
from structlog.testing import capture_logs
from support.mailbox import Mailbox
from support.people import PASSWORD, Person, log_in, refresh

pytestmark = pytest.mark.usefixtures("quick_hashing")

ANOTHER = "staple battery horse"
AT_ONCE = 10


def is_refused(answer: httpx.Response) -> bool:
    return (answer.status_code, answer.json().get("type")) == (400, "urn:colophon:bad-refresh-token")


class TestLogin:
    async def test_gives_an_access_token_for_15_minutes_and_a_refresh_token_for_30_days(
        self, ada: Person, anonymous: httpx.AsyncClient
    ) -> None:
        answer = (await log_in(anonymous, ada.email, PASSWORD)).json()
        claims = jwt.decode(answer["access_token"], options={"verify_signature": False})
        assert claims["exp"] - claims["iat"] == answer["expires_in"] == 15 * 60
        assert answer["refresh_token"].startswith("colophon_refresh_")
        assert answer["refresh_expires_in"] == 30 * 86_400


class TestRefresh:
    async def test_answers_as_login_does(self, ada: Person, anonymous: httpx.AsyncClient) -> None:
        login = await log_in(anonymous, ada.email, PASSWORD)
        answer = await refresh(anonymous, login.json()["refresh_token"])
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        assert answer.json().keys() == login.json().keys()
        assert answer.json()["refresh_token"] != login.json()["refresh_token"]

    async def test_goes_on_with_the_same_session(self, ada: Person) -> None:
        [before] = (await ada.call("GET", "/users/me/sessions")).json()["sessions"]
        for _ in range(3):
            await ada.refresh()
        [after] = (await ada.call("GET", "/users/me/sessions")).json()["sessions"]
        assert after["id"] == before["id"]
        assert after["expires_at"] > before["expires_at"]
        assert after["last_used_at"] > before["last_used_at"]

    async def test_needs_no_access_token_and_leaves_the_earlier_one_good(self, ada: Person) -> None:
        earlier = ada.token
        await ada.refresh()
        assert (await ada.call("GET", "/users/me", token=earlier)).status_code == 200

    async def test_with_a_token_that_comes_again_ends_the_session_at_once(
        self, ada: Person, anonymous: httpx.AsyncClient
    ) -> None:
        stolen = ada.refresh_token
        await ada.refresh()
        assert (await ada.call("GET", "/books")).status_code == 200
        with capture_logs() as logs:
            assert is_refused(await refresh(anonymous, stolen))
        assert (await ada.call("GET", "/books")).status_code == 401
        assert is_refused(await refresh(anonymous, ada.refresh_token))
        assert [line["log_level"] for line in logs] == ["warning", "info"]
        assert (logs[1]["kind"], logs[1]["outcome"]) == ("session-refreshed", "wrong")
        assert "colophon_refresh_" not in str(logs)

    async def test_from_many_at_once_is_won_by_one(self, ada: Person, anonymous: httpx.AsyncClient) -> None:
        answers = await asyncio.gather(*(refresh(anonymous, ada.refresh_token) for _ in range(AT_ONCE)))
        assert Counter(answer.status_code for answer in answers) == {200: 1, 400: AT_ONCE - 1}
        assert (await ada.call("GET", "/books")).status_code == 401
        print(f"{AT_ONCE} refreshes at once with one token: 1 answered, the session ended")

    async def test_is_over_with_the_session(self, ada: Person, anonymous: httpx.AsyncClient) -> None:
        await ada.call("POST", "/auth/logout")
        assert is_refused(await refresh(anonymous, ada.refresh_token))

    async def test_is_not_for_who_is_deactivated(
        self, ada: Person, anonymous: httpx.AsyncClient, services: AccountServices
    ) -> None:
        await services.users.change(ada.id, {"is_active": False}, decided_on={"id": ada.id})
        assert is_refused(await refresh(anonymous, ada.refresh_token))

    async def test_is_over_after_a_password_reset(
        self, ada: Person, anonymous: httpx.AsyncClient, mailbox: Mailbox
    ) -> None:
        await anonymous.post("/api/v1/auth/forgot-password", json={"email": ada.email})
        new = {"token": await mailbox.reset_token(ada.email), "password": ANOTHER}
        assert (await anonymous.post("/api/v1/auth/reset-password", json=new)).status_code == 204
        assert is_refused(await refresh(anonymous, ada.refresh_token))

    async def test_is_over_for_the_others_when_the_password_is_changed(
        self, ada: Person, anonymous: httpx.AsyncClient
    ) -> None:
        other = ada.refresh_token
        await ada.sign_in()
        change = {"password": ANOTHER, "current_password": PASSWORD}
        assert (await ada.call("PATCH", "/users/me", json=change)).status_code == 200
        assert is_refused(await refresh(anonymous, other))
        await ada.refresh()

    @pytest.mark.parametrize(
        "token",
        [
            pytest.param("", id="empty"),
            pytest.param("guess", id="guess"),
            pytest.param("nul\0é", id="garbage"),
            pytest.param(f"colophon_refresh_{'0' * 72}", id="wrong-checksum"),
        ],
    )
    async def test_answers_every_bad_token_alike(self, anonymous: httpx.AsyncClient, token: str) -> None:
        answer = await refresh(anonymous, token)
        assert is_refused(answer)
        assert answer.json()["detail"] == "The refresh token is not good any more. Sign in again."

    async def test_takes_no_access_token(self, ada: Person, anonymous: httpx.AsyncClient) -> None:
        assert (await refresh(anonymous, ada.token)).status_code in (400, 422)

    async def test_gives_no_access_with_the_refresh_token(self, ada: Person) -> None:
        assert (await ada.call("GET", "/books", token=ada.refresh_token)).status_code == 401


class TestOwnSessions:
    async def sessions(self, person: Person) -> list[dict[str, Any]]:
        answer = await person.call("GET", "/users/me/sessions")
        assert answer.status_code == 200
        sessions: list[dict[str, Any]] = answer.json()["sessions"]
        return sessions

    async def test_tell_where_one_is_signed_in(self, ada: Person, anonymous: httpx.AsyncClient) -> None:
        anonymous.headers["User-Agent"] = "Browser/1.0\t(X11) " + "x" * 500
        await ada.sign_in()
        current, other = await self.sessions(ada)
        assert (current["current"], other["current"]) == (True, False)
        assert current["user_agent"] == ("Browser/1.0 (X11) " + "x" * 500)[:200]
        assert current["address"] == "127.0.0.1"
        assert current.keys() == {
            *("id", "created_at", "last_used_at", "expires_at", "user_agent", "address", "current"),
        }

    async def test_may_have_no_user_agent(self, ada: Person, anonymous: httpx.AsyncClient) -> None:
        anonymous.headers["User-Agent"] = ""
        await ada.sign_in()
        assert (await self.sessions(ada))[0]["user_agent"] is None

    async def test_can_be_ended_one_by_one(self, ada: Person, anonymous: httpx.AsyncClient) -> None:
        first, first_refresh = ada.token, ada.refresh_token
        await ada.sign_in()
        _, other = await self.sessions(ada)
        assert (await ada.call("DELETE", f"/users/me/sessions/{other['id']}")).status_code == 204
        assert (await ada.call("GET", "/books", token=first)).status_code == 401
        assert is_refused(await refresh(anonymous, first_refresh))
        assert [each["current"] for each in await self.sessions(ada)] == [True]

    async def test_can_be_ended_from_within(self, ada: Person) -> None:
        [own] = await self.sessions(ada)
        assert (await ada.call("DELETE", f"/users/me/sessions/{own['id']}")).status_code == 204
        assert (await ada.call("GET", "/users/me")).status_code == 401

    async def test_can_all_be_ended_but_this_one(self, ada: Person) -> None:
        others = [ada.token, await ada.sign_in()]
        await ada.sign_in()
        assert (await ada.call("DELETE", "/users/me/sessions")).status_code == 204
        assert [each["current"] for each in await self.sessions(ada)] == [True]
        for token in others:
            assert (await ada.call("GET", "/books", token=token)).status_code == 401

    async def test_of_others_are_as_if_there_were_none(self, ada: Person, anonymous: httpx.AsyncClient) -> None:
        bob = await Person.register(anonymous)
        await bob.sign_in()
        [his] = await self.sessions(bob)
        answers = [await ada.call("DELETE", f"/users/me/sessions/{each}") for each in (his["id"], UUID(int=0))]
        assert [(answer.status_code, answer.json()["type"]) for answer in answers] == [
            (404, "urn:colophon:session-not-found")
        ] * 2
        assert (await bob.call("GET", "/users/me")).status_code == 200

    async def test_are_no_longer_told_of_when_they_have_ended(self, ada: Person) -> None:
        await ada.sign_in()
        await ada.call("POST", "/auth/logout")
        await ada.sign_in()
        assert len(await self.sessions(ada)) == 2

    async def test_have_ids_that_are_uuids(self, ada: Person) -> None:
        answer = await ada.call("DELETE", "/users/me/sessions/first")
        assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (422, "session_id")
