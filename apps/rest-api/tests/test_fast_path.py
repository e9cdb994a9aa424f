"""The fast path past FastAPI leads to the same answers as the way through it."""

from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import REGISTRY
from rest_api import fast_path

BOOKS = "/api/v1/books"
A_BOOK = b'{"title": "Middlemarch", "author": "George Eliot", "publication_date": "1871-12-01"}'
JSON = {"Content-Type": "application/json"}
IN_WORDS = {"Content-Type": "application/json; charset=utf-8"}


@pytest.fixture
def fast(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The operations that were answered on the fast path."""
    went: list[str] = []
    answer = fast_path._answer

    async def noting(request: Any, route: fast_path.FastRoute) -> Any:
        response = await answer(request, route)
        if response is not None:
            went.append(route.operation_id)
        return response

    monkeypatch.setattr(fast_path, "_answer", noting)
    return went


def told(answer: httpx.Response) -> tuple[int, dict[str, str], Any]:
    """What must not differ: all but what is another book's."""
    body: Any = answer.json() if answer.content else {}
    if answer.status_code == 201:
        for name in ("id", "created_at", "updated_at"):
            del body[name]
    return answer.status_code, dict(answer.headers) | {"location": "", "content-length": ""}, body


class TestAnAnswer:
    @pytest.fixture(autouse=True)
    async def _a_book(self, client: httpx.AsyncClient) -> None:
        for _ in range(3):
            await client.post(BOOKS, content=A_BOOK, headers=JSON)

    @pytest.mark.parametrize(
        ("asked", "headers", "operation"),
        [
            pytest.param("/1", {}, "getBook", id="a-book"),
            pytest.param("/1", {"If-None-Match": '"1"'}, "getBook", id="a-book-that-is-known"),
            pytest.param("/1", {"If-None-Match": "*, x"}, "getBook", id="a-header-that-is-malformed"),
            pytest.param("/99", {}, "getBook", id="a-book-that-is-not-there"),
            pytest.param("?page_size=2", {}, "listBooks", id="a-page"),
            pytest.param("?q=eliot&count=exact", {}, "listBooks", id="a-search"),
            pytest.param("?page_token=x", {}, "listBooks", id="a-token-that-is-none"),
        ],
    )
    async def test_to_a_read_is_the_same(
        self,
        client: httpx.AsyncClient,
        fast: list[str],
        monkeypatch: pytest.MonkeyPatch,
        asked: str,
        headers: dict[str, str],
        operation: str,
    ) -> None:
        one = await client.get(BOOKS + asked, headers=headers)
        assert fast == [operation]
        monkeypatch.setattr(fast_path.FastPath, "_route_of", lambda *_: None)
        other = await client.get(BOOKS + asked, headers=headers)
        assert fast == [operation]
        assert told(one) == told(other)

    async def test_to_a_write_is_the_same(self, client: httpx.AsyncClient, fast: list[str]) -> None:
        one = await client.post(BOOKS, content=A_BOOK, headers=JSON)
        assert fast == ["createBook"]
        other = await client.post(BOOKS, content=A_BOOK, headers=IN_WORDS)
        assert fast == ["createBook"]
        assert told(one) == told(other)
        assert one.json()["id"] < other.json()["id"]
        assert one.headers["location"] == f"{BOOKS}/{one.json()['id']}"

    async def test_without_a_token_is_the_same(self, anonymous: httpx.AsyncClient, fast: list[str]) -> None:
        anonymous.headers.pop("authorization", None)
        one = await anonymous.post(BOOKS, content=A_BOOK, headers=JSON)
        assert (one.status_code, fast) == (401, ["createBook"])
        other = await anonymous.put(f"{BOOKS}/1", content=A_BOOK, headers=JSON)
        assert told(one) == told(other)


class TestWhatIsNotPlain:
    @pytest.mark.parametrize(
        ("body", "status"),
        [
            pytest.param(b"{", 400, id="no-json"),
            pytest.param(b'{"title": "\xff"}', 400, id="no-utf-8"),
            pytest.param(b"[" * 7_000, 400, id="nested-deep"),
            pytest.param(b"{}", 422, id="fields-are-missing"),
            pytest.param(A_BOOK.replace(b"1871-12-01", b"1871"), 422, id="no-date"),
            pytest.param(A_BOOK.replace(b"Middlemarch", b"x" * 9_000), 422, id="a-title-that-is-too-long"),
        ],
    )
    async def test_a_body_that_is_refused_is_refused_by_fastapi(
        self, client: httpx.AsyncClient, fast: list[str], body: bytes, status: int
    ) -> None:
        one = await client.post(BOOKS, content=body, headers=JSON)
        other = await client.post(BOOKS, content=body, headers=IN_WORDS)
        assert (one.status_code, fast) == (status, [])
        assert told(one) == told(other)

    @pytest.mark.parametrize("query", ["page_size=0", "page_size=1&page_size=2", "colour=red", "q="])
    async def test_a_query_that_is_refused_is_refused_by_fastapi(
        self, client: httpx.AsyncClient, fast: list[str], query: str
    ) -> None:
        answer = await client.get(f"{BOOKS}?{query}")
        assert (answer.status_code, fast) == (422, [])

    @pytest.mark.parametrize("book_id", ["0", "-1", "x", "1.5", "9223372036854775808", "%31", "1/"])
    async def test_an_id_of_another_form_is_left_to_fastapi(
        self, client: httpx.AsyncClient, fast: list[str], book_id: str
    ) -> None:
        answer = await client.get(f"{BOOKS}/{book_id}")
        assert answer.status_code in {404, 422}
        assert fast == ([] if book_id != "%31" else ["getBook"])

    async def test_a_read_with_a_body_is_left_to_fastapi(self, client: httpx.AsyncClient, fast: list[str]) -> None:
        answer = await client.request("GET", f"{BOOKS}?page_size=1", content=b"{}", headers=JSON)
        assert (answer.status_code, fast) == (200, [])

    async def test_a_body_that_is_too_long_is_refused_before_the_token_is_read(
        self, anonymous: httpx.AsyncClient, fast: list[str]
    ) -> None:
        answer = await anonymous.post(BOOKS, content=b" " * 300_000, headers=JSON)
        assert (answer.status_code, fast) == (413, [])

    async def test_a_body_of_many_pieces_is_read_once(self, client: httpx.AsyncClient, fast: list[str]) -> None:
        async def pieces() -> Any:
            for place in range(0, len(A_BOOK), 7):
                yield A_BOOK[place : place + 7]

        answer = await client.post(BOOKS, content=pieces(), headers=JSON)
        assert (answer.status_code, fast) == (201, [])


class TestWhatIsSeen:
    async def test_a_request_counts_under_its_operation(self, client: httpx.AsyncClient) -> None:
        def counted() -> float:
            labels = {"operation": "getBook", "status": "404"}
            return REGISTRY.get_sample_value("colophon_http_request_seconds_count", labels) or 0

        before = counted()
        await client.get(f"{BOOKS}/1")
        assert counted() == before + 1
