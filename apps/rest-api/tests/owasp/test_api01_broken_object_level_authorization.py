"""API1:2023. What has an owner opens to its owner alone, whoever knows its id."""

from typing import Any

import pytest
from book_db.accounts.oauth_accounts import ProviderAccount
from fastapi import FastAPI
from rest_api.users.services import AccountServices
from support.operations import Operation
from support.people import PASSWORD, Person

SHARED = {"book_id"}
"""Of all who are signed in: the catalogue has no owners."""


@pytest.fixture
async def things(ada: Person, app: FastAPI) -> dict[str, Any]:
    """The id of something of Ada's for each parameter by which something is found."""
    services: AccountServices = app.state.account_services
    await services.users.change(ada.id, {"is_verified": True}, decided_on={"id": ada.id})
    await services.oauth_accounts.link(ada.id, ProviderAccount("github", "1", ada.email))
    links = await services.oauth_accounts.links_of(ada.id)
    token = await ada.call(
        "POST",
        "/users/me/tokens",
        json={"name": "export", "scopes": ["books:read"], "expires_in_days": 1, "current_password": PASSWORD},
    )
    sessions = (await ada.call("GET", "/users/me/sessions")).json()["sessions"]
    return {
        "user_id": ada.id,
        "token_id": token.json()["id"],
        "session_id": sessions[0]["id"],
        "link_id": links[0].id,
        "access_id": sessions[0]["id"],
    }


async def _seen_by(owner: Person) -> list[Any]:
    """All that the owner has, but for when it was used last."""
    paths = ("/users/me", "/users/me/sessions", "/users/me/tokens", "/users/me/logins")
    seen = [(await owner.call("GET", path)).json() for path in paths]
    for session in seen[1]["sessions"]:
        del session["last_used_at"]
    return seen


class TestWhatHasAnOwner:
    async def test_is_out_of_reach_of_others_and_stays_as_it_is(
        self, ada: Person, eve: Person, things: dict[str, Any], operations: list[Operation]
    ) -> None:
        before = await _seen_by(ada)
        tried = []
        for operation in operations:
            owned = set(operation.path_parameters) - SHARED
            if not owned:
                continue
            assert owned <= things.keys(), f"say whose {owned} of {operation.id} is"
            path = operation.address(**things).removeprefix("/api/v1")
            body = {"current_password": PASSWORD} if operation.id == "unlinkLogin" else {"is_active": False}
            answer = await eve.call(operation.method, path, json=body)
            assert answer.status_code in (403, 404), (operation.id, answer.status_code)
            tried.append(operation.id)
        assert {"getUser", "changeUser", "deleteUser", "endSession", "removeToken", "unlinkLogin"} <= set(tried)
        assert await _seen_by(ada) == before

    async def test_is_found_by_its_owner(self, ada: Person, things: dict[str, Any]) -> None:
        unlink = ada.call("POST", f"/users/me/logins/{things['link_id']}/unlink", json={"current_password": PASSWORD})
        assert (await unlink).status_code == 204
        for kind, name in (("tokens", "token_id"), ("sessions", "session_id")):
            assert (await ada.call("DELETE", f"/users/me/{kind}/{things[name]}")).status_code == 204

    async def test_is_in_no_list_of_others(self, eve: Person, things: dict[str, Any]) -> None:
        for path in ("/users/me/sessions", "/users/me/tokens", "/users/me/logins"):
            text = (await eve.call("GET", path)).text
            assert not any(str(each) in text for each in things.values())

    async def test_stays_when_another_ends_all_other_sessions(self, ada: Person, eve: Person) -> None:
        assert (await eve.call("DELETE", "/users/me/sessions")).status_code == 204
        assert (await ada.call("GET", "/users/me")).status_code == 200

    async def test_stays_when_another_changes_a_password(self, ada: Person, eve: Person) -> None:
        change = {"password": PASSWORD * 2, "current_password": PASSWORD}
        assert (await eve.call("PATCH", "/users/me", json=change)).status_code == 200
        assert (await ada.call("GET", "/users/me")).status_code == 200
        assert await ada.sign_in()
