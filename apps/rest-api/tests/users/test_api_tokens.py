"""Tokens for programs, over REST."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import httpx
import pytest
from book_db.accounts import api_tokens as api_tokens_module
from rest_api.users.services import AccountServices
from support.mailbox import Mailbox
from support.people import PASSWORD, Person

pytestmark = pytest.mark.usefixtures("quick_hashing")

ANOTHER = "staple battery horse"
A_BOOK = {"title": "Middlemarch", "author": "George Eliot", "publication_date": "1871-12-01"}


async def make(person: Person, *scopes: str, **changed: Any) -> httpx.Response:
    body = {"name": "nightly export", "scopes": scopes or ("books:read",), "current_password": PASSWORD, **changed}
    return await person.call("POST", "/users/me/tokens", json=body)


async def a_token(person: Person, *scopes: str) -> str:
    answer = await make(person, *scopes)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["token"])


class TestMakingOne:
    async def test_shows_it_this_once(self, ada: Person) -> None:
        answer = await make(ada, "books:write", "books:read", name=" nightly  export ", expires_in_days=90)
        assert answer.status_code == 201
        assert answer.headers["cache-control"] == "no-store"
        made = answer.json()
        assert made["token"].startswith("colophon_api_")
        assert (made["name"], made["scopes"]) == ("nightly  export", ["books:read", "books:write"])
        listed = await ada.call("GET", "/users/me/tokens")
        assert listed.json() == {"tokens": [{key: value for key, value in made.items() if key != "token"}]}
        assert made["token"] not in listed.text

    async def test_takes_the_password_as_it_is_now(self, ada: Person) -> None:
        """With a stolen access token, which lives for minutes, nobody makes a token that lives for a year."""
        answer = await make(ada, current_password=ANOTHER)
        assert (answer.status_code, answer.json()["type"]) == (403, "urn:colophon:wrong-password")
        answer = await ada.call("POST", "/users/me/tokens", json={"name": "export", "scopes": ["books:read"]})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/current_password")
        assert (await ada.call("GET", "/users/me/tokens")).json() == {"tokens": []}

    @pytest.mark.parametrize(
        ("changed", "pointer"),
        [
            pytest.param({"scopes": []}, "/scopes", id="no-scope"),
            pytest.param({"scopes": ["books:read", "books:read"]}, "/scopes", id="a-scope-twice"),
            pytest.param({"scopes": ["users:write"]}, "/scopes/0", id="unknown-scope"),
            pytest.param({"scopes": "books:read"}, "/scopes", id="scope-without-list"),
            pytest.param({"name": " "}, "/name", id="blank-name"),
            pytest.param({"name": "x" * 101}, "/name", id="long-name"),
            pytest.param({"name": "a\nb"}, "/name", id="name-of-two-lines"),
            pytest.param({"expires_in_days": 0}, "/expires_in_days", id="no-days"),
            pytest.param({"expires_in_days": 366}, "/expires_in_days", id="more-than-a-year"),
            pytest.param({"expires_in_days": "30"}, "/expires_in_days", id="days-as-text"),
            pytest.param({"expires_in_days": None}, "/expires_in_days", id="for-ever"),
            pytest.param({"user_id": 1}, "/user_id", id="for-another"),
        ],
    )
    async def test_says_what_is_wrong(self, ada: Person, changed: dict[str, Any], pointer: str) -> None:
        answer = await make(ada, **changed)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)

    async def test_is_bounded(self, ada: Person, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(api_tokens_module, "MOST", 2)
        answers = [await make(ada) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [201, 201, 409]
        assert answers[2].json()["type"] == "urn:colophon:too-many-api-tokens"


class TestWhatItOpens:
    async def test_with_books_read_is_to_read_books(self, ada: Person) -> None:
        book = (await ada.call("POST", "/books", json=A_BOOK)).json()
        token = await a_token(ada, "books:read")
        for path in ("/books", f"/books/{book['id']}"):
            assert (await ada.call("GET", path, token=token)).status_code == 200

    async def test_with_books_write_is_to_write_books_in_its_users_name(self, ada: Person) -> None:
        token = await a_token(ada, "books:write")
        book = await ada.call("POST", "/books", token=token, json=A_BOOK)
        assert book.status_code == 201
        path = f"/books/{book.json()['id']}"
        assert (await ada.call("PATCH", path, token=token, json={"title": "Romola"})).status_code == 200
        assert (await ada.call("PUT", path, token=token, json=A_BOOK)).status_code == 200
        assert (await ada.call("DELETE", path, token=token)).status_code == 204

    @pytest.mark.parametrize(
        ("scope", "missing", "method", "path"),
        [
            pytest.param("books:write", "books:read", "GET", "/books", id="list"),
            pytest.param("books:write", "books:read", "GET", "/books/1", id="read"),
            pytest.param("books:read", "books:write", "POST", "/books", id="create"),
            pytest.param("books:read", "books:write", "POST", "/books/batch", id="create-many"),
            pytest.param("books:read", "books:write", "PUT", "/books/1", id="replace"),
            pytest.param("books:read", "books:write", "PATCH", "/books/1", id="change"),
            pytest.param("books:read", "books:write", "DELETE", "/books/1", id="delete"),
        ],
    )
    async def test_ends_with_its_scopes(self, ada: Person, scope: str, missing: str, method: str, path: str) -> None:
        answer = await ada.call(method, path, token=await a_token(ada, scope), content=b"{")
        assert (answer.status_code, answer.json()["type"]) == (403, "urn:colophon:insufficient-scope")
        assert answer.headers["www-authenticate"] == f'Bearer error="insufficient_scope", scope="{missing}"'

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "/users/me"),
            ("PATCH", "/users/me"),
            ("GET", "/users/me/sessions"),
            ("DELETE", "/users/me/sessions"),
            ("DELETE", f"/users/me/sessions/{UUID(int=0)}"),
            ("GET", "/users/me/tokens"),
            ("POST", "/users/me/tokens"),
            ("DELETE", f"/users/me/tokens/{UUID(int=0)}"),
            ("GET", "/users"),
            ("GET", f"/users/{UUID(int=0)}"),
            ("PATCH", f"/users/{UUID(int=0)}"),
            ("DELETE", f"/users/{UUID(int=0)}"),
            ("POST", "/auth/logout"),
        ],
    )
    async def test_is_books_and_nothing_else(self, superuser: Person, method: str, path: str) -> None:
        token = await a_token(superuser, "books:read", "books:write")
        answer = await superuser.call(method, path, token=token, content=b"{")
        assert (answer.status_code, answer.json()["type"]) == (403, "urn:colophon:insufficient-scope")
        assert answer.headers["www-authenticate"] == 'Bearer error="insufficient_scope"'


Ending = Callable[[Person, str, httpx.AsyncClient, Mailbox, AccountServices], Awaitable[object]]


async def remove(ada: Person, token_id: str, *_: object) -> None:
    assert (await ada.call("DELETE", f"/users/me/tokens/{token_id}")).status_code == 204


async def deactivate(ada: Person, _: str, __: httpx.AsyncClient, ___: Mailbox, services: AccountServices) -> None:
    await services.manager.change_other(ada.id, {"is_active": False})
    # It does not come back with the user.
    await services.manager.change_other(ada.id, {"is_active": True})


async def delete_user(ada: Person, _: str, __: httpx.AsyncClient, ___: Mailbox, services: AccountServices) -> None:
    await services.manager.delete(await services.manager.get(ada.id))


async def reset_password(
    ada: Person, _: str, anonymous: httpx.AsyncClient, mailbox: Mailbox, __: AccountServices
) -> None:
    await anonymous.post("/api/v1/auth/forgot-password", json={"email": ada.email})
    new = {"token": await mailbox.reset_token(ada.email), "password": ANOTHER}
    assert (await anonymous.post("/api/v1/auth/reset-password", json=new)).status_code == 204


class TestItsEnd:
    @pytest.mark.parametrize(
        "end",
        [
            pytest.param(remove, id="removed"),
            pytest.param(deactivate, id="user-deactivated"),
            pytest.param(delete_user, id="user-deleted"),
            pytest.param(reset_password, id="password-reset"),
        ],
    )
    async def test_is_at_once(
        self, ada: Person, anonymous: httpx.AsyncClient, mailbox: Mailbox, services: AccountServices, end: Ending
    ) -> None:
        made = (await make(ada)).json()
        assert (await ada.call("GET", "/books", token=made["token"])).status_code == 200
        await end(ada, made["id"], anonymous, mailbox, services)
        answer = await ada.call("GET", "/books", token=made["token"])
        assert (answer.status_code, answer.json()["type"]) == (401, "urn:colophon:unauthenticated")

    async def test_comes_when_a_superuser_sets_the_password(self, ada: Person, superuser: Person) -> None:
        token = await a_token(ada)
        change = {"password": ANOTHER, "current_password": PASSWORD}
        assert (await superuser.call("PATCH", f"/users/{ada.id}", json=change)).status_code == 200
        assert (await ada.call("GET", "/books", token=token)).status_code == 401

    async def test_is_not_when_its_user_changes_the_password_or_signs_out(self, ada: Person) -> None:
        token = await a_token(ada)
        change = {"password": ANOTHER, "current_password": PASSWORD}
        assert (await ada.call("PATCH", "/users/me", json=change)).status_code == 200
        assert (await ada.call("POST", "/auth/logout")).status_code == 204
        assert (await ada.call("GET", "/books", token=token)).status_code == 200

    async def test_is_not_for_others_to_bring_about(self, ada: Person, anonymous: httpx.AsyncClient) -> None:
        made = (await make(ada)).json()
        bob = await Person.register(anonymous)
        await bob.sign_in()
        answers = [await bob.call("DELETE", f"/users/me/tokens/{each}") for each in (made["id"], UUID(int=0))]
        assert [(answer.status_code, answer.json()["type"]) for answer in answers] == [
            (404, "urn:colophon:api-token-not-found")
        ] * 2
        assert (await ada.call("GET", "/books", token=made["token"])).status_code == 200
