"""Books over HTTP, on a real database."""

import asyncio
import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from book_db.errors import ConnectionLost, NotCommitted
from book_db.migrations import upgrade
from book_db.store import Store
from book_db.tables import OutboxRow
from book_runtime.settings import load
from rest_api.app import create_app
from rest_api.settings import RestSettings
from sqlalchemy import select
from support.people import Person
from support.postgresql import PostgreSQLServer
from support.workspace import Workspace

BOOKS = "/api/v1/books"
INT64_MAX = 2**63 - 1


def a_book(**fields: object) -> dict[str, object]:
    return {"title": "Middlemarch", "author": "George Eliot", "publication_date": "1871-12-01"} | fields


async def created(client: httpx.AsyncClient, **fields: object) -> dict[str, Any]:
    answer = await client.post(BOOKS, json=a_book(**fields))
    assert answer.status_code == 201, answer.text
    book: dict[str, Any] = answer.json()
    return book


async def events_of(store: Store) -> list[tuple[str, int, int]]:
    """Kind, book and version of the events that wait, in order."""
    async with store.database.statement() as connection:
        rows = await connection.execute(select(OutboxRow.__table__).order_by(OutboxRow.id))
        return [(row.kind, row.book_id, row.version) for row in rows]


def assert_problem(answer: httpx.Response, status: int, type_: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == status
    assert problem["type"] == f"urn:colophon:{type_}"
    assert problem["title"]
    assert problem["detail"]
    return problem


class TestCreateBook:
    async def test_gives_the_book_its_place_and_its_etag(self, client: httpx.AsyncClient) -> None:
        answer = await client.post(BOOKS, json=a_book())
        book = answer.json()
        assert answer.status_code == 201
        assert answer.headers["location"] == f"{BOOKS}/{book['id']}"
        assert answer.headers["etag"] == '"1"'
        assert {name: book[name] for name in a_book()} == a_book()
        assert book["version"] == 1
        assert book["created_at"] == book["updated_at"]
        assert datetime.fromisoformat(book["created_at"]).utcoffset() is not None
        assert (await client.get(answer.headers["location"])).json() == book

    async def test_trims_and_composes_text(self, client: httpx.AsyncClient) -> None:
        book = await created(client, title="  Cafe\u0301 \n", author="\u00a0Zoe\u0308\u2003")
        assert (book["title"], book["author"]) == ("Caf\u00e9", "Zo\u00eb")

    async def test_leaves_one_event(self, client: httpx.AsyncClient, store: Store) -> None:
        book = await created(client)
        assert await events_of(store) == [("created", book["id"], 1)]

    @pytest.mark.parametrize(
        ("field", "value", "why"),
        [
            pytest.param("title", "", "must not be blank", id="empty"),
            pytest.param("title", " \t\u3000", "must not be blank", id="only-space"),
            pytest.param("title", "\u200b\u2060", "must not be blank", id="only-characters-of-no-width"),
            pytest.param(
                "title", "a" * 2_001, "must have at most 2,000 characters, this has 2,001", id="title-too-long"
            ),
            pytest.param(
                "author", "a" * 1_001, "must have at most 1,000 characters, this has 1,001", id="author-too-long"
            ),
            pytest.param("title", "a\x00b", "must not contain the character U+0000", id="nul"),
            pytest.param("title", "a\x1bb", "must not contain the character U+001B", id="escape"),
            pytest.param("author", "a\u0085b", "must not contain the character U+0085", id="c1-control"),
            pytest.param("author", "a\u2028b", "must not contain the character U+2028", id="line-separator"),
            pytest.param("title", 7, "must be a string", id="number-for-text"),
            pytest.param("title", None, "must be a string", id="null-for-text"),
            pytest.param("title", ["a"], "must be a string", id="list-for-text"),
            pytest.param("publication_date", "1969-02-29", "is not a day", id="not-a-leap-year"),
            pytest.param("publication_date", "1900-02-29", "is not a day", id="century-is-not-a-leap-year"),
            pytest.param("publication_date", "1900-13-01", "is not a day", id="month-13"),
            pytest.param("publication_date", "0000-01-01", "is not a day", id="year-0"),
            pytest.param("publication_date", "-0044-03-15", "written YYYY-MM-DD", id="before-our-era"),
            pytest.param("publication_date", "10000-01-01", "written YYYY-MM-DD", id="year-of-five-digits"),
            pytest.param("publication_date", "1900-1-1", "written YYYY-MM-DD", id="one-digit-each"),
            pytest.param("publication_date", "19000101", "written YYYY-MM-DD", id="iso-basic-form"),
            pytest.param("publication_date", "1900-W01-1", "written YYYY-MM-DD", id="iso-week"),
            pytest.param("publication_date", "1900-01-01T00:00:00", "written YYYY-MM-DD", id="with-a-time"),
            pytest.param(
                "publication_date", "\u0661\u0669\u0660\u0660-01-01", "YYYY-MM-DD", id="digits-of-another-script"
            ),
            pytest.param("publication_date", 0, "written YYYY-MM-DD", id="unix-time"),
            pytest.param("isbn", "978", "is not known here", id="unknown-field"),
            pytest.param("id", 7, "is not known here", id="read-only-field"),
            pytest.param("version", 7, "is not known here", id="read-only-version"),
        ],
    )
    async def test_refuses_what_is_no_book(
        self, client: httpx.AsyncClient, store: Store, field: str, value: object, why: str
    ) -> None:
        problem = assert_problem(await client.post(BOOKS, json=a_book(**{field: value})), 422, "invalid")
        [violation] = problem["errors"]
        assert violation["pointer"] == f"/{field}"
        assert why in violation["detail"]
        assert await events_of(store) == []

    async def test_takes_texts_of_exactly_the_limit(self, client: httpx.AsyncClient) -> None:
        # Four bytes each in UTF-8 and two units in UTF-16: what counts is characters.
        book = await created(client, title=" " + "\U0001f4da" * 2_000, author="\U0001f4da" * 1_000 + " ")
        assert (len(book["title"]), len(book["author"])) == (2_000, 1_000)

    @pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31", "2000-02-29"])
    async def test_takes_every_day_of_the_calendar(self, client: httpx.AsyncClient, day: str) -> None:
        assert (await created(client, publication_date=day))["publication_date"] == day

    async def test_names_everything_that_is_wrong_at_once(self, client: httpx.AsyncClient) -> None:
        problem = assert_problem(await client.post(BOOKS, json={"title": "", "x/~y": 1}), 422, "invalid")
        assert {violation["pointer"] for violation in problem["errors"]} == {
            "/title",
            "/author",
            "/publication_date",
            "/x~1~0y",
        }

    @pytest.mark.parametrize(
        ("body", "status", "type_"),
        [
            pytest.param(b"", 422, "invalid", id="nothing"),
            pytest.param(b"{", 400, "malformed-json", id="cut-off"),
            pytest.param(b"[" * 100_000, 400, "unreadable", id="nested-too-deep"),
            pytest.param(b"\xff\xfe\x00", 400, "unreadable", id="no-unicode"),
            pytest.param(b"NaN", 422, "invalid", id="no-number"),
            pytest.param(b"9" * 5_000, 400, "unreadable", id="number-of-5000-digits"),
            pytest.param(b"[]", 422, "invalid", id="a-list"),
            pytest.param(b"null", 422, "invalid", id="null"),
            pytest.param(b'{"title":"\\ud800"}', 422, "invalid", id="half-a-surrogate-pair-in-a-value"),
            pytest.param(b'{"\\ud800":1}', 422, "invalid", id="half-a-surrogate-pair-in-a-name"),
            pytest.param(b'{"' + b"n" * 100_000 + b'":1}', 422, "invalid", id="name-of-100000-characters"),
        ],
    )
    async def test_refuses_a_body_that_is_no_json_object(
        self, client: httpx.AsyncClient, body: bytes, status: int, type_: str
    ) -> None:
        answer = await client.post(BOOKS, content=body, headers={"content-type": "application/json"})
        assert_problem(answer, status, type_)
        assert len(answer.content) < 2_000

    @pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "application/xml", ""])
    async def test_refuses_another_media_type(self, client: httpx.AsyncClient, media_type: str) -> None:
        answer = await client.post(BOOKS, content=b'{"title":"x"}', headers={"content-type": media_type})
        assert_problem(answer, 415, "not-json")

    async def test_refuses_a_body_that_says_it_is_too_long(self, client: httpx.AsyncClient) -> None:
        body = b'{"title":"' + b"x" * 8 * 2**20 + b'"}'
        answer = await client.post(BOOKS, content=body, headers={"content-type": "application/json"})
        assert_problem(answer, 413, "body-too-large")

    async def test_cuts_off_a_body_that_does_not_say_how_long_it_is(self, client: httpx.AsyncClient) -> None:
        sent = 0

        async def endless() -> Any:
            nonlocal sent
            while sent < 100:
                sent += 1
                yield b"x" * 2**20

        answer = await client.post(BOOKS, content=endless(), headers={"content-type": "application/json"})
        assert_problem(answer, 413, "body-too-large")

    async def test_says_of_a_body_of_far_too_many_fields_just_that(self, client: httpx.AsyncClient) -> None:
        answer = await client.post(BOOKS, json=a_book() | {f"x{number}": 1 for number in range(98)})
        problem = assert_problem(answer, 422, "invalid")
        assert problem["detail"] == "The body must have at most 100 fields, this has 101."

    @pytest.mark.parametrize("path", [BOOKS, f"{BOOKS}/batch"])
    async def test_reads_no_json_but_in_utf_8(self, client: httpx.AsyncClient, path: str) -> None:
        document = a_book() if path == BOOKS else {"books": [a_book()]}
        for encoding, status in ("utf-8", 201), ("utf-8-sig", 201), ("utf-16", 400), ("utf-32", 400):
            body = json.dumps(document).encode(encoding)
            answer = await client.post(path, content=body, headers={"content-type": "application/json"})
            assert answer.status_code == status, (encoding, answer.text)


