"""API5:2023. What superusers may do is not done by others, and a program does what its token is for."""

import httpx
import pytest
from support.operations import Operation
from support.people import PASSWORD, Person


def _is_for_superusers(operation: Operation) -> bool:
    return operation.path.startswith("/api/v1/users") and not operation.path.startswith("/api/v1/users/me")


class TestWhatSuperusersDo:
    async def test_is_done_by_nobody_else(self, eve: Person, ada: Person, operations: list[Operation]) -> None:
        theirs = [operation for operation in operations if _is_for_superusers(operation)]
        assert {operation.id for operation in theirs} >= {"listUsers", "getUser", "changeUser", "deleteUser"}
        for operation in theirs:
            path = operation.address(user_id=ada.id).removeprefix("/api/v1")
            answer = await eve.call(operation.method, path, json={"is_superuser": True})
            assert (answer.status_code, answer.json()["type"]) == (403, "urn:colophon:not-superuser"), operation.id
        print(f"{len(theirs)} operations are for superusers, none of them answers others")

    async def test_is_not_done_to_oneself_either(self, eve: Person) -> None:
        answer = await eve.call("PATCH", f"/users/{eve.id}", json={"is_superuser": True})
        assert answer.status_code == 403
        assert (await eve.call("GET", "/users/me")).json()["is_superuser"] is False

    async def test_ends_with_the_right_to_it(self, superuser: Person, eve: Person) -> None:
        for person, is_superuser in ((eve, True), (superuser, False)):
            change = {"is_superuser": is_superuser, "current_password": PASSWORD}
            assert (await superuser.call("PATCH", f"/users/{person.id}", json=change)).status_code == 200
        assert (await superuser.call("GET", "/users")).status_code == 403

    @pytest.mark.parametrize("header", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
    async def test_is_not_smuggled_into_another_method(
        self, eve: Person, anonymous: httpx.AsyncClient, header: str
    ) -> None:
        anonymous.headers[header] = "DELETE"
        answer = await eve.call("POST", f"/users/{eve.id}")
        assert answer.status_code == 405
        assert (await eve.call("GET", "/users/me")).status_code == 200


class TestATokenOfAProgram:
    @pytest.mark.parametrize("scope", ["books:read", "books:write"])
    async def test_opens_what_its_scope_names_and_nothing_else(
        self, superuser: Person, operations: list[Operation], scope: str
    ) -> None:
        asked = {"name": "program", "scopes": [scope], "expires_in_days": 1, "current_password": PASSWORD}
        token = (await superuser.call("POST", "/users/me/tokens", json=asked)).json()["token"]
        opened = []
        for operation in operations:
            if operation.is_open:
                continue
            answer = await superuser.call(
                operation.method, operation.address().removeprefix("/api/v1"), token=token, json={}
            )
            if answer.status_code == 403:
                assert answer.json()["type"] == "urn:colophon:insufficient-scope", operation.id
            else:
                assert answer.status_code != 401, operation.id
                opened.append(operation)
        print(f"{scope} opens", *sorted(operation.id for operation in opened))
        assert {operation.id for operation in opened} == {
            operation.id for operation in operations if operation.is_open_to("ApiToken") and _needs(operation) == scope
        }
        assert all(operation.path.startswith("/api/v1/books") for operation in opened)

    async def test_makes_no_other_and_changes_no_account(self, superuser: Person) -> None:
        asked = {
            "name": "program",
            "scopes": ["books:read", "books:write"],
            "expires_in_days": 1,
            "current_password": PASSWORD,
        }
        token = (await superuser.call("POST", "/users/me/tokens", json=asked)).json()["token"]
        change = {"password": PASSWORD * 2, "current_password": PASSWORD}
        for method, path, body in (
            ("POST", "/users/me/tokens", asked),
            ("PATCH", "/users/me", change),
            ("GET", "/users", None),
        ):
            assert (await superuser.call(method, path, token=token, json=body)).status_code == 403


def _needs(operation: Operation) -> str:
    return "books:read" if operation.method == "GET" else "books:write"
