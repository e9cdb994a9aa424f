"""Clients of HTTP/1.0: ab, old proxies, `curl -0` (RFC 9112, appendix C.2; RFC 9110, 2.5)."""

import json

import pytest
from support.services import RestApi
from support.streams import volumes
from support.wire import Wire

from .conftest import A_BOOK, BOOKS, JSON, NDJSON

EXPORT = f"GET {BOOKS}/export"


class TestAnAnswerToHttp10:
    @pytest.mark.parametrize("line", [EXPORT, f"{EXPORT}?format=csv", f"{EXPORT}?author=Nobody"])
    async def test_that_is_a_stream_ends_by_closing(
        self, service: RestApi, wire: Wire, signed_in: str, a_book: str, line: str
    ) -> None:
        """RFC 9112, 6.1 and 6.3: nothing is sent in chunks to who may not know them."""
        answer = await wire.ask(line, signed_in, version="1.0")
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert "transfer-encoding" not in answer.headers
        assert "content-length" not in answer.headers
        other = await Wire.to(service.port)
        assert answer.body == (await other.ask(line, signed_in)).body
        await other.close()

    async def test_that_is_a_report_ends_by_closing(self, wire: Wire, signed_in: str) -> None:
        answer = await wire.ask(f"POST {BOOKS}/import", signed_in, NDJSON, body=volumes(1, 3), version="1.0")
        assert "transfer-encoding" not in answer.headers
        assert json.loads(answer.body.splitlines()[-1])["created"] == 3

    @pytest.mark.parametrize(
        ("line", "status"),
        [
            pytest.param("GET /healthz/live", 200, id="short"),
            pytest.param("HEAD /healthz/live", 200, id="head"),
            pytest.param(f"HEAD {BOOKS}/export", 401, id="head-that-is-refused"),
            pytest.param("GET /nowhere", 404, id="problem"),
            pytest.param("GET /docs/files/swagger-ui.css", 200, id="file"),
        ],
    )
    async def test_of_known_length_says_it_and_closes(self, wire: Wire, line: str, status: int) -> None:
        answer = await wire.ask(line, version="1.0")
        assert (answer.status, answer.headers["connection"]) == (status, "close")
        assert int(answer.headers["content-length"]) > 0
        assert await wire.is_closed()

    async def test_without_content_closes(self, wire: Wire, signed_in: str, a_book: str) -> None:
        answer = await wire.ask(f"DELETE {a_book}", signed_in, version="1.0")
        assert answer.status == 204
        assert "content-length" not in answer.headers
        assert await wire.is_closed()

    async def test_to_who_would_stay_closes_and_says_so(self, wire: Wire) -> None:
        """RFC 9112, 9.3: a server need not honour keep-alive of 1.0."""
        answer = await wire.ask("GET /healthz/live", "Connection: keep-alive", version="1.0")
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert await wire.is_closed()

    async def test_to_a_book_is_as_to_1_1(self, wire: Wire, signed_in: str) -> None:
        answer = await wire.ask(f"POST {BOOKS}", signed_in, JSON, body=A_BOOK, version="1.0")
        assert answer.status == 201
        assert await wire.is_closed()