class TestCreateBooks:
    async def test_says_how_many_fit_where_they_are_too_many_together(self, client: httpx.AsyncClient) -> None:
        title = "".join(chr(0x4E00 + place) for place in range(2_000))
        answer = await client.post(f"{BOOKS}/batch", json={"books": [a_book(title=title)] * 100})
        problem = assert_problem(answer, 413, "batch-too-large")
        fit = int(re.findall(r"the first (\d+) of these books", problem["detail"])[0])
        assert (await client.get(BOOKS)).json()["books"] == []
        answer = await client.post(f"{BOOKS}/batch", json={"books": [a_book(title=title)] * fit})
        assert answer.status_code == 201, answer.text

    async def test_keeps_the_order(self, client: httpx.AsyncClient, store: Store) -> None:
        titles = [f"Volume {number}" for number in range(1_000)]
        answer = await client.post(f"{BOOKS}/batch", json={"books": [a_book(title=title) for title in titles]})
        books = answer.json()["books"]
        assert answer.status_code == 201
        assert [book["title"] for book in books] == titles
        assert [book["id"] for book in books] == sorted(book["id"] for book in books)
        assert await events_of(store) == [("created", book["id"], 1) for book in books]

    async def test_takes_all_or_none(self, client: httpx.AsyncClient, store: Store) -> None:
        books = [a_book(), a_book(title=" "), a_book(), a_book(publication_date="1871-02-30")]
        problem = assert_problem(await client.post(f"{BOOKS}/batch", json={"books": books}), 422, "invalid")
        pointers = [violation["pointer"] for violation in problem["errors"]]
        assert pointers == ["/books/1/title", "/books/3/publication_date"]
        assert (await client.get(BOOKS)).json()["books"] == []
        assert await events_of(store) == []

    @pytest.mark.parametrize("count", [0, 1_001])
    async def test_refuses_none_and_too_many(self, client: httpx.AsyncClient, count: int) -> None:
        answer = await client.post(f"{BOOKS}/batch", json={"books": [a_book()] * count})
        [violation] = assert_problem(answer, 422, "invalid")["errors"]
        assert violation["pointer"] == "/books"


