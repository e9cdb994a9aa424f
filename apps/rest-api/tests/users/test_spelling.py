"""Addresses and queries at every operation: numbers and ids in one spelling each, and texts in UTF-8."""

from collections.abc import Iterator
from urllib.parse import quote

import httpx
import pytest
from fastapi import FastAPI
from support.operations import Operation, operations_of
from support.people import Person

pytestmark = pytest.mark.usefixtures("quick_hashing")

BOOKS = "/api/v1/books"
A_BOOK = {"title": "Middlemarch", "author": "Jürgen", "publication_date": "1871-12-01"}

OTHERWISE = {
    "an-underscore": "1_0",
    "a-plus": "+1",
    "a-zero-before-it": "01",
    "zeros-alone": "00",
    "a-fraction": "1.0",
    "an-exponent": "1e0",
    "a-blank-before-it": " 1",
    "a-blank-behind-it": "1 ",
    "a-tab": "1\t",
    "a-line": "1\n",
    "arabic-digits": "\N{ARABIC-INDIC DIGIT ONE}",
    "fullwidth-digits": "\N{FULLWIDTH DIGIT ONE}",
    "hexadecimal": "0x1",
    "minus-zero": "-0",
    "a-true-one": "true",
    "thousands-of-digits": "1" * 5_000,
    "not-utf-8": b"\xe9",
}


def of_type(operation: Operation, kind: str) -> Iterator[tuple[str, str]]:
    """The parameters that are integers, or UUIDs: where each is, and its name."""
    for each in operation.parameters:
        schemas = each["schema"].get("anyOf", [each["schema"]])
        if any(kind in (schema.get("type"), schema.get("format")) for schema in schemas):
            yield each["in"], each["name"]


def named(answer: httpx.Response) -> list[str]:
    """The parameters that are wrong; of a body that is wrong too, nothing."""
    return [error["parameter"] for error in answer.json()["errors"] if "parameter" in error]


class TestANumber:
    @pytest.mark.parametrize("spelled", OTHERWISE.values(), ids=OTHERWISE)
    async def test_that_is_spelled_otherwise_is_refused_at_every_operation(
        self, app: FastAPI, superuser: Person, spelled: str | bytes
    ) -> None:
        found = 0
        for operation in operations_of(app.openapi()):
            for place, name in of_type(operation, "integer"):
                given = quote(spelled, safe="")
                path = operation.address(**{name: given} if place == "path" else {})
                query = f"?{name}={given}" if place == "query" else ""
                answer = await superuser.call(operation.method, path.removeprefix("/api/v1") + query, json=A_BOOK)
                assert (answer.status_code, named(answer)) == (422, [name]), (operation.id, answer.text)
                found += 1
        assert found >= 8

    @pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE"])
    @pytest.mark.parametrize("spelled", OTHERWISE.values(), ids=OTHERWISE)
    async def test_that_is_spelled_otherwise_is_no_book(
        self, client: httpx.AsyncClient, method: str, spelled: str | bytes
    ) -> None:
        await client.post(f"{BOOKS}/batch", json={"books": [A_BOOK] * 10})
        answer = await client.request(method, f"{BOOKS}/{quote(spelled, safe='')}", json=A_BOOK)
        assert answer.status_code == 422
        listed = (await client.get(BOOKS)).json()["books"]
        assert [book["version"] for book in listed] == [1] * 10

    @pytest.mark.parametrize("path", ["1/", "%2F1", "1%2F", "1%00", "1;x", "1%20"])
    async def test_with_something_beside_it_is_no_book(self, client: httpx.AsyncClient, path: str) -> None:
        await client.post(BOOKS, json=A_BOOK)
        assert (await client.delete(f"{BOOKS}/{path}")).status_code in {404, 422}
        assert (await client.get(f"{BOOKS}/1")).status_code == 200

    async def test_may_have_its_digits_percent_encoded(self, client: httpx.AsyncClient) -> None:
        """RFC 3986, 6.2.2.2: that is the same address."""
        await client.post(BOOKS, json=A_BOOK)
        assert (await client.get(f"{BOOKS}/%31")).json()["id"] == 1

    @pytest.mark.parametrize("tag", ['"01"', '"+1"', '"1_0"', '"1.0"'])
    async def test_in_a_tag_is_a_version_in_one_spelling(self, client: httpx.AsyncClient, tag: str) -> None:
        await client.post(BOOKS, json=A_BOOK)
        answer = await client.delete(f"{BOOKS}/1", headers={"If-Match": tag})
        assert answer.status_code == 412


