"""If-Match and If-None-Match over HTTP, on a real database."""

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from book_db.store import Store
from book_db.tables import OutboxRow
from book_runtime.settings import load
from rest_api.settings import RestSettings
from sqlalchemy import select
from support.data_layer import statements_sent_to

BOOKS = "/api/v1/books"
A_BOOK = {"title": "Middlemarch", "author": "George Eliot", "publication_date": "1871-12-01"}
WRITERS = 100

WRITES: list[tuple[str, Any]] = [
    ("PUT", A_BOOK | {"title": "Romola"}),
    ("PATCH", {"title": "Romola"}),
    ("DELETE", None),
]

MALFORMED = [
    pytest.param("7", id="no-quotes"),
    pytest.param("", id="empty"),
    pytest.param(" , ,", id="only-commas"),
    pytest.param('"1', id="not-closed"),
    pytest.param('"1""2"', id="no-comma-between"),
    pytest.param('w/"1"', id="small-w"),
    pytest.param('W/ "1"', id="space-after-w"),
    pytest.param('"1 2"', id="space-inside"),
    pytest.param('*, "1"', id="star-among-tags"),
    pytest.param('"1", *', id="star-after-tags"),
    pytest.param("'1'", id="single-quotes"),
]

Headers = list[tuple[bytes, bytes]]


def header(name: str, *values: str) -> Headers:
    return [(name.encode(), value.encode("latin-1")) for value in values]


@pytest.fixture
async def book(client: httpx.AsyncClient) -> dict[str, Any]:
    """A book at version 2."""
    created = (await client.post(BOOKS, json=A_BOOK)).json()
    changed: dict[str, Any] = (await client.patch(f"{BOOKS}/{created['id']}", json={"author": "Mary Ann Evans"})).json()
    return changed


@pytest.fixture
def address(book: dict[str, Any]) -> str:
    return f"{BOOKS}/{book['id']}"


async def versions_told(store: Store) -> list[int]:
    """The versions of the events that wait, in order."""
    async with store.database.statement() as connection:
        rows = await connection.execute(select(OutboxRow.__table__.c.version).order_by(OutboxRow.id))
        return [version for [version] in rows]


