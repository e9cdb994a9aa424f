"""Books that go as a stream."""

import asyncio
import csv
import io
import json
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

import httpx
import psycopg
import pytest
from book_db.store import Store
from book_runtime.places import Places
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from rest_api.books.streams import exporting
from rest_api.books.streams.forms import preferred
from rest_api.books.streams.problems import NotAcceptable
from support.streams import EXPORT, NDJSON, a_line, exported, report_of, send, volumes
from support.waiting import patiently

# Whatever a text may hold that means something to JSON, CSV, COPY or SQL.
TITLES = [
    "Middlemarch",
    "'); DROP TABLE books; -- %s %(title)s %%",
    'a "quoted" word, a comma',
    "back\\slash \\. \\n \\u0000 {}",
    "\\.",
    "紅樓夢 \N{GRINNING FACE} é",
    "=1+1",
    ":title :1",
]


async def load(client: httpx.AsyncClient, *titles: str) -> None:
    report_of(await send(client, b"".join(a_line(title=title) for title in titles)))


class TestExport:
    async def test_gives_each_book_byte_by_byte_as_the_api_does(
        self, client: httpx.AsyncClient, database_url: str
    ) -> None:
        await load(client, *TITLES)
        with psycopg.connect(database_url) as connection:  # Six decimals, fewer, and none.
            connection.execute("UPDATE books SET created_at = '2026-11-23 18:50:19.07502+00' WHERE id = 2")
            connection.execute("UPDATE books SET updated_at = '2026-11-23 19:00:00+00' WHERE id = 3")
            connection.execute("UPDATE books SET publication_date = '0001-01-01', version = 7 WHERE id = 4")
        lines = (await client.get(EXPORT)).content.splitlines()
        assert lines == [(await client.get(f"/api/v1/books/{number}")).content for number in range(1, len(TITLES) + 1)]
        [second, third] = [json.loads(line) for line in lines[1:3]]
        assert second["created_at"] == "2026-11-23T18:50:19.075020Z"
        assert third["updated_at"] == "2026-11-23T19:00:00Z"

    async def test_gives_the_same_as_csv(self, client: httpx.AsyncClient) -> None:
        await load(client, *TITLES)
        answer = await client.get(EXPORT, params={"format": "csv"})
        rows = list(csv.DictReader(io.StringIO(answer.text, newline=""), strict=True))
        assert rows == [{name: str(value) for name, value in book.items()} for book in await exported(client)]
        assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"

    @pytest.mark.parametrize(("form", "media_type"), [("ndjson", NDJSON), ("csv", "text/csv")])
    async def test_is_an_upload_that_makes_the_same_books_again(
        self, client: httpx.AsyncClient, form: str, media_type: str
    ) -> None:
        await load(client, *TITLES)
        answer = await client.get(EXPORT, params={"format": form})
        lines, summary = report_of(await send(client, answer.content, media_type))
        assert summary == {"created": len(TITLES), "refused": 0}

        def content(book: dict[str, Any]) -> list[object]:
            return [book[field] for field in ("title", "author", "publication_date")]

        books = await exported(client)
        assert [content(book) for book in books[: len(TITLES)]] == [content(book) for book in books[len(TITLES) :]]
        assert [line["id"] for line in lines] == [book["id"] for book in books[len(TITLES) :]]

    @pytest.mark.parametrize("parameters", [{"author": title} for title in TITLES])
    async def test_takes_a_filter_for_what_it_is(self, client: httpx.AsyncClient, parameters: dict[str, str]) -> None:
        author = parameters["author"]
        report_of(await send(client, a_line(author=author) + a_line(author="somebody else") + a_line(author=author)))
        assert [book["author"] for book in await exported(client, **parameters)] == [author, author]

    @pytest.mark.parametrize(
        "parameters",
        [
            pytest.param({"title": "Volume 1*"}, id="title-prefix"),
            pytest.param({"q": "VOLUME 13"}, id="words"),
            pytest.param({"published_from": "1871-12-02"}, id="none"),
            pytest.param({"q": "eliot", "author": "George*", "published_to": "1871-12-01"}, id="together"),
        ],
    )
    async def test_has_the_filters_of_the_list(self, client: httpx.AsyncClient, parameters: dict[str, str]) -> None:
        report_of(await send(client, volumes(1, 40)))
        listed = await client.get("/api/v1/books", params=parameters | {"page_size": "1000"})
        assert await exported(client, **parameters) == listed.json()["books"]

    @pytest.mark.parametrize(
        "parameters", [{"format": "xml"}, {"order_by": "title"}, {"published_from": "today"}, {"page_size": "1"}]
    )
    async def test_refuses_what_it_does_not_know(self, client: httpx.AsyncClient, parameters: dict[str, str]) -> None:
        answer = await client.get(EXPORT, params=parameters)
        assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (422, next(iter(parameters)))


