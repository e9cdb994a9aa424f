"""API4:2023. Whatever can be many, long, large or deep has a bound, and reaching it costs the service little."""

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from support.operations import Operation
from support.people import PASSWORD

BOOK = {"title": "Middlemarch", "author": "George Eliot", "publication_date": "1871-12-01"}
QUICK = 5.0
"""Seconds of the processor, which others may want too; with an algorithm of the wrong kind these take minutes."""


def _schemas(part: Any, document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each schema of a field, with its name, in a part of the document and in what it refers to."""
    if "$ref" in part:
        yield from _schemas(document["components"]["schemas"][part["$ref"].rpartition("/")[2]], document)
    for name, field in part.get("properties", {}).items():
        yield name, field
        yield from _schemas(field, document)
    for inner in (part.get("items"), *part.get("anyOf", ())):
        if inner:
            yield from _schemas(inner, document)


class TestEveryNumber:
    def test_in_a_query_has_bounds(self, operations: list[Operation]) -> None:
        numbers = [
            (operation.id, each["name"])
            for operation in operations
            for each in operation.parameters
            if each["schema"].get("type") == "integer" and not {"minimum", "maximum"} <= each["schema"].keys()
        ]
        assert numbers == []

    @pytest.mark.parametrize("size", ["0", "-1", "1001", "9" * 30, "9" * 5_000, "1e3", "NaN", "\u0661"])
    async def test_of_books_on_a_page_is_a_thousand_at_most(self, client: httpx.AsyncClient, size: str) -> None:
        answer = await client.get("/api/v1/books", params={"page_size": size})
        assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (422, "page_size")

    @pytest.mark.parametrize("number", ["9" * 19, "9" * 5_000, "-1", "0", "1.5", "0x10", "%00", "1;DROP TABLE books"])
    async def test_of_a_book_is_one_of_64_bits(self, client: httpx.AsyncClient, number: str) -> None:
        assert (await client.get(f"/api/v1/books/{number}")).status_code == 422


class TestEveryText:
    def test_of_a_request_has_a_greatest_length(self, document: dict[str, Any], operations: list[Operation]) -> None:
        unbound = {
            (operation.id, name)
            for operation in operations
            for name, field in _fields_of(operation, document)
            if field.get("type") == "string" and not {"maxLength", "enum", "const", "format"} & field.keys()
        }
        # The form of RFC 6749, which is never stored: the body as a whole has a bound.
        assert {name for _, name in unbound} <= {"username", "grant_type", "scope", "client_id", "client_secret"}

    def test_of_a_list_has_a_greatest_count(self, document: dict[str, Any], operations: list[Operation]) -> None:
        unbound = {
            (operation.id, name)
            for operation in operations
            for name, field in _fields_of(operation, document)
            if field.get("type") == "array" and not field.get("maxItems") and not field.get("uniqueItems")
        }
        assert unbound == set()

    @pytest.mark.parametrize(
        "text",
        [
            pytest.param("a" * 1_000_000, id="long"),
            pytest.param(" " * 1_000_000 + "x", id="blanks"),
            pytest.param("\u0301" * 1_000_000, id="accents-without-end"),
            pytest.param("\ufdfa" * 1_000_000, id="grows-18-fold-when-normalised"),
            pytest.param(("a" * 30 + "!") * 10_000, id="redos"),
            pytest.param("(" * 100_000 + ")" * 100_000, id="parentheses"),
        ],
    )
    async def test_that_is_far_too_long_is_answered_quickly(self, client: httpx.AsyncClient, text: str) -> None:
        began = time.process_time()
        made = await client.post("/api/v1/books/batch", json={"books": [BOOK | {"title": text}]})
        # As long as is read of them.
        text = text[:3_000]
        registered = await client.post("/api/v1/auth/register", json={"email": text, "password": text})
        signed_in = await client.post("/api/v1/auth/login", data={"username": text, "password": text})
        took = time.process_time() - began
        assert made.status_code in (201, 422)
        assert [registered.status_code, signed_in.status_code] == [422, 400]
        assert took < QUICK

    @pytest.mark.parametrize(
        "question",
        [
            pytest.param(" ".join(["word"] * 3_000), id="words"),
            pytest.param(" ".join(f"w{n}" for n in range(3_000)), id="other-words"),
            pytest.param("'" * 5_000, id="quotes"),
            pytest.param("& | ! ( <-> )" * 500, id="operators"),
            pytest.param("%_\\" * 3_000, id="wildcards"),
        ],
    )
    async def test_that_is_looked_for_costs_little(self, client: httpx.AsyncClient, question: str) -> None:
        began = time.process_time()
        for name in ("q", "title", "author"):
            answer = await client.get("/api/v1/books", params={name: question})
            # A question that the database takes minutes for is broken off and answered with 503.
            assert answer.status_code in (200, 422), name
        assert time.process_time() - began < QUICK


class TestEveryBody:
    @pytest.mark.parametrize(
        "body",
        [
            pytest.param(b"[" * 250_000, id="open-arrays"),
            pytest.param(b"[" * 125_000 + b"]" * 125_000, id="arrays"),
            pytest.param(b'{"title":' * 25_000 + b"1" + b"}" * 25_000, id="objects"),
            pytest.param(b'{"title": ' + b"9" * 250_000 + b"}", id="number"),
            pytest.param(b'{"title": 1e' + b"9" * 1_000 + b"}", id="exponent"),
            pytest.param(b"{" + b",".join(b'"k%d":1' % n for n in range(20_000)) + b"}", id="fields"),
            pytest.param(b"\xff\xfe" * 100_000, id="no-text"),
        ],
    )
    async def test_is_refused_quickly_however_it_is_made(self, client: httpx.AsyncClient, body: bytes) -> None:
        began = time.process_time()
        for path in ("/books", "/books/batch", "/auth/register"):
            answer = await client.post(f"/api/v1{path}", content=body, headers={"Content-Type": "application/json"})
            assert answer.status_code in (400, 413, 422), path
            assert len(answer.content) < 20_000
        assert time.process_time() - began < QUICK

    @pytest.mark.parametrize(
        ("path", "kind", "longest"),
        [
            pytest.param("books/batch", "json", 8 * 2**20, id="many-books"),
            pytest.param("books", "json", 2**18, id="a-book"),
            pytest.param("auth/register", "json", 2**16, id="an-account"),
            pytest.param("auth/login", "x-www-form-urlencoded", 2**16, id="a-form"),
        ],
    )
    async def test_has_a_greatest_length(self, client: httpx.AsyncClient, path: str, kind: str, longest: int) -> None:
        headers = {"Content-Type": f"application/{kind}"}
        for length, is_read in ((longest, True), (longest + 1, False)):
            declared = await client.post(f"/api/v1/{path}", content=b" " * length, headers=headers)
            streamed = await client.post(f"/api/v1/{path}", content=_pieces(length), headers=headers)
            for answer in (declared, streamed):
                assert (answer.status_code != 413) is is_read

    async def test_has_a_thousand_books_at_most(self, client: httpx.AsyncClient) -> None:
        answer = await client.post("/api/v1/books/batch", content=json.dumps({"books": [BOOK] * 1_001}), headers=_JSON)
        assert answer.status_code == 422
        assert (await client.get("/api/v1/books")).json()["books"] == []


class TestAPassword:
    @pytest.mark.parametrize("length", [257, 60_000])
    async def test_that_is_too_long_is_not_hashed(self, anonymous: httpx.AsyncClient, length: int) -> None:
        account = {"email": "ada@example.org", "password": "x" * length}
        assert (await anonymous.post("/api/v1/auth/register", json=account)).status_code == 422

    async def test_is_not_hashed_after_too_many_attempts(self, anonymous: httpx.AsyncClient) -> None:
        form = {"username": "nobody@example.org", "password": PASSWORD}
        statuses = [(await anonymous.post("/api/v1/auth/login", data=form)).status_code for _ in range(15)]
        assert statuses[10:] == [429] * 5


_JSON = {"Content-Type": "application/json"}


def _fields_of(operation: Operation, document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for content in operation.document.get("requestBody", {}).get("content", {}).values():
        yield from _schemas(content.get("schema", {}), document)


async def _pieces(length: int) -> Any:
    for start in range(0, length, 65_536):
        yield b" " * min(65_536, length - start)