class TestGetBook:
    async def test_gives_what_was_written(self, client: httpx.AsyncClient) -> None:
        book = await created(client)
        answer = await client.get(f"{BOOKS}/{book['id']}")
        assert (answer.status_code, answer.json(), answer.headers["etag"]) == (200, book, '"1"')

    @pytest.mark.parametrize(
        ("book_id", "status", "type_"),
        [
            pytest.param("1", 404, "book-not-found", id="never-given"),
            pytest.param(str(INT64_MAX), 404, "book-not-found", id="the-last-int64"),
            pytest.param(str(INT64_MAX + 1), 422, "invalid", id="beyond-int64"),
            pytest.param("9" * 5_000, 422, "invalid", id="5000-digits"),
            pytest.param("0", 422, "invalid", id="zero"),
            pytest.param("-1", 422, "invalid", id="negative"),
            pytest.param("one", 422, "invalid", id="a-word"),
            pytest.param("1.5", 422, "invalid", id="a-fraction"),
            pytest.param("%00", 422, "invalid", id="nul"),
            pytest.param("%F0%9F", 422, "invalid", id="broken-utf-8"),
        ],
    )
    async def test_refuses_what_is_no_id(
        self, client: httpx.AsyncClient, book_id: str, status: int, type_: str
    ) -> None:
        for method in ("GET", "DELETE"):
            assert_problem(await client.request(method, f"{BOOKS}/{book_id}"), status, type_)
        for method in ("PUT", "PATCH"):
            assert_problem(await client.request(method, f"{BOOKS}/{book_id}", json=a_book()), status, type_)


