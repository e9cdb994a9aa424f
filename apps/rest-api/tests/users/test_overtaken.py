"""Writes to accounts while somebody else writes: what they were decided on must still be so when they are done."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import UUID

import httpx
import psycopg
import pytest
from rest_api.users.problems import BadCredentials
from rest_api.users.services import AccountServices
from support.mailbox import Mailbox
from support.people import PASSWORD, Person, log_in
from support.waiting import until

pytestmark = pytest.mark.usefixtures("quick_hashing")

THEIRS = "the thief's password"
OURS = "the owner's password"

TAKES_ANOTHER_ADDRESS = "UPDATE users SET email = 'victim@example.org', is_verified = false WHERE id = %s"
WANTS_ANOTHER_ADDRESS = "UPDATE users SET new_email = 'victim@example.org' WHERE id = %s"
IS_DEACTIVATED = "UPDATE users SET is_active = false WHERE id = %s"
HAS_ANOTHER_PASSWORD = "UPDATE users SET hashed_password = 'another hash' WHERE id = %s"
IS_GONE = "DELETE FROM users WHERE id = %s"
SIGNS_OUT = "UPDATE sessions SET ended_at = now() WHERE user_id = %s"

Meanwhile = Callable[[str, UUID, Awaitable[httpx.Response]], Awaitable[httpx.Response]]


@pytest.fixture
def meanwhile(database_url: str) -> Meanwhile:
    """What a request comes to that has read, and would write while a transaction holds what it was decided on."""

    @asynccontextmanager
    async def connected() -> AsyncIterator[psycopg.AsyncConnection]:
        async with await psycopg.AsyncConnection.connect(database_url) as connection:
            yield connection

    async def overtake(change: str, user_id: UUID, request: Awaitable[httpx.Response]) -> httpx.Response:
        async with connected() as holder, connected() as watcher:
            await watcher.set_autocommit(True)
            await holder.execute(change.encode(), [user_id])
            answering = asyncio.ensure_future(request)

            async def waits() -> bool:
                found = await watcher.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                    " AND datname = current_database()"
                )
                return await found.fetchone() != (0,)

            await until(waits, "the request waits for the transaction")
            await holder.commit()
            return await answering

    return overtake


def problem(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["type"].removeprefix("urn:colophon:")


async def reset_token_of(person: Person, client: httpx.AsyncClient, mailbox: Mailbox) -> str:
    await client.post("/api/v1/auth/forgot-password", json={"email": person.email})
    return await mailbox.reset_token(person.email)


class TestVerify:
    @pytest.mark.parametrize(
        "change",
        [
            pytest.param(TAKES_ANOTHER_ADDRESS, id="address"),
            pytest.param(HAS_ANOTHER_PASSWORD, id="password"),
            pytest.param(IS_DEACTIVATED, id="deactivated"),
            pytest.param(IS_GONE, id="gone"),
        ],
    )
    async def test_confirms_no_address_that_the_link_was_not_sent_to(
        self,
        ada: Person,
        anonymous: httpx.AsyncClient,
        mailbox: Mailbox,
        services: AccountServices,
        meanwhile: Meanwhile,
        change: str,
    ) -> None:
        proof = {"token": await mailbox.verification_token(ada.email), "current_password": PASSWORD}
        answer = await meanwhile(change, ada.id, anonymous.post("/api/v1/auth/verify", json=proof))
        assert problem(answer) == (400, "bad-verification-link")
        user = await services.users.get(ada.id)
        assert user is None or not user.is_verified

    async def test_puts_no_address_in_force_that_was_given_up_meanwhile(
        self, ada: Person, mailbox: Mailbox, services: AccountServices, meanwhile: Meanwhile
    ) -> None:
        change = {"email": "ada.new@example.org", "current_password": PASSWORD}
        assert (await ada.call("PATCH", "/users/me", json=change)).status_code == 200
        token = await mailbox.verification_token("ada.new@example.org")
        answer = await meanwhile(WANTS_ANOTHER_ADDRESS, ada.id, ada.confirm(token))
        assert problem(answer) == (400, "bad-verification-link")
        user = await services.manager.get(ada.id)
        assert (user.email, user.is_verified) == (ada.email, False)


class TestResetPassword:
    @pytest.mark.parametrize(
        "change",
        [
            pytest.param(HAS_ANOTHER_PASSWORD, id="password"),
            pytest.param(TAKES_ANOTHER_ADDRESS, id="address"),
            pytest.param(IS_DEACTIVATED, id="deactivated"),
            pytest.param(IS_GONE, id="gone"),
        ],
    )
    async def test_does_not_undo_what_was_done_meanwhile(
        self,
        ada: Person,
        anonymous: httpx.AsyncClient,
        mailbox: Mailbox,
        services: AccountServices,
        meanwhile: Meanwhile,
        change: str,
    ) -> None:
        proof = {"token": await reset_token_of(ada, anonymous, mailbox), "password": OURS}
        before = await services.manager.get(ada.id)
        answer = await meanwhile(change, ada.id, anonymous.post("/api/v1/auth/reset-password", json=proof))
        assert problem(answer) == (400, "bad-reset-link")
        user = await services.users.get(ada.id)
        if user is not None:
            expected = "another hash" if change == HAS_ANOTHER_PASSWORD else before.hashed_password
            assert user.hashed_password == expected

    async def test_works_once_of_many_at_a_time(
        self, ada: Person, anonymous: httpx.AsyncClient, mailbox: Mailbox
    ) -> None:
        token = await reset_token_of(ada, anonymous, mailbox)
        passwords = [f"password number {number}" for number in range(5)]
        answers = await asyncio.gather(
            *(
                anonymous.post("/api/v1/auth/reset-password", json={"token": token, "password": each})
                for each in passwords
            )
        )
        assert Counter(answer.status_code for answer in answers) == {204: 1, 400: 4}
        [(won, _)] = [pair for pair in zip(passwords, answers, strict=True) if pair[1].status_code == 204]
        assert [each for each in passwords if (await log_in(anonymous, ada.email, each)).status_code == 200] == [won]


class TestChangeMe:
    async def change(self, person: Person, **change: str) -> httpx.Response:
        return await person.call("PATCH", "/users/me", json={"current_password": PASSWORD, **change})

    @pytest.mark.parametrize(
        "change",
        [
            pytest.param(HAS_ANOTHER_PASSWORD, id="password"),
            pytest.param(TAKES_ANOTHER_ADDRESS, id="address"),
            pytest.param(IS_GONE, id="gone"),
        ],
    )
    async def test_is_refused_when_another_change_came_first(
        self, ada: Person, services: AccountServices, meanwhile: Meanwhile, change: str
    ) -> None:
        before = await services.manager.get(ada.id)
        answer = await meanwhile(change, ada.id, self.change(ada, password=THEIRS))
        assert problem(answer) == (403, "wrong-password")
        user = await services.users.get(ada.id)
        assert user is None or user.hashed_password in {before.hashed_password, "another hash"}

    async def test_is_refused_to_a_session_that_has_ended(
        self, ada: Person, anonymous: httpx.AsyncClient, meanwhile: Meanwhile
    ) -> None:
        answer = await meanwhile(SIGNS_OUT, ada.id, self.change(ada, password=THEIRS))
        assert problem(answer) == (403, "wrong-password")
        assert (await log_in(anonymous, ada.email, PASSWORD)).status_code == 200

    async def test_of_a_thief_does_not_keep_the_owner_from_a_reset(
        self, ada: Person, anonymous: httpx.AsyncClient, mailbox: Mailbox
    ) -> None:
        """Whoever is first, one of them is told that nothing was done."""
        token = await reset_token_of(ada, anonymous, mailbox)
        thiefs, owners = await asyncio.gather(
            self.change(ada, password=THEIRS),
            anonymous.post("/api/v1/auth/reset-password", json={"token": token, "password": OURS}),
        )
        done = (thiefs.status_code, owners.status_code)
        assert done in ((403, 204), (401, 204), (200, 400))
        good = [
            each for each in (THEIRS, OURS, PASSWORD) if (await log_in(anonymous, ada.email, each)).status_code == 200
        ]
        assert good == [THEIRS if done == (200, 400) else OURS]

    async def test_takes_no_password_for_a_new_one_that_is_the_old_one(
        self, ada: Person, anonymous: httpx.AsyncClient, mailbox: Mailbox
    ) -> None:
        """It would get another hash, and the owner's link would be good no more."""
        token = await reset_token_of(ada, anonymous, mailbox)
        answer = await self.change(ada, password=PASSWORD)
        assert problem(answer) == (422, "invalid")
        assert answer.json()["errors"][0]["pointer"] == "/password"
        proof = {"token": token, "password": OURS}
        assert (await anonymous.post("/api/v1/auth/reset-password", json=proof)).status_code == 204