class TestTheForm:
    @pytest.mark.parametrize(
        ("accept", "parameters", "media_type"),
        [
            pytest.param(None, {}, NDJSON, id="none"),
            pytest.param("*/*", {}, NDJSON, id="any"),
            pytest.param("text/csv", {}, "text/csv", id="csv"),
            pytest.param("text/*", {}, "text/csv", id="any-text"),
            pytest.param("application/jsonl", {}, NDJSON, id="another-name"),
            pytest.param("text/csv;q=0.5, application/x-ndjson;q=0.4", {}, "text/csv", id="by-weight"),
            pytest.param("text/csv;q=0, */*", {}, NDJSON, id="not-csv"),
            pytest.param("application/json", {"format": "csv"}, "text/csv", id="the-parameter-wins"),
        ],
    )
    async def test_is_what_was_asked_for(
        self, client: httpx.AsyncClient, accept: str | None, parameters: dict[str, str], media_type: str
    ) -> None:
        headers = {} if accept is None else {"Accept": accept}
        answer = await client.get(EXPORT, params=parameters, headers=headers)
        assert answer.headers["content-type"].partition(";")[0] == media_type
        assert answer.headers["content-disposition"].startswith('attachment; filename="books-')
        assert answer.headers["cache-control"] == "no-store"
        assert ("vary" in answer.headers) == ("format" not in parameters)

    @pytest.mark.parametrize("accept", ["application/json", "text/csv;q=0", "*/*;q=0", "image/*, text/html"])
    async def test_that_nobody_would_take_is_406(self, client: httpx.AsyncClient, accept: str) -> None:
        answer = await client.get(EXPORT, headers={"Accept": accept})
        assert (answer.status_code, answer.json()["type"]) == (406, "urn:colophon:not-acceptable")

    @given(accept=st.text(st.characters(max_codepoint=255)))
    def test_is_found_in_whatever_was_sent(self, accept: str) -> None:
        with suppress(NotAcceptable):
            assert preferred(accept) in {"ndjson", "csv"}


class TestAnExport:
    async def test_more_than_may_run_at_once_is_503(self, app: FastAPI, client: httpx.AsyncClient) -> None:
        app.state.exports._places = Places(0)
        answer = await client.get(EXPORT)
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:colophon:too-many-exports")
        assert answer.headers["retry-after"] == "10"

    async def test_more_than_half_of_them_are_not_one_user_s(
        self,
        app: FastAPI,
        client: httpx.AsyncClient,
        token: str,
        store: Store,
        sign_in: Callable[[], Awaitable[str]],
    ) -> None:
        """Whoever takes theirs slowly keeps others from none."""
        caller = await store.authenticator.authenticate(token)
        another = await sign_in()
        places = app.state.exports._places
        with places.taken_by(caller.user_id), places.taken_by(caller.user_id):
            answer = await client.get(EXPORT)
            assert (answer.status_code, answer.json()["type"]) == (503, "urn:colophon:too-many-exports")
            assert "of yours" in answer.json()["detail"]
            headers = {"Authorization": f"Bearer {another}"}
            assert (await client.get(EXPORT, headers=headers)).status_code == 200
        assert (await client.get(EXPORT)).status_code == 200

    async def test_that_nobody_takes_is_cut_off(
        self,
        app: FastAPI,
        client: httpx.AsyncClient,
        monkeypatch: pytest.MonkeyPatch,
        token: str,
    ) -> None:
        await load(client, "Middlemarch")
        monkeypatch.setattr(exporting, "SEND_TIMEOUT_SECONDS", 0.1)
        sent: list[str] = []

        async def send_(message: MutableMapping[str, Any]) -> None:
            sent.append(message["type"])
            if message["type"] == "http.response.body":
                await asyncio.Event().wait()

        async def receive() -> dict[str, Any]:
            await asyncio.Event().wait()
            return {}

        scope = {
            "type": "http",
            "method": "GET",
            "path": EXPORT,
            "query_string": b"",
            "headers": [(b"authorization", f"Bearer {token}".encode())],
            "client": ("127.0.0.1", 1),
        }
        await patiently(app(scope, receive, send_), "the export is cut off")
        # One that was never taken, and no end after it.
        assert sent == ["http.response.start", "http.response.body"]
        assert not app.state.exports._places._taken