class TestReplaceBook:
    async def test_writes_every_field(self, client: httpx.AsyncClient, store: Store) -> None:
        book = await created(client)
        other = a_book(title="Romola", publication_date="1863-01-01")
        answer = await client.put(f"{BOOKS}/{book['id']}", json=other)
        replaced = answer.json()
        assert (answer.status_code, answer.headers["etag"]) == (200, '"2"')
        assert replaced == book | other | {"version": 2, "updated_at": replaced["updated_at"]}
        assert replaced["updated_at"] > book["updated_at"]
        assert await events_of(store) == [("created", book["id"], 1), ("updated", book["id"], 2)]

    async def test_wants_every_field(self, client: httpx.AsyncClient) -> None:
        book = await created(client)
        answer = await client.put(f"{BOOKS}/{book['id']}", json={"title": "Romola"})
        assert_problem(answer, 422, "invalid")
        assert (await client.get(f"{BOOKS}/{book['id']}")).json() == book


class TestChangeBook:
    @pytest.mark.parametrize(
        "change",
        [{"title": "Romola"}, {"author": "Mary Ann Evans"}, {"publication_date": "1863-01-01"}, a_book(title="Romola")],
    )
    async def test_writes_the_fields_that_are_named(self, client: httpx.AsyncClient, change: dict[str, object]) -> None:
        book = await created(client)
        answer = await client.patch(f"{BOOKS}/{book['id']}", json=change)
        assert answer.status_code == 200
        assert answer.json() == book | change | {"version": 2, "updated_at": answer.json()["updated_at"]}

    @pytest.mark.parametrize(
        "change",
        [
            pytest.param({}, id="nothing"),
            pytest.param({"title": None}, id="null"),
            pytest.param({"title": " "}, id="blank"),
            pytest.param({"id": 7}, id="read-only-field"),
            pytest.param({"isbn": "978"}, id="unknown-field"),
        ],
    )
    async def test_refuses_what_is_no_change(self, client: httpx.AsyncClient, change: dict[str, object]) -> None:
        book = await created(client)
        assert_problem(await client.patch(f"{BOOKS}/{book['id']}", json=change), 422, "invalid")
        assert (await client.get(f"{BOOKS}/{book['id']}")).json() == book


class TestDeleteBook:
    async def test_takes_the_book_out_for_good(self, client: httpx.AsyncClient, store: Store) -> None:
        book = await created(client)
        address = f"{BOOKS}/{book['id']}"
        answer = await client.delete(address)
        assert (answer.status_code, answer.content) == (204, b"")
        for again in (client.get(address), client.delete(address), client.patch(address, json={"title": "x"})):
            assert_problem(await again, 404, "book-not-found")
        assert (await created(client))["id"] > book["id"]
        assert (await events_of(store))[:2] == [("created", book["id"], 1), ("deleted", book["id"], 2)]