class TestASuperusersChange:
    async def test_is_done_to_the_user_as_somebody_else_has_made_them(
        self, ada: Person, superuser: Person, services: AccountServices, meanwhile: Meanwhile
    ) -> None:
        change = superuser.call("PATCH", f"/users/{ada.id}", json={"is_active": False})
        answer = await meanwhile(TAKES_ANOTHER_ADDRESS, ada.id, change)
        assert (answer.status_code, answer.json()["email"]) == (200, "victim@example.org")
        assert not (await services.manager.get(ada.id)).is_active

    async def test_of_who_is_gone_meanwhile_is_told(self, ada: Person, superuser: Person, meanwhile: Meanwhile) -> None:
        change = superuser.call("PATCH", f"/users/{ada.id}", json={"is_active": False})
        assert problem(await meanwhile(IS_GONE, ada.id, change)) == (404, "user-not-found")


class TestASession:
    @pytest.mark.parametrize(
        "change",
        [
            pytest.param({"password": OURS}, id="password"),
            pytest.param({"email": "ada.new@example.org", "is_verified": True}, id="address"),
            pytest.param({"is_active": False}, id="deactivated"),
        ],
    )
    async def test_is_not_begun_by_who_was_found_before_a_change(
        self, ada: Person, services: AccountServices, change: dict[str, object]
    ) -> None:
        as_it_was = await services.manager.get(ada.id)
        await services.manager.change_other(ada.id, change)
        with pytest.raises(BadCredentials):
            await services.strategy.begin(as_it_was)
