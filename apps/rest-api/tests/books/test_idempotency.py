"""Idempotency-Key over HTTP, on a real database."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from book_db.store import Store
from rest_api.users.signing import TokenSigner
from sqlalchemy import text

BOOKS = "/api/v1/books"
BATCH = f"{BOOKS}/batch"
A_BOOK = {"title": "Ἰλιάς 📚", "author": "Ὅμηρος", "publication_date": "1488-12-09"}
KEY = '"8e03978e-40d5-43dd-bc93-6894a57f9324"'

OPERATIONS = [
    pytest.param(BOOKS, A_BOOK, id="one-book"),
    pytest.param(BATCH, {"books": [A_BOOK, A_BOOK | {"title": "Odyssey"}]}, id="many-books"),
]


async def sent(
    client: httpx.AsyncClient, path: str = BOOKS, body: Any = A_BOOK, *, key: str = KEY, **more: str
) -> httpx.Response:
    return await client.post(path, json=body, headers={"Idempotency-Key": key} | more)


async def counted(store: Store) -> tuple[int, int]:
    """Books and events."""
    async with store.database.statement() as connection:
        row = (
            await connection.execute(text("SELECT (SELECT count(*) FROM books), (SELECT count(*) FROM outbox)"))
        ).one()
        return row[0], row[1]


def own_headers(answer: httpx.Response) -> Mapping[str, str]:
    return {name: answer.headers.get(name, "") for name in ("location", "etag", "content-type", "content-length")}


def assert_problem(answer: httpx.Response, status: int, type_: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    problem: dict[str, Any] = answer.json()
    assert (problem["status"], problem["type"]) == (status, f"urn:colophon:{type_}")
    return problem


@pytest.mark.parametrize(("path", "body"), OPERATIONS)
class TestTheSameRequest:
    async def test_gets_the_same_answer_byte_for_byte(
        self, client: httpx.AsyncClient, store: Store, path: str, body: Any
    ) -> None:
        first = await sent(client, path, body)
        assert first.status_code == 201
        assert "idempotent-replayed" not in first.headers
        for _ in range(2):
            again = await sent(client, path, body)
            assert (again.status_code, again.content) == (201, first.content)
            assert own_headers(again) == own_headers(first)
            assert again.headers["idempotent-replayed"] == "true"
        books = len(first.json().get("books", [1]))
        assert await counted(store) == (books, books)

    async def test_is_done_once_when_it_comes_a_hundred_times_at_once(
        self, client: httpx.AsyncClient, store: Store, path: str, body: Any
    ) -> None:
        answers = await asyncio.gather(*(sent(client, path, body) for _ in range(100)))
        print(f"100 at once: {Counter(answer.headers.get('idempotent-replayed', 'first') for answer in answers)}")
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.content for answer in answers}) == 1
        assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
        books = len(answers[0].json().get("books", [1]))
        assert await counted(store) == (books, books)

    async def test_without_a_key_is_done_each_time(
        self, client: httpx.AsyncClient, store: Store, path: str, body: Any
    ) -> None:
        answers = [await client.post(path, json=body) for _ in range(2)]
        assert {answer.status_code for answer in answers} == {201}
        assert not any("idempotent-replayed" in answer.headers for answer in answers)
        books = 2 * len(answers[0].json().get("books", [1]))
        assert await counted(store) == (books, books)


class TestTheSameKey:
    async def test_with_another_request_is_refused(self, client: httpx.AsyncClient, store: Store) -> None:
        await sent(client)
        for path, body in ((BOOKS, A_BOOK | {"title": "Odyssey"}), (BATCH, {"books": [A_BOOK]})):
            assert_problem(await sent(client, path, body), 422, "idempotency-key-reused")
        assert await counted(store) == (1, 1)

    async def test_with_the_same_book_in_other_words_is_the_same_request(
        self, client: httpx.AsyncClient, store: Store
    ) -> None:
        first = await sent(client, body=A_BOOK | {"title": "Café"})
        again = await sent(client, body=dict(reversed(list((A_BOOK | {"title": "  Cafe\u0301\n"}).items()))))
        assert (again.content, again.headers["idempotent-replayed"]) == (first.content, "true")
        assert await counted(store) == (1, 1)

    async def test_of_somebody_else_is_another_key(
        self, client: httpx.AsyncClient, store: Store, signer: TokenSigner
    ) -> None:
        somebody_else = await store.users.add({"email": "ann@example.org", "hashed_password": "none fits"})
        session = await store.sessions.begin(somebody_else.id, 3_600)
        token = signer.sign(somebody_else.id, session.session_id, 3_600)
        await sent(client)
        answer = await sent(client, body=A_BOOK | {"title": "Odyssey"}, Authorization=f"Bearer {token}")
        assert answer.status_code == 201
        assert await counted(store) == (2, 2)

    async def test_after_a_refusal_is_still_free(self, client: httpx.AsyncClient, store: Store) -> None:
        assert_problem(await sent(client, body=A_BOOK | {"title": " "}), 422, "invalid")
        answer = await sent(client)
        assert answer.status_code == 201
        assert "idempotent-replayed" not in answer.headers
        assert await counted(store) == (1, 1)


class TestTheHeader:
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            pytest.param('"8e03978e"', "8e03978e", id="with-and-without-quotes"),
            pytest.param(r'"a\"b\\c"', r'a"b\c', id="escaped-and-not"),
            pytest.param('"' + "x" * 255 + '"', "x" * 255, id="of-255-characters"),
            pytest.param("~", '"~"', id="of-one-character"),
            pytest.param("a,b;c=d", '"a,b;c=d"', id="with-commas"),
        ],
    )
    async def test_is_one_key_in_both_forms(
        self, client: httpx.AsyncClient, store: Store, one: str, other: str
    ) -> None:
        first, again = await sent(client, key=one), await sent(client, key=other)
        assert (first.status_code, again.content) == (201, first.content)
        assert await counted(store) == (1, 1)

    @pytest.mark.parametrize(
        "value",
        [
            pytest.param("", id="empty"),
            pytest.param('""', id="empty-in-quotes"),
            pytest.param("x" * 256, id="too-long"),
            pytest.param('"' + "x" * 256 + '"', id="too-long-in-quotes"),
            pytest.param("a b", id="space"),
            pytest.param('"a b"', id="space-in-quotes"),
            pytest.param('"a', id="not-closed"),
            pytest.param('"a"b"', id="quote-inside"),
            pytest.param('"a\\b"', id="nothing-to-escape"),
            pytest.param('"a";b=c', id="with-a-parameter"),
            pytest.param("caf\xe9", id="not-ascii"),
            pytest.param("a\tb", id="tab"),
        ],
    )
    async def test_that_cannot_be_read_is_named(self, client: httpx.AsyncClient, store: Store, value: str) -> None:
        for path, body in ((BOOKS, A_BOOK), (BATCH, {"books": [A_BOOK]})):
            answer = await client.post(path, json=body, headers=[(b"Idempotency-Key", value.encode("latin-1"))])
            [violation] = assert_problem(answer, 400, "malformed-header")["errors"]
            assert violation["parameter"] == "Idempotency-Key"
        assert await counted(store) == (0, 0)

    async def test_must_not_come_twice(self, client: httpx.AsyncClient, store: Store) -> None:
        answer = await client.post(BOOKS, json=A_BOOK, headers=[("Idempotency-Key", '"a"'), ("Idempotency-Key", '"b"')])
        assert_problem(answer, 400, "malformed-header")
        assert await counted(store) == (0, 0)
