"""API3:2023. Nobody sets what is not theirs to set, or is shown what is secret."""

from typing import Any

import httpx
import pytest
from support.people import PASSWORD, Person

RIGHTS = [
    pytest.param({"is_superuser": True}, id="superuser"),
    pytest.param({"is_verified": True}, id="verified"),
    pytest.param({"is_active": True}, id="active"),
    pytest.param({"id": "00000000-0000-0000-0000-000000000000"}, id="id"),
    pytest.param({"hashed_password": "x"}, id="hash"),
    pytest.param({"created_at": "2000-01-01T00:00:00Z"}, id="time"),
]
BOOK = {"title": "Middlemarch", "author": "George Eliot", "publication_date": "1871-12-01"}
OF_THE_CATALOGUE = [
    pytest.param({"id": 7}, id="id"),
    pytest.param({"version": 7}, id="version"),
    pytest.param({"created_at": "2000-01-01T00:00:00Z"}, id="created"),
    pytest.param({"updated_at": "2000-01-01T00:00:00Z"}, id="updated"),
    pytest.param({"title_words": ["x"]}, id="column"),
    pytest.param({"__proto__": {}}, id="prototype"),
]
SHOWN_ONCE = {
    ("Tokens", "access_token"),
    ("Tokens", "refresh_token"),
    ("ApiTokenCreated", "token"),
}
"""Secrets in answers: those that are made for the caller at that moment."""


class TestARight:
    @pytest.mark.parametrize("right", RIGHTS)
    async def test_is_not_taken_when_registering(self, anonymous: httpx.AsyncClient, right: dict[str, Any]) -> None:
        account = {"email": "eve@example.org", "password": PASSWORD}
        refused = await anonymous.post("/api/v1/auth/register", json=account | right)
        assert refused.status_code == 422
        assert refused.json()["errors"] == [{"pointer": f"/{next(iter(right))}", "detail": "is not known here"}]
        made = (await anonymous.post("/api/v1/auth/register", json=account)).json()
        assert (made["is_superuser"], made["is_verified"]) == (False, False)

    @pytest.mark.parametrize("right", RIGHTS)
    async def test_is_not_taken_when_changing_oneself(self, eve: Person, right: dict[str, Any]) -> None:
        before = (await eve.call("GET", "/users/me")).json()
        refused = await eve.call("PATCH", "/users/me", json={"current_password": PASSWORD} | right)
        assert refused.status_code == 422
        assert (await eve.call("GET", "/users/me")).json() == before

    async def test_is_not_taken_by_a_token_of_a_program(self, eve: Person) -> None:
        for scopes in (["users:write"], ["books:write", "*"], []):
            asked = {"name": "export", "scopes": scopes, "expires_in_days": 1, "current_password": PASSWORD}
            assert (await eve.call("POST", "/users/me/tokens", json=asked)).status_code == 422


class TestWhatTheCatalogueSets:
    @pytest.mark.parametrize("field", OF_THE_CATALOGUE)
    async def test_is_set_by_nobody_else(self, client: httpx.AsyncClient, field: dict[str, Any]) -> None:
        made = (await client.post("/api/v1/books", json=BOOK)).json()
        address = f"/api/v1/books/{made['id']}"
        answers = [
            await client.post("/api/v1/books", json=BOOK | field),
            await client.post("/api/v1/books/batch", json={"books": [BOOK | field]}),
            await client.put(address, json=BOOK | field),
            await client.patch(address, json=field),
        ]
        assert [answer.status_code for answer in answers] == [422] * 4
        assert (await client.get(address)).json() == made


class TestWhatIsSecret:
    def test_is_in_no_answer_but_in_those_that_give_it(self, document: dict[str, Any]) -> None:
        answers = _schemas_in(
            [operation["responses"] for path in document["paths"].values() for operation in path.values()]
        )
        shown = _with_those_inside(answers, document["components"]["schemas"])
        assert {"UserRead", "UserPage", "SessionRead", "ApiTokenRead", "Tokens"} <= shown
        secrets = {
            (schema, name)
            for schema in shown
            for name in document["components"]["schemas"][schema].get("properties", {})
            if any(word in name for word in ("password", "hash", "secret", "token")) and name not in _NO_SECRETS
        }
        assert secrets == SHOWN_ONCE

    async def test_is_not_in_what_is_listed(self, ada: Person, superuser: Person) -> None:
        asked = {"name": "export", "scopes": ["books:read"], "expires_in_days": 1, "current_password": PASSWORD}
        token = (await ada.call("POST", "/users/me/tokens", json=asked)).json()["token"]
        for person, path in ((ada, "/users/me/tokens"), (ada, "/users/me/sessions"), (superuser, "/users")):
            text = (await person.call("GET", path)).text
            assert token not in text
            assert ada.refresh_token not in text
            assert "argon2" not in text


_NO_SECRETS = {"token_type", "next_page_token", "tokens"}


def _schemas_in(part: Any) -> set[str]:
    """The names of those that a part of the document refers to."""
    if isinstance(part, dict):
        here = {part["$ref"].rpartition("/")[2]} if isinstance(part.get("$ref"), str) else set()
        return here.union(*(_schemas_in(each) for each in part.values()))
    return set().union(*(_schemas_in(each) for each in part)) if isinstance(part, list) else set()


def _with_those_inside(names: set[str], schemas: dict[str, Any]) -> set[str]:
    more = names | _schemas_in([schemas[name] for name in names])
    return names if more == names else _with_those_inside(more, schemas)
