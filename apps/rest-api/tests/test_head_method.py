"""HEAD is answered as GET (RFC 9110, 9.3.2), wherever GET is."""

from collections.abc import AsyncIterator

import httpx
import psycopg
import pytest
from book_db.books import exporting
from fastapi import FastAPI
from support.operations import operations_of
from support.streams import EXPORT, send, volumes
from support.waiting import until

# What differs from one answer to the next.
OF_A_MOMENT = ("content-disposition", "content-length", "set-cookie")


def lasting(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name not in OF_A_MOMENT}


class TestHead:
    async def test_has_the_status_and_the_fields_of_get_at_every_operation(
        self, app: FastAPI, client: httpx.AsyncClient
    ) -> None:
        reads = [each for each in operations_of(app.openapi()) if each.method == "GET"]
        assert len(reads) > 10
        for operation in reads:
            got, headed = [await client.request(method, operation.address()) for method in ("GET", "HEAD")]
            assert headed.status_code == got.status_code != 405, operation
            assert lasting(headed) == lasting(got), operation
            assert headed.content == b"", operation

    async def test_is_not_taken_where_get_is_not(self, client: httpx.AsyncClient) -> None:
        answer = await client.head("/api/v1/books/batch")
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")

    @pytest.mark.parametrize("query", ["", "?format=csv"])
    async def test_of_an_export_reads_nothing_of_it(
        self, client: httpx.AsyncClient, app: FastAPI, monkeypatch: pytest.MonkeyPatch, query: str
    ) -> None:
        read: list[int] = []
        blocks = exporting._blocks

        async def noted(connection: object) -> AsyncIterator[bytes]:
            async for block in blocks(connection):  # type: ignore[arg-type]  # what it was given
                read.append(len(block))
                yield block

        monkeypatch.setattr(exporting, "_blocks", noted)
        await send(client, volumes(1, 10_000))
        answer = await client.head(EXPORT + query)
        assert (answer.status_code, answer.content) == (200, b"")
        assert read == []
        assert (await client.get(EXPORT)).content.count(b"\n") == 10_000
        assert read != []

    async def test_of_an_export_has_ended_it_when_it_is_answered(
        self, client: httpx.AsyncClient, database_url: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """PostgreSQL writes no lines for nobody, and the place of the export is free."""
        await send(client, volumes(1, 10_000))
        for _ in range(10):
            assert (await client.head(EXPORT)).status_code == 200
        exports = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'colophon-export'"
        with psycopg.connect(database_url, autocommit=True) as connection:
            await until(lambda: connection.execute(exports).fetchone() == (0,), "PostgreSQL has ended them")
        assert caplog.text == ""
