"""Many requests on a connection, and its end (RFC 9112, 9; RFC 9110, 10.1.1)."""

import json

import pytest
from support.streams import volumes
from support.wire import Wire, a_request

from .conftest import A_BOOK, BOOKS, JSON, NDJSON, BooksNow

LIVE = a_request("GET /healthz/live")


class TestRequestsOfOneConnection:
    async def test_follow_each_other(self, wire: Wire) -> None:
        """RFC 9112, 9.3: it persists without being asked to."""
        for _ in range(3):
            answer = await wire.ask("GET /healthz/live")
            assert answer.status == 200
            assert "connection" not in answer.headers

    async def test_are_answered_in_their_order(self, wire: Wire, signed_in: str, a_book: str) -> None:
        """RFC 9112, 9.3.2: also where a later one takes less time."""
        slow = a_request(f"POST {BOOKS}/import", signed_in, NDJSON, body=volumes(1, 1_000))
        missing, head = a_request(f"GET {BOOKS}/999999999", signed_in), a_request(f"HEAD {a_book}", signed_in)
        await wire.send(slow + LIVE + missing + head + LIVE)
        assert json.loads((await wire.answer()).body.splitlines()[-1])["created"] == 1_000
        assert [(await wire.answer(to)).status for to in ("GET", "GET", "HEAD", "GET")] == [200, 404, 200, 200]

    async def test_are_answered_up_to_one_that_is_none(self, wire: Wire, signed_in: str) -> None:
        """RFC 9112, 9.3.2: what came before it is not lost."""
        slow = a_request(f"POST {BOOKS}/import", signed_in, NDJSON, body=volumes(1, 1_000))
        await wire.send(slow + LIVE + b"GET /healthz/live HTTP/1.1\r\n\r\n" + LIVE)
        assert [(await wire.answer()).status for _ in range(3)] == [200, 200, 400]
        assert await wire.is_closed()

    async def test_end_with_one_that_closes(self, wire: Wire, signed_in: str, books_now: BooksNow) -> None:
        """RFC 9112, 9.6: no further request is processed."""
        before = books_now()
        create = a_request(f"POST {BOOKS}", signed_in, JSON, body=A_BOOK)
        await wire.send(a_request("GET /healthz/live", "Connection: close") + create)
        answer = await wire.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert await wire.is_closed()
        assert books_now() == before

    async def test_are_told_apart_where_a_body_is_not_wanted(self, wire: Wire, signed_in: str) -> None:
        """RFC 9112, 9.3: it is read all the same, and is no request."""
        body = LIVE * 3
        await wire.send(a_request("POST /nowhere", signed_in, JSON, body=body) + LIVE)
        assert (await wire.answer()).status == 404
        answer = await wire.answer()
        assert (answer.status, answer.body) == (200, b'{"status":"live"}')
        answer = await wire.ask("GET /healthz/live", body=LIVE)
        assert answer.status == 200
        assert (await wire.ask("GET /healthz/live", "Connection: close")).status == 200
        assert await wire.is_closed()


class TestAnExpectation:
    """RFC 9110, 10.1.1."""

    WAITING = (JSON, "Expect: 100-continue", f"Content-Length: {len(A_BOOK)}")

    async def test_is_met_before_the_body_is_sent(self, wire: Wire, signed_in: str) -> None:
        await wire.send(a_request(f"POST {BOOKS}", signed_in, *self.WAITING))
        assert (await wire.answer()).status == 100
        await wire.send(A_BOOK)
        assert (await wire.answer()).status == 201

    @pytest.mark.parametrize(
        ("line", "fields", "status"),
        [
            pytest.param(f"POST {BOOKS}", WAITING, 401, id="of-a-stranger"),
            pytest.param("POST /nowhere", WAITING, 404, id="where-nothing-is"),
            pytest.param(
                f"POST {BOOKS}",
                (JSON, "Expect: 100-continue", "Content-Length: 999999999"),
                413,
                id="of-a-body-that-is-too-long",
            ),
        ],
    )
    async def test_is_answered_at_once_where_the_head_says_enough(
        self, wire: Wire, line: str, fields: tuple[str, ...], status: int
    ) -> None:
        await wire.send(a_request(line, *fields))
        assert (await wire.answer()).status == status

    async def test_of_one_who_does_not_wait_is_no_harm(self, wire: Wire, signed_in: str) -> None:
        await wire.send(a_request(f"POST {BOOKS}", signed_in, *self.WAITING) + A_BOOK + LIVE)
        statuses = [(await wire.answer()).status for _ in range(2)]
        assert statuses in ([100, 201], [201, 200])  # the interim answer may be left out
        if statuses[0] == 100:
            assert (await wire.answer()).status == 200

    async def test_is_passed_over_in_http_1_0(self, wire: Wire, signed_in: str) -> None:
        await wire.send(a_request(f"POST {BOOKS}", signed_in, *self.WAITING, version="1.0") + A_BOOK)
        assert (await wire.answer()).status == 201
        assert await wire.is_closed()