def assert_problem(answer: httpx.Response, status: int, type_: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert (problem["status"], problem["type"]) == (status, f"urn:colophon:{type_}")
    return problem


class TestAWrite:
    @pytest.mark.parametrize(
        "headers",
        [
            pytest.param(header("If-Match", '"2"'), id="the-version"),
            pytest.param(header("If-Match", "*"), id="any-version"),
            pytest.param(header("If-Match", '"1" ,,"2",W/"3"'), id="one-of-a-list"),
            pytest.param(header("If-Match", '"1"', '"2"'), id="in-the-second-of-two-headers"),
            pytest.param(header("If-Match", '"a,b", "\xff", "2"'), id="among-tags-that-are-not-ours"),
            pytest.param(header("If-None-Match", '"1"'), id="not-another-one"),
            pytest.param(header("If-None-Match", '"02", "x"'), id="not-one-that-is-not-ours"),
            pytest.param(header("If-Match", '"2"') + header("If-None-Match", 'W/"3"'), id="both-hold"),
        ],
    )
    async def test_is_done_when_its_condition_holds(
        self, client: httpx.AsyncClient, address: str, headers: Headers
    ) -> None:
        answer = await client.patch(address, json={"title": "Romola"}, headers=headers)
        assert (answer.status_code, answer.headers["etag"]) == (200, '"3"')

    @pytest.mark.parametrize(
        "headers",
        [
            pytest.param(header("If-Match", '"1"'), id="an-older-version"),
            pytest.param(header("If-Match", '"3"'), id="a-version-to-come"),
            pytest.param(header("If-Match", 'W/"2"'), id="a-weak-tag"),
            pytest.param(header("If-Match", '""'), id="an-empty-tag"),
            pytest.param(header("If-Match", '"02"'), id="a-leading-zero"),
            pytest.param(header("If-Match", '"2-gzip"'), id="a-tag-of-somebody-else"),
            pytest.param(header("If-Match", '"99999999999999999999", "9999999999999999999"'), id="beyond-int64"),
            pytest.param(header("If-None-Match", '"2"'), id="this-very-version"),
            pytest.param(header("If-None-Match", 'W/"2"'), id="this-very-version-weakly"),
            pytest.param(header("If-None-Match", '"1", "2"'), id="this-version-among-others"),
            pytest.param(header("If-None-Match", "*"), id="only-if-there-is-none"),
            pytest.param(header("If-Match", '"2"') + header("If-None-Match", '"2"'), id="one-of-both-does-not-hold"),
        ],
    )
    async def test_is_refused_with_the_current_etag_when_not(
        self, client: httpx.AsyncClient, store: Store, book: dict[str, Any], address: str, headers: Headers
    ) -> None:
        for method, body in WRITES:
            answer = await client.request(method, address, json=body, headers=headers)
            assert_problem(answer, 412, "precondition-failed")
            assert answer.headers["etag"] == '"2"'
        assert (await client.get(address)).json() == book
        assert await versions_told(store) == [1, 2]

    @pytest.mark.parametrize("value", MALFORMED)
    async def test_with_a_header_that_cannot_be_read_is_told_which(
        self, client: httpx.AsyncClient, store: Store, address: str, value: str
    ) -> None:
        for name in ("If-Match", "If-None-Match"):
            for method, body in WRITES:
                answer = await client.request(method, address, json=body, headers=header(name, value))
                [violation] = assert_problem(answer, 400, "malformed-header")["errors"]
                assert violation["parameter"] == name
        answer = await client.get(address, headers=header("If-None-Match", value))
        assert_problem(answer, 400, "malformed-header")
        assert await versions_told(store) == [1, 2]

    async def test_of_a_book_that_is_not_there_is_told_that_first(self, client: httpx.AsyncClient) -> None:
        for headers in (header("If-Match", '"1"'), header("If-None-Match", "*")):
            for method, body in WRITES:
                answer = await client.request(method, f"{BOOKS}/7", json=body, headers=headers)
                assert_problem(answer, 404, "book-not-found")

    @pytest.mark.parametrize(
        ("method", "body", "outcomes"),
        [
            pytest.param("PUT", A_BOOK, {200: 1, 412: WRITERS - 1}, id="put"),
            pytest.param("PATCH", {"title": "Romola"}, {200: 1, 412: WRITERS - 1}, id="patch"),
            pytest.param("DELETE", None, {204: 1, 404: WRITERS - 1}, id="delete"),
        ],
    )
    async def test_of_a_hundred_with_one_etag_exactly_one_is_done(
        self,
        client: httpx.AsyncClient,
        store: Store,
        address: str,
        method: str,
        body: Any,
        outcomes: dict[int, int],
    ) -> None:
        headers = header("If-Match", '"2"')
        tries = [client.request(method, address, json=body, headers=headers) for _ in range(WRITERS)]
        statuses = Counter(answer.status_code for answer in await asyncio.gather(*tries))
        print(f"{WRITERS} writers with one ETag, {method}: {dict(statuses)}")
        assert statuses == outcomes
        assert await versions_told(store) == [1, 2, 3]


class TestAHeaderOfManyCharacters:
    async def test_is_read_as_fast_as_any(self, client: httpx.AsyncClient, address: str) -> None:
        made_for_it = (", " * 30_000 + "x", '"1",' * 15_000 + "x", " " * 60_000 + "x", '"1"' + "\t" * 60_000 + "x")
        began = time.process_time()
        for value in made_for_it:
            answer = await client.get(address, headers=header("If-None-Match", value))
            assert_problem(answer, 400, "malformed-header")
        assert time.process_time() - began < 5


class TestRequireIfMatch:
    @pytest.fixture
    def rest_settings(self, database_url: str, private_key_file: Path) -> RestSettings:
        return load(
            RestSettings,
            database_url=database_url,
            jwt_private_key_file=private_key_file,
            redis_url=None,
            require_if_match=True,
        )

    @pytest.fixture
    async def address(self, client: httpx.AsyncClient) -> str:
        return str((await client.post(BOOKS, json=A_BOOK)).headers["location"])

    async def test_refuses_a_write_that_does_not_say_what_it_has_seen(
        self, client: httpx.AsyncClient, store: Store, address: str
    ) -> None:
        for method, body in WRITES:
            for headers in ([], header("If-None-Match", '"7"')):
                answer = await client.request(method, address, json=body, headers=headers)
                assert "If-Match" in assert_problem(answer, 428, "precondition-required")["detail"]
        assert await versions_told(store) == [1]

    async def test_takes_one_that_does(self, client: httpx.AsyncClient, store: Store, address: str) -> None:
        for (method, body), value in zip(WRITES, ('"1"', "*", '"3"'), strict=True):
            answer = await client.request(method, address, json=body, headers=header("If-Match", value))
            assert answer.is_success, answer.text
        assert await versions_told(store) == [1, 2, 3, 4]

    async def test_asks_nothing_of_others(self, client: httpx.AsyncClient, address: str) -> None:
        assert (await client.get(address)).status_code == 200
        assert (await client.get(BOOKS)).status_code == 200


class TestARead:
    @pytest.mark.parametrize(
        "headers",
        [
            pytest.param(header("If-None-Match", '"2"'), id="the-version"),
            pytest.param(header("If-None-Match", 'W/"2"'), id="weakly"),
            pytest.param(header("If-None-Match", "*"), id="any-version"),
            pytest.param(header("If-None-Match", '"1", W/"2"'), id="in-a-list"),
            pytest.param(header("If-None-Match", '"1"', '"2"'), id="in-the-second-of-two-headers"),
        ],
    )
    async def test_of_what_one_has_is_answered_without_a_body(
        self, client: httpx.AsyncClient, address: str, headers: Headers
    ) -> None:
        answer = await client.get(address, headers=headers)
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == '"2"'
        assert answer.headers["cache-control"] == "private, no-cache"
        assert "content-type" not in answer.headers

    @pytest.mark.parametrize("value", ['"1"', '"3"', '"22"', '""', '"1", "3"', '"2-gzip"'])
    async def test_of_what_one_has_not_gives_the_book(
        self, client: httpx.AsyncClient, book: dict[str, Any], address: str, value: str
    ) -> None:
        answer = await client.get(address, headers=header("If-None-Match", value))
        assert (answer.status_code, answer.json(), answer.headers["etag"]) == (200, book, '"2"')
        assert answer.headers["cache-control"] == "private, no-cache"

    async def test_of_a_book_that_has_gone_says_so(self, client: httpx.AsyncClient, address: str) -> None:
        await client.delete(address)
        for value in ('"2"', "*"):
            assert_problem(await client.get(address, headers=header("If-None-Match", value)), 404, "book-not-found")

    async def test_of_the_list_may_be_kept_by_nobody_else(self, client: httpx.AsyncClient, address: str) -> None:
        assert (await client.get(BOOKS)).headers["cache-control"] == "private, no-cache"


class TestAReadFromTheCache:
    @pytest.fixture
    def rest_settings(self, database_url: str, private_key_file: Path, redis_url: str) -> RestSettings:
        return load(RestSettings, database_url=database_url, jwt_private_key_file=private_key_file, redis_url=redis_url)

    async def test_asks_the_database_nothing(
        self, client: httpx.AsyncClient, store: Store, book: dict[str, Any], address: str
    ) -> None:
        await client.get(address)
        with statements_sent_to(store.database) as statements:
            known = await client.get(address, headers=header("If-None-Match", '"2"'))
            unknown = await client.get(address, headers=header("If-None-Match", '"1"'))
        assert (known.status_code, unknown.status_code, unknown.json()) == (304, 200, book)
        assert statements == []

    async def test_knows_of_a_change_at_once(self, client: httpx.AsyncClient, address: str) -> None:
        assert (await client.get(address, headers=header("If-None-Match", '"2"'))).status_code == 304
        await client.patch(address, json={"title": "Romola"}, headers=header("If-Match", '"2"'))
        answer = await client.get(address, headers=header("If-None-Match", '"2"'))
        assert (answer.status_code, answer.headers["etag"]) == (200, '"3"')