class TestAnId:
    @pytest.mark.parametrize(
        "form",
        [
            pytest.param("{}", id="no-hyphens"),
            pytest.param("{{{}}}", id="braces"),
            pytest.param("urn:uuid:{}", id="urn"),
            pytest.param(" {}", id="blank"),
        ],
    )
    async def test_that_is_spelled_otherwise_is_refused_at_every_operation(
        self, app: FastAPI, superuser: Person, ada: Person, form: str
    ) -> None:
        spelled = form.format(ada.id.hex if form == "{}" else ada.id)
        found = 0
        for operation in operations_of(app.openapi()):
            for place, name in of_type(operation, "uuid"):
                given = quote(spelled, safe="")
                others = dict.fromkeys(operation.path_parameters, str(ada.id))
                path = operation.address(**others | ({name: given} if place == "path" else {}))
                query = f"?{name}={given}" if place == "query" else ""
                answer = await superuser.call(operation.method, path.removeprefix("/api/v1") + query, json={})
                assert answer.status_code == 422, (operation.id, answer.text)
                assert named(answer) == [name], (operation.id, answer.text)
                found += 1
        assert found >= 8
        assert (await superuser.call("GET", f"/users/{ada.id}")).json()["is_active"]

    async def test_may_have_letters_of_either_case(self, superuser: Person, ada: Person) -> None:
        """RFC 9562, 4."""
        answer = await superuser.call("GET", f"/users/{str(ada.id).upper()}")
        assert answer.json()["id"] == str(ada.id)


class TestAText:
    async def test_that_is_not_utf_8_is_refused_by_name_at_every_operation(
        self, app: FastAPI, superuser: Person
    ) -> None:
        found = 0
        for operation in operations_of(app.openapi()):
            names = [each["name"] for each in operation.parameters if each["in"] == "query"]
            for name in names:
                answer = await superuser.call(
                    operation.method, f"{operation.address().removeprefix('/api/v1')}?{name}=%E9"
                )
                expected = [{"parameter": name, "detail": "must be UTF-8"}]
                assert (answer.status_code, answer.json()["errors"]) == (422, expected), operation.id
                found += 1
        assert found >= 20

    @pytest.mark.parametrize("path", [BOOKS, f"{BOOKS}/export"])
    @pytest.mark.parametrize(
        ("query", "names"),
        [
            pytest.param("author=J%FCrgen", ["author"], id="latin-1"),
            pytest.param("q=%C3", ["q"], id="half-of-a-character"),
            pytest.param("title=%ED%A0%80", ["title"], id="surrogate"),
            pytest.param("title=%C1%A1", ["title"], id="overlong"),
            pytest.param("author=George&title=%FF&q=%FE", ["title", "q"], id="two-of-three"),
            pytest.param("%E9=x", ["\xe9"], id="name"),
        ],
    )
    async def test_that_is_not_utf_8_finds_no_books_in_silence(
        self, client: httpx.AsyncClient, path: str, query: str, names: list[str]
    ) -> None:
        answer = await client.get(f"{path}?{query}")
        assert (answer.status_code, named(answer)) == (422, names)

    @pytest.mark.parametrize(
        "query", ["author=J%C3%BCrgen", "author=%4a%C3%BCrgen", "q=j%c3%bcrgen", "title=Middle%2a"]
    )
    async def test_that_is_utf_8_finds_them(self, client: httpx.AsyncClient, query: str) -> None:
        await client.post(BOOKS, json=A_BOOK)
        answer = await client.get(f"{BOOKS}?{query}")
        assert [book["author"] for book in answer.json()["books"]] == ["Jürgen"]
