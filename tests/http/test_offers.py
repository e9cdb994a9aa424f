"""Offers of another protocol (RFC 9110, 7.8): `Upgrade` is passed over, and the request answered as without it.

curl offers HTTP/2 with `--http2`, and Java's HttpClient without being told to, on requests with a body too.
"""

import json

import pytest
from support.streams import volumes
from support.wire import Wire, a_request

from .conftest import A_BOOK, BOOKS, JSON, NDJSON, BooksNow

H2C = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA")
WEBSOCKET = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)

offers = pytest.mark.parametrize(
    "offer",
    [
        pytest.param(H2C, id="h2c"),
        pytest.param(WEBSOCKET, id="websocket"),
        pytest.param(("Upgrade: foo/2", "Connection: upgrade"), id="that-nobody-knows"),
        pytest.param(("Connection: keep-alive, Upgrade", "Upgrade: h2c, websocket"), id="of-several"),
        pytest.param(("Connection: Upgrade", "Upgrade: h2c", "Upgrade: foo"), id="in-two-fields"),
        pytest.param(("UPGRADE: H2C", "CONNECTION: UPGRADE"), id="in-capitals"),
    ],
)


async def one_more_answer_alone(wire: Wire) -> bool:
    """Whether nothing stands between the answer that was read and that to the next request, which is the last."""
    answer = await wire.ask("GET /healthz/live", "Connection: close")
    return (answer.status, answer.body) == (200, b'{"status":"live"}') and await wire.is_closed()


class TestAnOffer:
    @offers
    async def test_with_a_body_is_answered_as_without_it(
        self, wire: Wire, signed_in: str, offer: tuple[str, ...]
    ) -> None:
        answer = await wire.ask(f"POST {BOOKS}", *offer, signed_in, JSON, body=A_BOOK)
        assert (answer.status, json.loads(answer.body)["title"]) == (201, "Middlemarch")
        assert "upgrade" not in answer.headers
        assert await one_more_answer_alone(wire)

    @offers
    async def test_may_be_followed_by_its_body_later(
        self, wire: Wire, signed_in: str, offer: tuple[str, ...], books_now: BooksNow
    ) -> None:
        """Which is taken for no request: there is one answer, that to the body."""
        before = books_now()
        await wire.send(a_request(f"POST {BOOKS}", *offer, signed_in, JSON, f"Content-Length: {len(A_BOOK)}"))
        for half in (A_BOOK[:40], A_BOOK[40:]):
            assert books_now() == before
            await wire.send(half)
        answer = await wire.answer()
        assert (answer.status, json.loads(answer.body)["title"]) == (201, "Middlemarch")
        assert await one_more_answer_alone(wire)

    @offers
    async def test_with_a_body_in_chunks_is_answered_as_without_it(
        self, wire: Wire, signed_in: str, offer: tuple[str, ...]
    ) -> None:
        line = f"POST {BOOKS}/import"
        await wire.send(a_request(line, *offer, signed_in, NDJSON, "Transfer-Encoding: chunked"))
        for number in range(3):
            row = volumes(number, number)
            await wire.send(b"%x\r\n%s\r\n" % (len(row), row))
        await wire.send(b"0\r\n\r\n")
        report = (await wire.answer()).body.splitlines()
        assert json.loads(report[-1]) == {"created": 3, "refused": 0}
        assert await one_more_answer_alone(wire)

    async def test_with_a_body_of_many_packets_loses_none(self, wire: Wire, signed_in: str) -> None:
        answer = await wire.ask(f"POST {BOOKS}/import", *H2C, signed_in, NDJSON, body=volumes(1, 10_000))
        assert json.loads(answer.body.splitlines()[-1])["created"] == 10_000

    async def test_may_come_byte_by_byte(self, wire: Wire, signed_in: str) -> None:
        for byte in a_request(f"POST {BOOKS}", *H2C, signed_in, JSON, body=A_BOOK):
            await wire.send(bytes([byte]))
        assert (await wire.answer()).status == 201
        assert await one_more_answer_alone(wire)

    @offers
    async def test_without_a_body_is_answered_as_without_it(self, wire: Wire, offer: tuple[str, ...]) -> None:
        assert (await wire.ask("GET /healthz/live", *offer)).status == 200
        assert await one_more_answer_alone(wire)

    async def test_is_passed_over_in_each_request_of_one_packet(self, wire: Wire, signed_in: str) -> None:
        packet = b"".join(
            a_request(f"POST {BOOKS}", *H2C, signed_in, JSON, body=A_BOOK) + a_request("GET /healthz/live", *WEBSOCKET)
            for _ in range(100)
        )
        await wire.send(packet)
        statuses = [(await wire.answer()).status for _ in range(200)]
        assert statuses == [201, 200] * 100
        assert await one_more_answer_alone(wire)

    async def test_beside_close_closes(self, wire: Wire, signed_in: str) -> None:
        offer = ("Connection: Upgrade, close", "Upgrade: h2c")
        assert (await wire.ask(f"POST {BOOKS}", *offer, signed_in, JSON, body=A_BOOK)).status == 201
        assert await wire.is_closed()

    async def test_that_waits_with_its_body_is_told_to_go_on(self, wire: Wire, signed_in: str) -> None:
        """RFC 9110, 10.1.1."""
        waiting = ("Expect: 100-continue", f"Content-Length: {len(A_BOOK)}")
        await wire.send(a_request(f"POST {BOOKS}", *H2C, *waiting, signed_in, JSON))
        assert (await wire.answer()).status == 100
        await wire.send(A_BOOK)
        assert (await wire.answer()).status == 201
        assert await one_more_answer_alone(wire)

    async def test_in_http_1_0_is_passed_over(self, wire: Wire, signed_in: str) -> None:
        answer = await wire.ask(f"POST {BOOKS}", *H2C, signed_in, JSON, body=A_BOOK, version="1.0")
        assert answer.status == 201
        assert await wire.is_closed()

    async def test_with_a_head_that_is_refused_is_refused(self, wire: Wire) -> None:
        answer = await wire.ask("GET /healthz/live", *H2C, "Host: another")
        assert (answer.status, answer.problem["type"]) == (400, "urn:colophon:malformed-header")
        assert await wire.is_closed()

    async def test_is_only_one_where_connection_says_so(self, wire: Wire, signed_in: str) -> None:
        assert (await wire.ask(f"POST {BOOKS}", "Upgrade: h2c", signed_in, JSON, body=A_BOOK)).status == 201
        assert await one_more_answer_alone(wire)