class TestEveryEndpoint:
    ENDPOINTS = (
        ("POST", BOOKS),
        ("POST", f"{BOOKS}/batch"),
        ("GET", BOOKS),
        ("GET", f"{BOOKS}/1"),
        ("PUT", f"{BOOKS}/1"),
        ("PATCH", f"{BOOKS}/1"),
        ("DELETE", f"{BOOKS}/1"),
    )

    @pytest.mark.parametrize(
        "authorization",
        [
            pytest.param(None, id="none"),
            pytest.param("Bearer", id="no-token"),
            pytest.param("Bearer not.a.token", id="no-jwt"),
            pytest.param("Basic YTpi", id="another-scheme"),
            pytest.param("Bearer " + "x" * 10_000, id="too-long"),
            pytest.param("Bearer \xe4", id="not-ascii"),
        ],
    )
    async def test_asks_who_is_calling_before_anything_else(
        self, anonymous: httpx.AsyncClient, authorization: str | None
    ) -> None:
        if authorization is not None:
            anonymous.headers.update([(b"authorization", authorization.encode("latin-1"))])
        for method, path in self.ENDPOINTS:
            answer = await anonymous.request(method, path, content=b"{", headers={"content-type": "application/json"})
            assert_problem(answer, 401, "unauthenticated")
            assert answer.headers["www-authenticate"] == "Bearer"


class TestTheRest:
    async def test_an_unknown_address_is_a_problem_too(self, client: httpx.AsyncClient) -> None:
        assert_problem(await client.get("/api/v1/nothing"), 404, "not-found")

    async def test_a_wrong_method_is_a_problem_too(self, client: httpx.AsyncClient) -> None:
        answer = await client.put(BOOKS)
        assert_problem(answer, 405, "method-not-allowed")
        assert {"GET", "HEAD", "POST"} == set(answer.headers["allow"].split(", "))


class TestADatabaseThatIsAway:
    @pytest.mark.parametrize(
        ("error", "method", "type_", "retry_after"),
        [
            pytest.param(NotCommitted(), "POST", "unavailable", "1", id="surely-nothing-was-changed"),
            pytest.param(ConnectionLost(), "POST", "outcome-unknown", None, id="repeating-might-create-twice"),
            pytest.param(ConnectionLost(), "GET", "unavailable", "1", id="reading-again-is-safe"),
        ],
    )
    async def test_is_a_503_that_says_whether_to_ask_again(
        self,
        client: httpx.AsyncClient,
        store: Store,
        monkeypatch: pytest.MonkeyPatch,
        error: Exception,
        method: str,
        type_: str,
        retry_after: str | None,
    ) -> None:
        async def fail(*_: object) -> None:
            raise error

        monkeypatch.setattr(store.catalogue, "add", fail)
        monkeypatch.setattr(store.catalogue, "page", fail)
        answer = await client.request(method, BOOKS, json=a_book() if method == "POST" else None)
        assert_problem(answer, 503, type_)
        assert answer.headers.get("retry-after") == retry_after

    async def test_takes_nothing_from_a_client_that_asks_when_it_is_back(
        self, workspace: Workspace, private_key_file: Path, quick_hashing: None
    ) -> None:
        with PostgreSQLServer(workspace) as server:
            upgrade(server.url)
            app = create_app(load(RestSettings, database_url=server.url, jwt_private_key_file=private_key_file))
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with (
                app.router.lifespan_context(app),
                httpx.AsyncClient(transport=transport, base_url="http://colophon") as client,
            ):
                person = await Person.register(client)
                await person.sign_in()
                book = (await person.call("POST", "/books", json=a_book())).json()
                await asyncio.to_thread(server.stop)
                for answer in (
                    await person.call("GET", f"/books/{book['id']}"),
                    await person.call("POST", "/books", json=a_book()),
                    await client.get("/healthz/ready"),
                ):
                    assert_problem(answer, 503, "unavailable")
                assert (await client.get("/healthz/live")).status_code == 200
                await asyncio.to_thread(server.start)
                assert (await person.call("GET", f"/books/{book['id']}")).json() == book
                assert (await person.call("POST", "/books", json=a_book())).status_code == 201
