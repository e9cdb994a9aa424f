"""Books that come as a stream."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from book_db.migrations import upgrade
from book_db.store import Store
from book_db.tables import OutboxRow
from book_runtime.places import Places
from book_runtime.settings import load
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rest_api.app import create_app
from rest_api.books.streams import upload_import
from rest_api.settings import RestSettings
from sqlalchemy import func, select
from support.people import Person
from support.postgresql import PostgreSQLServer
from support.streams import IMPORT, a_line, exported, report_of, send, volumes

ROWS = b"""title,author,publication_date
Romola,George Eliot,1863-01-01
"Felix Holt, the Radical",George Eliot,1866-01-01
"""


def assert_problem(answer: httpx.Response, status: int, type_: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    problem: dict[str, Any] = answer.json()
    assert (problem["status"], problem["type"]) == (status, f"urn:colophon:{type_}")
    return problem


async def count_events(store: Store) -> int:
    async with store.database.statement() as connection:
        return int(await connection.scalar(select(func.count()).select_from(OutboxRow)) or 0)


class TestImport:
    async def test_loads_what_is_a_book_and_tells_of_each_line_what_became_of_it(
        self, client: httpx.AsyncClient, store: Store
    ) -> None:
        upload = (
            a_line(title=" Romola ")
            + b"\n"
            + a_line(title="", isbn="978")
            + b"nonsense\n"
            + a_line(publication_date="1871-02-30")
            + a_line(title="Adam Bede").rstrip()
        )
        lines, summary = report_of(await send(client, upload))
        first, *refused, last = lines
        assert [first["line"], last["line"]] == [1, 6]
        assert refused == [
            {
                "line": 3,
                "errors": [
                    {"pointer": "/title", "detail": "must not be blank"},
                    {"pointer": "/isbn", "detail": "is not known here"},
                ],
            },
            {"line": 4, "errors": [{"detail": "Expecting value at character 0"}]},
            {
                "line": 5,
                "errors": [
                    {
                        "pointer": "/publication_date",
                        "detail": "is not a day of the calendar: day is out of range for month",
                    }
                ],
            },
        ]
        assert summary == {"created": 2, "refused": 3}
        assert [(book["id"], book["title"]) for book in await exported(client)] == [
            (first["id"], "Romola"),
            (last["id"], "Adam Bede"),
        ]
        assert await count_events(store) == 2

    @pytest.mark.parametrize(
        "form",
        [
            "text/csv",
            "text/csv; charset=UTF-8",
            'Text/CSV; header=present; charset="utf-8"',
        ],
    )
    async def test_takes_csv_with_a_byte_order_mark_and_line_ends_of_windows(
        self, client: httpx.AsyncClient, form: str
    ) -> None:
        lines, summary = report_of(await send(client, b"\xef\xbb\xbf" + ROWS.replace(b"\n", b"\r\n"), form))
        assert [line["line"] for line in lines] == [2, 3]
        assert summary == {"created": 2, "refused": 0}
        assert [book["title"] for book in await exported(client)] == ["Romola", "Felix Holt, the Radical"]

    async def test_takes_csv_as_spreadsheets_write_it(self, client: httpx.AsyncClient) -> None:
        upload = b"\xef\xbb\xbfsep=;\r\nid;title;author;publication_date\r\n\xff;Romola;George Eliot;1863-01-01\r\n"
        lines, summary = report_of(await send(client, upload, "text/csv"))
        assert [line["line"] for line in lines] == [3]
        assert summary == {"created": 1, "refused": 0}

    async def test_refuses_utf_16_in_words_that_help(self, client: httpx.AsyncClient) -> None:
        unicode_text = ROWS.decode().replace(",", "\t").encode("utf-16")
        problem = assert_problem(await send(client, unicode_text, "text/csv"), 422, "invalid")
        assert problem["errors"] == [{"detail": "must be UTF-8, and looks like UTF-16 or UTF-32"}]
        _, summary = report_of(await send(client, unicode_text.decode("utf-16").encode(), "text/csv"))
        assert summary["created"] == 1

    @pytest.mark.parametrize("form", ["application/x-ndjson", "application/ndjson", "application/jsonl"])
    async def test_of_nothing_creates_nothing(self, client: httpx.AsyncClient, form: str) -> None:
        assert report_of(await send(client, b"", form)) == ([], {"created": 0, "refused": 0})

    @pytest.mark.parametrize(
        ("headers", "answer"),
        [
            pytest.param({"Content-Type": "application/json"}, "Accept", id="json"),
            pytest.param({}, "Accept", id="none"),
            pytest.param({"Content-Type": "text/csv; charset=iso-8859-1"}, "Accept", id="latin-1"),
            pytest.param({"Content-Type": "text/csv", "Content-Encoding": "gzip"}, "Accept-Encoding", id="compressed"),
        ],
    )
    async def test_refuses_what_is_in_another_form(
        self, client: httpx.AsyncClient, headers: dict[str, str], answer: str
    ) -> None:
        refused = await client.post(IMPORT, content=ROWS, headers=headers)
        assert_problem(refused, 415, "unsupported-media-type")
        assert refused.headers[answer]

    async def test_refuses_a_csv_with_a_wrong_header_before_anything_is_loaded(self, client: httpx.AsyncClient) -> None:
        problem = assert_problem(await send(client, ROWS.replace(b"title", b"name"), "text/csv"), 422, "invalid")
        assert [error["detail"] for error in problem["errors"]] == [
            "the column 'name' is not known here",
            "the column 'title' must be there",
        ]
        assert await exported(client) == []

    async def test_asks_who_is_calling_before_anything_is_read(self, anonymous: httpx.AsyncClient) -> None:
        assert_problem(await send(anonymous, volumes(1, 3)), 401, "unauthenticated")

    async def test_stops_where_hardly_a_line_is_a_book(
        self, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(upload_import, "REFUSED_MAX", 600)

        async def upload() -> AsyncIterator[bytes]:
            yield volumes(1, 10) + b"x\n" * 990
            yield volumes(1_001, 1_500)

        lines, summary = report_of(await send(client, upload()))
        assert len(lines) == 1_000
        assert summary == {"created": 10, "refused": 990, "stopped_at": 1_001}


class TestStrayQuotes:
    async def test_cost_their_own_lines_and_all_others_are_told_of(self, client: httpx.AsyncClient) -> None:
        upload = (
            b"title,author,publication_date\n"
            b'"Romola,George Eliot,1863-01-01\n'
            b"Adam Bede,George Eliot,1859-01-01\n"
            b'Silas "Eppie" Marner,George Eliot,1861-01-01\n'
            b'"Felix Holt,\nthe Radical",George Eliot,1866-01-01\n'
            b'"\nMiddlemarch\n",George Eliot,1871-12-01\n'
        )
        lines, summary = report_of(await send(client, upload, "text/csv"))
        quote, adam, silas, felix, middlemarch = lines
        assert quote["line"] == 2
        assert quote["errors"] == [
            {"detail": "is not valid CSV: a quote is opened that line 4 closes, with text behind it"}
        ]
        assert (adam["line"], silas["line"]) == (3, 4)
        assert (felix["line"], felix["last_line"]) == (5, 6)
        assert felix["errors"] == [{"pointer": "/title", "detail": "must not contain the character U+000A"}]
        assert (middlemarch["line"], middlemarch["last_line"]) == (7, 9)
        assert not {"last_line"} & set().union(quote, adam, silas)
        assert summary == {"created": 3, "refused": 2}
        assert [book["title"] for book in await exported(client)] == [
            "Adam Bede",
            'Silas "Eppie" Marner',
            "Middlemarch",
        ]

    async def test_that_hold_thousands_of_lines_back_keep_batches_as_small_as_ever_and_the_same(
        self, client: httpx.AsyncClient
    ) -> None:
        rows = b"".join(b"Volume %d,Eliot,1871-12-01\n" % number for number in range(3_000))
        upload = b'title,author,publication_date\n"Romola,Eliot,1863-01-01\n' + rows

        async def in_pieces() -> AsyncIterator[bytes]:
            for at in range(0, len(upload), 1_009):
                yield upload[at : at + 1_009]

        first = report_of(await send(client, upload, "text/csv", key="monday"))
        again = report_of(await send(client, in_pieces(), "text/csv", key="monday"))
        assert first[1] == {"created": 3_000, "refused": 1, "replayed": 0}
        assert again == (first[0], first[1] | {"replayed": 3_000})
        assert len(await exported(client)) == 3_000

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
    @given(
        upload=st.lists(
            st.sampled_from(
                [
                    *('"', '""', ",", "\n", "\r\n", "\r", "a", "1871-12-01", " ", "\0", "é", "\u2028"),
                    "Romola,Eliot,1863-01-01\n",
                    '"Romola",Eliot,1863-01-01\r\n',
                    '"Romola\n",Eliot,1863-01-01\n',
                ]
            ),
            max_size=30,
        ).map("".join)
    )
    async def test_leave_no_line_out_of_the_report_whatever_else_is_there(
        self, client: httpx.AsyncClient, upload: str
    ) -> None:
        content = f"title,author,publication_date\n{upload}"
        lines, summary = report_of(await send(client, content.encode(), "text/csv"))
        loaded, refused = (
            [
                number
                for each in lines
                if kind in each
                for number in range(each["line"], each.get("last_line", each["line"]) + 1)
            ]
            for kind in ("id", "errors")
        )
        physical = dict(enumerate(re.split("\r\n|\n|\r", content), 1))
        assert len(set(loaded)) + len(set(refused)) == len(loaded) + len(refused)
        assert not set(loaded) & set(refused)
        assert {number for number, line in physical.items() if line} <= {1, *loaded, *refused} <= set(physical)
        assert (summary["created"], summary["refused"]) == (
            sum("id" in each for each in lines),
            sum("errors" in each for each in lines),
        )


class TestManyAtATime:
    async def test_more_than_half_of_them_are_not_one_user_s(
        self,
        app: FastAPI,
        client: httpx.AsyncClient,
        token: str,
        store: Store,
        sign_in: Callable[[], Awaitable[str]],
    ) -> None:
        """However slowly they come in."""
        caller = await store.authenticator.authenticate(token)
        another = await sign_in()
        with ExitStack() as taken:
            for _ in range(4):
                taken.enter_context(app.state.imports.taken_by(caller.user_id))
            answer = await send(client, volumes(1, 3))
            assert (answer.status_code, answer.json()["type"]) == (503, "urn:colophon:too-many-imports")
            assert answer.headers["retry-after"] == "10"
            client.headers["Authorization"] = f"Bearer {another}"
            assert (await send(client, volumes(1, 3))).status_code == 200
        client.headers["Authorization"] = f"Bearer {token}"
        assert (await send(client, volumes(4, 6))).status_code == 200


class TestTheSizeOfAnUpload:
    @pytest.fixture
    def rest_settings(self, database_url: str, private_key_file: Path) -> RestSettings:
        return load(
            RestSettings, database_url=database_url, jwt_private_key_file=private_key_file, max_import_bytes=100_000
        )

    async def test_may_not_be_said_to_be_beyond_the_limit(self, client: httpx.AsyncClient) -> None:
        assert_problem(await send(client, volumes(1, 1_500)), 413, "body-too-large")
        assert await exported(client) == []

    async def test_that_goes_beyond_the_limit_is_cut_off_with_word_of_what_is_loaded(
        self, client: httpx.AsyncClient
    ) -> None:
        async def upload() -> AsyncIterator[bytes]:
            yield volumes(1, 1_100)
            yield volumes(1_101, 1_500)

        problem = assert_problem(await send(client, upload()), 413, "import-broken-off")
        assert (problem["next_line"], problem["created"], problem["refused"]) == (1_001, 1_000, 0)
        assert len(await exported(client)) == 1_000


class TestAnImportWithAKey:
    async def test_sent_again_loads_nothing_and_reports_the_same(self, client: httpx.AsyncClient, store: Store) -> None:
        upload = volumes(1, 700) + b"x\n" + volumes(702, 1_100)
        first, again = [await send(client, upload, key="monday") for _ in range(2)]
        lines, summary = report_of(first)
        assert summary == {"created": 1_099, "refused": 1, "replayed": 0}
        assert "idempotent-replayed" not in first.headers
        assert report_of(again) == (lines, summary | {"replayed": 1_099})
        assert again.headers["idempotent-replayed"] == "true"
        assert (len(await exported(client)), await count_events(store)) == (1_099, 1_099)

    async def test_sent_in_parallel_loads_each_book_once(self, app: FastAPI, client: httpx.AsyncClient) -> None:
        app.state.imports = Places(10)
        upload = volumes(1, 1_200)
        answers = await asyncio.gather(*(send(client, upload, key="monday") for _ in range(5)))
        reports = [report_of(answer) for answer in answers]
        assert all(lines == reports[0][0] for lines, _ in reports)
        assert sum(summary["created"] - summary["replayed"] for _, summary in reports) == 1_200
        assert len(await exported(client)) == 1_200

    async def test_refuses_another_upload_with_the_same_key(self, client: httpx.AsyncClient) -> None:
        await send(client, volumes(1, 1_200), key="monday")
        at_once = await send(client, volumes(2, 1_201), key="monday")
        assert_problem(at_once, 422, "idempotency-key-reused")
        later = await send(client, volumes(1, 1_000) + volumes(1_002, 1_201), key="monday")
        problem = assert_problem(later, 422, "import-broken-off")
        assert (problem["next_line"], problem["created"]) == (1_001, 1_000)
        assert len(await exported(client)) == 1_200


class TestADatabaseThatGoesAway:
    async def test_leaves_word_of_how_far_it_came_and_doubles_nothing_when_sent_again(
        self, own_postgresql: PostgreSQLServer, private_key_file: Path, quick_hashing: None
    ) -> None:
        upgrade(own_postgresql.url)
        settings = load(RestSettings, database_url=own_postgresql.url, jwt_private_key_file=private_key_file)
        app = create_app(settings)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://colophon") as client,
        ):
            person = await Person.register(client)
            client.headers["Authorization"] = f"Bearer {await person.sign_in()}"

            async def upload() -> AsyncIterator[bytes]:
                yield volumes(1, 1_200)
                await asyncio.to_thread(own_postgresql.stop)
                yield volumes(1_201, 2_200)

            for key in (None, "monday"):
                broken_off = await send(client, upload(), key=key)
                problem = assert_problem(broken_off, 503, "import-broken-off")
                assert (problem["next_line"], problem["created"], problem["refused"]) == (1_001, 1_000, 0)
                assert broken_off.headers.get("retry-after") == (None if key is None else "1")
                await asyncio.to_thread(own_postgresql.start)
            _, summary = report_of(await send(client, volumes(1, 2_200), key="monday"))
            assert summary == {"created": 2_200, "refused": 0, "replayed": 1_000}
            _, summary = report_of(await send(client, volumes(1_001, 2_200)))
            titles = [book["title"] for book in await exported(client)]
            assert sorted(titles) == sorted(2 * [f"Volume {number}" for number in range(1, 2_201)])
