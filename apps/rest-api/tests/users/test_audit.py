"""The audit trail: a row and a line for each thing that is done, or tried, with an account."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import httpx
import pytest
from book_db.accounts.audit_trail import AccountEvent, AccountEvents
from book_db.accounts.oauth_accounts import ProviderAccount
from book_db.errors import DatabaseUnavailable
from fastapi import FastAPI
from rest_api.users import trail as trail_module
from rest_api.users.services import AccountServices
from rest_api.users.trail import KINDS
from structlog.testing import capture_logs
from support.mailbox import Mailbox
from support.operations import operations_of
from support.people import PASSWORD, Person, log_in, refresh

pytestmark = pytest.mark.usefixtures("quick_hashing")

ANOTHER = "staple battery horse"


@pytest.fixture
def events(app: FastAPI) -> AccountEvents:
    found: AccountEvents = app.state.account_events
    return found


@pytest.fixture
def noted(events: AccountEvents) -> Callable[..., Awaitable[list[tuple[str, str]]]]:
    """Kind and outcome of the events, the oldest first."""

    async def kinds(user_id: UUID | None = None) -> list[tuple[str, str]]:
        return [(each.kind, each.outcome) for each in await events.page(1_000, user_id=user_id)][::-1]

    return kinds


Noted = Callable[..., Awaitable[list[tuple[str, str]]]]


class TestSigningIn:
    async def test_is_noted_right_wrong_and_refused(
        self, ada: Person, anonymous: httpx.AsyncClient, events: AccountEvents
    ) -> None:
        for password in [PASSWORD, *[f"wrong {number}" for number in range(11)], PASSWORD]:
            await log_in(anonymous, ada.email, password)
        tried = await events.page(100, kind="signed-in")
        assert [each.outcome for each in tried][::-1] == ["done", "done", *["wrong"] * 10, "refused"]
        assert {each.user_id for each in tried if each.outcome != "refused"} == {ada.id}
        right = tried[-2]
        assert right.session_id is not None
        assert (right.address, right.actor_id) == ("127.0.0.1", None)
        assert right.trace_id is not None
        assert len(right.trace_id) == 32

    async def test_with_an_address_that_nobody_has_is_noted_without_it(
        self, anonymous: httpx.AsyncClient, events: AccountEvents
    ) -> None:
        """Some type their password where the address belongs."""
        await log_in(anonymous, "my secret password", PASSWORD)
        [event] = await events.page(100)
        assert (event.kind, event.outcome, event.user_id) == ("signed-in", "wrong", None)
        assert "secret" not in str(event)

    async def test_that_is_refused_again_and_again_is_noted_once_a_minute(
        self,
        ada: Person,
        anonymous: httpx.AsyncClient,
        events: AccountEvents,
        clock: Any,
    ) -> None:
        """There is no limit to what is refused, and there must be one to what is kept."""
        for number in range(30):
            await log_in(anonymous, ada.email, f"wrong {number}")
        assert len(await events.page(100, outcome="refused")) == 1
        clock.now += 61
        await log_in(anonymous, ada.email, "wrong")
        assert len(await events.page(100, outcome="refused")) == 2

    @pytest.fixture
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        class Clock:
            now = 1_000.0

            def monotonic(self) -> float:
                return self.now

        clock = Clock()
        monkeypatch.setattr(trail_module, "time", clock)
        return clock


class TestAnAccount:
    async def test_has_what_its_user_did(self, ada: Person, mailbox: Mailbox, noted: Noted) -> None:
        await ada.confirm(await mailbox.verification_token(ada.email))
        body = {"name": "export", "scopes": ["books:read"], "current_password": PASSWORD}
        token = (await ada.call("POST", "/users/me/tokens", json=body)).json()
        await ada.call("POST", "/users/me/tokens", json=body | {"current_password": ANOTHER})
        await ada.call("DELETE", f"/users/me/tokens/{token['id']}")
        change = {"email": "ada.new@example.org", "password": ANOTHER, "current_password": PASSWORD}
        assert (await ada.call("PATCH", "/users/me", json=change)).status_code == 200
        ada.password = ANOTHER
        await ada.confirm(await mailbox.verification_token("ada.new@example.org"))
        await ada.call("DELETE", "/users/me/sessions")
        await ada.call("POST", "/auth/logout")
        assert await noted(ada.id) == [
            ("registered", "done"),
            ("signed-in", "done"),
            ("address-confirmed", "done"),
            ("token-made", "done"),
            ("token-made", "wrong"),
            ("token-removed", "done"),
            ("address-asked-for", "done"),
            ("password-changed", "done"),
            ("address-changed", "done"),
            ("other-sessions-ended", "done"),
            ("signed-out", "done"),
        ]

    async def test_has_its_recovery_and_the_link_that_came_too_late(
        self, ada: Person, anonymous: httpx.AsyncClient, mailbox: Mailbox, noted: Noted
    ) -> None:
        await anonymous.post("/api/v1/auth/forgot-password", json={"email": ada.email})
        proof = {"token": await mailbox.reset_token(ada.email), "password": ANOTHER}
        for _ in range(2):
            await anonymous.post("/api/v1/auth/reset-password", json=proof)
        assert (await noted())[2:] == [
            ("reset-asked-for", "done"),
            ("password-reset", "done"),
            ("password-reset", "wrong"),
        ]

    async def test_has_a_refresh_token_that_came_again(
        self, ada: Person, anonymous: httpx.AsyncClient, noted: Noted
    ) -> None:
        stolen = ada.refresh_token
        await ada.refresh()
        await refresh(anonymous, stolen)
        assert (await noted())[2:] == [("session-refreshed", "wrong")]

    async def test_has_what_superusers_did_and_who(
        self, ada: Person, superuser: Person, events: AccountEvents, services: AccountServices
    ) -> None:
        await services.users.change(ada.id, {"is_verified": True}, decided_on={"id": ada.id})
        await services.oauth_accounts.link(ada.id, ProviderAccount("github", "1", ada.email))
        proof = {"current_password": PASSWORD}
        path = f"/users/{ada.id}"
        await superuser.call("PATCH", path, json=proof | {"role": "reader", "password": ANOTHER})
        await superuser.call("PATCH", path, json=proof | {"email": "ada.new@example.org", "is_verified": True})
        await superuser.call("PATCH", path, json={"is_active": False})
        await superuser.call("PATCH", path, json={"role": "admin"})
        await superuser.call("POST", f"{path}/sign-out")
        await superuser.call("POST", f"{path}/password-reset")
        await superuser.call("DELETE", path)
        found = (await events.page(100, user_id=ada.id))[::-1][2:]
        assert [(each.kind, each.outcome) for each in found] == [
            ("password-set", "done"),
            ("role-reader-given", "done"),
            ("address-set", "done"),
            ("deactivated", "done"),
            ("role-admin-given", "refused"),
            ("access-ended", "done"),
            ("reset-asked-for", "done"),
            ("account-removed", "done"),
        ]
        assert {each.actor_id for each in found} == {superuser.id}

    async def test_has_who_tried_to_manage_it_and_may_not(self, ada: Person, noted: Noted) -> None:
        await ada.call("DELETE", f"/users/{ada.id}")
        assert (await noted(ada.id))[2:] == [("account-removed", "refused")]


class TestTheTrail:
    async def test_holds_no_secret(self, ada: Person, anonymous: httpx.AsyncClient, mailbox: Mailbox) -> None:
        with capture_logs() as lines:
            body = {"name": "export", "scopes": ["books:read"], "current_password": PASSWORD}
            token = (await ada.call("POST", "/users/me/tokens", json=body)).json()["token"]
            await log_in(anonymous, ada.email, ANOTHER)
            await ada.sign_in()
        told = [line for line in lines if line["event"] == "account event"]
        assert [line["kind"] for line in told] == ["token-made", "signed-in", "signed-in"]
        kept = str(told) + (await ada.call("GET", "/users/me/audit")).text
        for secret in (PASSWORD, ANOTHER, token, ada.token, ada.refresh_token, ada.email):
            assert secret not in kept

    async def test_is_read_by_users_for_themselves_and_by_superusers_for_all(
        self, ada: Person, superuser: Person
    ) -> None:
        mine = (await ada.call("GET", "/users/me/audit")).json()["events"]
        assert [each["kind"] for each in mine] == ["signed-in", "registered"]
        assert {each["user_id"] for each in mine} == {str(ada.id)}
        everybodys = await superuser.call("GET", "/audit", params={"kind": "registered"})
        assert {each["user_id"] for each in everybodys.json()["events"]} == {str(ada.id), str(superuser.id)}
        one = await superuser.call("GET", "/audit", params={"user_id": str(ada.id)})
        assert one.json()["events"] == mine
        answer = await ada.call("GET", "/audit")
        assert (answer.status_code, answer.json()["type"]) == (403, "urn:colophon:not-superuser")

    @pytest.mark.parametrize("kind", ["signed\0in", "Signed-In", "", "a" * 51])
    async def test_of_a_kind_that_is_none_is_refused(self, ada: Person, kind: str) -> None:
        """PostgreSQL takes no NUL, and would fail where the client is to be told."""
        answer = await ada.call("GET", "/users/me/audit", params={"kind": kind})
        assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (422, "kind")

    async def test_is_paged(self, superuser: Person, events: AccountEvents) -> None:
        await events.add([AccountEvent("signed-in", "wrong", detail=str(number)) for number in range(25)])
        query: dict[str, Any] = {"page_size": 10, "outcome": "wrong"}
        pages = []
        while True:
            page = (await superuser.call("GET", "/audit", params=query)).json()
            pages.append([each["detail"] for each in page["events"]])
            if page["next_before"] is None:
                break
            query["before"] = page["next_before"]
        assert pages == [
            [str(number) for number in numbers] for numbers in (range(24, 14, -1), range(14, 4, -1), range(4, -1, -1))
        ]

    async def test_forgets_what_is_older_than_it_is_kept(self, events: AccountEvents) -> None:
        await events.add([AccountEvent("signed-in", "done")] * 3)
        database = events._database
        async with database.transaction() as connection:
            await connection.exec_driver_sql(
                "UPDATE account_events SET occurred_at = now() - interval '31 days'"
                " WHERE id > (SELECT min(id) FROM account_events)"
            )
        assert await events.sweep(31) == 2
        assert await events.sweep(31) == 0
        assert len(await events.page(100)) == 1

    async def test_that_cannot_be_stored_is_in_the_log_and_the_answer_is_what_was_done(
        self, ada: Person, events: AccountEvents, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def away(*_: object) -> None:
            raise DatabaseUnavailable

        monkeypatch.setattr(events, "add", away)
        with capture_logs() as lines:
            assert (await ada.call("POST", "/auth/logout")).status_code == 204
        assert [line["event"] for line in lines] == ["account event", "an account event could not be stored"]

    def test_knows_every_operation_that_changes_an_account(self, app: FastAPI) -> None:
        unnoted = {"requestVerification": "sends a mail and changes nothing"}
        changing = {
            operation.id
            for operation in operations_of(app.openapi())
            if operation.method != "GET" and not operation.path.startswith("/api/v1/books")
        }
        with_providers = {"unlinkLogin", "signInWithGitHub", "signInWithGoogle"}
        assert changing | with_providers == KINDS.keys() | unnoted.keys()
