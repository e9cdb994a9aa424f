"""Conditional requests (RFC 9110, 13)."""

import json

import pytest
from support.wire import Wire

from .conftest import A_BOOK, BOOKS, JSON

LONG_AGO, LATER = "Sat, 29 Oct 1994 19:43:31 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"


class TestAConditionOnAReading:
    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    @pytest.mark.parametrize(
        ("fields", "status"),
        [
            pytest.param(['If-None-Match: "1"'], 304, id="13.1.2-same"),
            pytest.param(['If-None-Match: W/"1"'], 304, id="13.1.2-compared-weakly"),
            pytest.param(['If-None-Match: "9", "1"'], 304, id="13.1.2-list"),
            pytest.param(['If-None-Match: "9"', 'If-None-Match: "1"'], 304, id="13.1.2-in-two-fields"),
            pytest.param(["If-None-Match: *"], 304, id="13.1.2-any"),
            pytest.param(['If-None-Match: "9"'], 200, id="13.1.2-another"),
            pytest.param(['If-Match: "1"'], 200, id="13.1.1-same"),
            pytest.param(['If-Match: "9", "1"'], 200, id="13.1.1-list"),
            pytest.param(["If-Match: *"], 200, id="13.1.1-any"),
            pytest.param(['If-Match: "9"'], 412, id="13.1.1-another"),
            pytest.param(['If-Match: W/"1"'], 412, id="13.1.1-compared-strongly"),
            pytest.param(['If-Match: "01"'], 412, id="8.8.3-tag-that-looks-like-it"),
            pytest.param(['If-Match: "9"', 'If-None-Match: "1"'], 412, id="13.2.2-if-match-first"),
            pytest.param(['If-Match: "1"', 'If-None-Match: "1"'], 304, id="13.2.2-if-none-match-second"),
            pytest.param([f"If-Modified-Since: {LATER}"], 200, id="13.1.3-without-a-date-to-compare"),
            pytest.param([f"If-Unmodified-Since: {LONG_AGO}"], 200, id="13.1.4-without-a-date-to-compare"),
            pytest.param(
                [f"If-Modified-Since: {LATER}", 'If-None-Match: "9"'], 200, id="13.1.3-passed-over-beside-a-tag"
            ),
            pytest.param(["If-Match: 1"], 400, id="8.8.3-no-tag"),
            pytest.param(["If-None-Match: 1"], 400, id="8.8.3-no-tag-either"),
        ],
    )
    async def test_is_held_to(
        self, wire: Wire, signed_in: str, a_book: str, method: str, fields: list[str], status: int
    ) -> None:
        answer = await wire.ask(f"{method} {a_book}", signed_in, *fields)
        assert answer.status == status
        if status != 400:
            assert answer.headers["etag"] == '"1"'
        assert (await wire.ask("GET /healthz/live")).status == 200

    async def test_that_holds_has_the_fields_of_200(self, wire: Wire, signed_in: str, a_book: str) -> None:
        """RFC 9110, 15.4.5."""
        whole = await wire.ask(f"GET {a_book}", signed_in)
        known = await wire.ask(f"GET {a_book}", signed_in, 'If-None-Match: "1"')
        assert (known.status, known.body) == (304, b"")
        for name in ("etag", "cache-control"):
            assert known.headers[name] == whole.headers[name]
        assert known.headers["date"]

    @pytest.mark.parametrize("field", ["If-None-Match: *", 'If-None-Match: "1"', "If-Match: *", 'If-Match: "1"'])
    async def test_is_passed_over_where_there_is_nothing(self, wire: Wire, signed_in: str, field: str) -> None:
        """RFC 9110, 13.2.1."""
        assert (await wire.ask(f"GET {BOOKS}/999999999", signed_in, field)).status == 404

    async def test_of_a_stranger_is_passed_over(self, wire: Wire, a_book: str) -> None:
        """RFC 9110, 13.2.1."""
        assert (await wire.ask(f"GET {a_book}", 'If-None-Match: "1"')).status == 401


class TestAConditionOnAWriting:
    @pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
    @pytest.mark.parametrize(
        "field",
        [
            pytest.param('If-Match: "9"', id="13.1.1-another"),
            pytest.param('If-Match: W/"1"', id="13.1.1-compared-strongly"),
            pytest.param('If-None-Match: "1"', id="13.1.2-same"),
            pytest.param('If-None-Match: W/"1"', id="13.1.2-compared-weakly"),
            pytest.param("If-None-Match: *", id="13.1.2-any"),
        ],
    )
    async def test_that_does_not_hold_writes_nothing(
        self, wire: Wire, signed_in: str, a_book: str, method: str, field: str
    ) -> None:
        answer = await wire.ask(f"{method} {a_book}", signed_in, JSON, field, body=A_BOOK)
        assert (answer.status, answer.headers["etag"]) == (412, '"1"')
        assert json.loads((await wire.ask(f"GET {a_book}", signed_in)).body)["version"] == 1

    @pytest.mark.parametrize("method", ["PUT", "PATCH"])
    @pytest.mark.parametrize("field", ['If-Match: "1"', "If-Match: *", 'If-None-Match: "9"'])
    async def test_that_holds_writes(self, wire: Wire, signed_in: str, a_book: str, method: str, field: str) -> None:
        answer = await wire.ask(f"{method} {a_book}", signed_in, JSON, field, body=A_BOOK)
        assert (answer.status, answer.headers["etag"]) == (200, '"2"')

    @pytest.mark.parametrize("field", ["If-Match: *", 'If-Match: "1"', "If-None-Match: *"])
    async def test_is_passed_over_where_there_is_nothing(self, wire: Wire, signed_in: str, field: str) -> None:
        """RFC 9110, 13.2.1."""
        answer = await wire.ask(f"PUT {BOOKS}/999999999", signed_in, JSON, field, body=A_BOOK)
        assert answer.status == 404
