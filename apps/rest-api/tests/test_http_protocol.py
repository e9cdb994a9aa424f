"""What reaches the service below HTTP frameworks: bytes on a socket, sent by whoever likes."""

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import pytest
from book_db.books import exporting
from book_db.errors import ConnectionLost
from rest_api import http_protocol
from rest_api.http_protocol import MAX_HEAD_BYTES, MAX_HEADERS, BoundedProtocol
from rest_api.observed import Observed
from rest_api.serving import listen, serving
from rest_api.settings import RestSettings
from support.waiting import until
from support.wire import Wire, a_request
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

pytestmark = pytest.mark.usefixtures("port")

HEADER_SECONDS = 600


@pytest.fixture
async def port(rest_settings: RestSettings) -> AsyncIterator[int]:
    """Of the service as uvicorn serves it, which has more patience than any test."""
    settings = rest_settings.model_copy(update={"header_seconds": HEADER_SECONDS})
    with listen("127.0.0.1", 0, "REST_PORT") as listening:
        async with serving(settings, listening):
            yield listening.getsockname()[1]


@pytest.fixture
async def wire(port: int) -> AsyncIterator[Wire]:
    wire = await Wire.to(port)
    yield wire
    await wire.close()


LIVE = b"GET /healthz/live HTTP/1.1\r\nHost: colophon\r\n"


class TestARequest:
    @pytest.mark.parametrize("version", ["1.0", "1.1"])
    async def test_that_was_answered_leaves_nothing_to_the_garbage_collector(self, port: int, version: str) -> None:
        """It would stop the service now and then, for what reference counts do at once."""
        gc.collect()
        gc.disable()
        try:
            for _ in range(20):
                wire = await Wire.to(port)
                await wire.send(LIVE.replace(b"1.1", version.encode()) + b"\r\n")
                assert (await wire.answer()).status == 200
                await wire.close()
            left = [each for each in gc.get_objects() if isinstance(each, RequestResponseCycle)]
            assert len(left) < 3
        finally:
            gc.enable()


class TestAHead:
    @pytest.mark.parametrize(
        "request_line",
        [
            pytest.param(LIVE, id="many-headers"),
            pytest.param(
                b"GET /nowhere?" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: colophon\r\n", id="and-a-long-address"
            ),
        ],
    )
    async def test_as_large_as_is_allowed_is_read(self, wire: Wire, request_line: bytes) -> None:
        room = MAX_HEAD_BYTES - len(request_line) - 20
        headers = b"".join(b"X-%02d: %s\r\n" % (n, b"x" * (room // 60 - 8)) for n in range(60))
        await wire.send(request_line + headers + b"\r\n")
        assert (await wire.answer()).status in (200, 404)

    @pytest.mark.parametrize(
        ("status", "head"),
        [
            pytest.param(431, LIVE + b"X: " + b"x" * MAX_HEAD_BYTES + b"\r\n\r\n", id="long-header"),
            pytest.param(431, LIVE + b"x" * MAX_HEAD_BYTES + b": x\r\n\r\n", id="long-name"),
            pytest.param(431, LIVE + b"X: " + b"x" * 2_000_000, id="header-without-end"),
            pytest.param(431, LIVE + b"X: x\r\n" * (MAX_HEADERS + 1) + b"\r\n", id="too-many-headers"),
            pytest.param(431, LIVE + b"Xxxx: xxxx\r\n" * 100_000 + b"\r\n", id="far-too-many-headers"),
            pytest.param(414, b"GET /" + b"x" * MAX_HEAD_BYTES + b" HTTP/1.1\r\n\r\n", id="long-address"),
            pytest.param(414, b"GET /" + b"x" * 2_000_000, id="address-without-end"),
        ],
    )
    async def test_larger_than_that_is_refused_with_a_problem_document(
        self, wire: Wire, status: int, head: bytes
    ) -> None:
        """RFC 9112, 3 has another status for an address than RFC 6585, 5 for a field."""
        await wire.send(head)
        answer = await wire.answer()
        assert answer.status == status
        slug = {414: "address-too-long", 431: "header-too-large"}[status]
        assert answer.problem["type"] == f"urn:colophon:{slug}"
        assert answer.headers["connection"] == "close"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert await wire.is_closed()

    async def test_that_is_refused_after_a_good_one_does_not_hurt_the_next_client(self, wire: Wire, port: int) -> None:
        await wire.send(LIVE + b"\r\n")
        assert (await wire.answer()).status == 200
        await wire.send(LIVE + b"X: " + b"x" * MAX_HEAD_BYTES + b"\r\n\r\n")
        assert (await wire.answer()).status == 431
        other = await Wire.to(port)
        await other.send(LIVE + b"\r\n")
        assert (await other.answer()).status == 200
        await other.close()

    async def test_that_is_no_http_is_refused_with_a_problem_document(self, wire: Wire) -> None:
        await wire.send(b"\x16\x03\x01 is how TLS begins\r\n\r\n")
        answer = await wire.answer()
        assert (answer.status, answer.problem["type"]) == (400, "urn:colophon:not-http")
        assert answer.headers["content-security-policy"]
        assert await wire.is_closed()

    async def test_may_come_in_the_same_packet_as_the_body_before_it(self, wire: Wire) -> None:
        body = b"x" * 60_000
        first = b"POST /nowhere HTTP/1.1\r\nHost: c\r\nContent-Length: %d\r\n\r\n" % len(body)
        await wire.send(first + body + LIVE)
        assert (await wire.answer()).status == 404
        await wire.send(b"\r\n")
        assert (await wire.answer()).status == 200

    async def test_asks_in_vain_for_another_protocol(self, wire: Wire) -> None:
        await wire.send(LIVE + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert (await wire.answer()).status == 200


class TestAHost:
    @pytest.mark.parametrize(
        ("head", "status"),
        [
            pytest.param(b"HTTP/1.1\r\nHost: a\r\n", 200, id="one"),
            pytest.param(b"HTTP/1.1\r\nHost:\r\n", 200, id="an-empty-one"),
            pytest.param(b"HTTP/1.0\r\n", 200, id="none-in-1.0"),
            pytest.param(b"HTTP/1.1\r\n", 400, id="none"),
            pytest.param(b"HTTP/1.1\r\nHost: a\r\nHost: a\r\n", 400, id="two-alike"),
            pytest.param(b"HTTP/1.1\r\nHost: a\r\nHost: b\r\n", 400, id="two"),
            pytest.param(b"HTTP/1.0\r\nHost: a\r\nHost: b\r\n", 400, id="two-in-1.0"),
        ],
    )
    async def test_is_named_once(self, wire: Wire, head: bytes, status: int) -> None:
        """RFC 9112, 3.2: whoever is in front may go by the one, and what is behind by the other."""
        await wire.send(b"GET /healthz/live " + head + b"\r\n")
        answer = await wire.answer()
        assert answer.status == status
        if status == 400:
            assert answer.problem["type"] == "urn:colophon:malformed-header"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert await wire.is_closed()


class TestATransferCoding:
    @pytest.mark.parametrize(
        ("codings", "statuses"),
        [
            pytest.param(b"chunked", (200, 405), id="chunked"),
            pytest.param(b"Chunked", (200, 405), id="capitals"),
            pytest.param(b"gzip, chunked", (501,), id="compressed"),
            pytest.param(b"identity, chunked", (501,), id="identity"),
            pytest.param(b"chunked, chunked", (501, 400), id="twice"),
            pytest.param(b"chunked\r\nTransfer-Encoding: chunked", (501, 400), id="in-two-headers"),
        ],
    )
    async def test_is_chunked_alone(self, wire: Wire, codings: bytes, statuses: tuple[int, ...]) -> None:
        """RFC 9112, 6.1."""
        head = b"POST /healthz/live HTTP/1.1\r\nHost: c\r\nTransfer-Encoding: " + codings + b"\r\n\r\n"
        await wire.send(head + b"0\r\n\r\n")
        assert (await wire.answer()).status in statuses


GOOD_FOR_NOTHING = b"Host: c\r\nAuthorization: Bearer x\r\nContent-Type: application/json\r\n"


class TestALength:
    @pytest.mark.parametrize("request_line", [b"GET /healthz/live", b"POST /api/v1/auth/login", b"POST /api/v1/books"])
    async def test_may_be_written_with_any_number_of_zeros(self, wire: Wire, request_line: bytes) -> None:
        """Python reads no number of more than 4,300 digits."""
        zeros = b"0" * 5_000
        await wire.send(request_line + b" HTTP/1.1\r\n" + GOOD_FOR_NOTHING + b"Content-Length: " + zeros + b"\r\n\r\n")
        answer = await wire.answer()
        assert answer.status in (200, 401, 422), answer
        assert answer.headers["x-content-type-options"] == "nosniff"

    @pytest.mark.parametrize("digits", [b"9" * 18, b"0" * 5_000 + b"9" * 18, b"9" * 19, b"9" * 5_000])
    async def test_that_nobody_has_is_refused(self, wire: Wire, digits: bytes) -> None:
        await wire.send(
            b"POST /api/v1/auth/login HTTP/1.1\r\n" + GOOD_FOR_NOTHING + b"Content-Length: " + digits + b"\r\n\r\n"
        )
        answer = await wire.answer()
        assert (answer.status, answer.problem["status"]) in ((413, 413), (400, 400))
        assert answer.headers["x-content-type-options"] == "nosniff"


class TestAFailure:
    async def test_outside_of_the_app_is_a_problem_document_too(
        self, wire: Wire, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(*_: object) -> None:
            raise RuntimeError("of something around the app")

        monkeypatch.setattr(Observed, "__call__", fail)
        await wire.send(LIVE + b"\r\n")
        answer = await wire.answer()
        assert (answer.status, answer.problem["type"]) == (500, "urn:colophon:internal")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "RuntimeError" not in answer.problem["detail"]
        assert "of something around the app" in caplog.text


class TestAStreamThatBreaksOff:
    """Its client must not take what came for the whole."""

    @pytest.fixture(autouse=True)
    def _a_database_that_goes_away(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def blocks(_: object) -> AsyncIterator[bytes]:
            yield b'{"id":1}\n'
            raise ConnectionLost

        monkeypatch.setattr(exporting, "_blocks", blocks)

    async def test_has_no_last_chunk(self, wire: Wire, token: str) -> None:
        await wire.send(a_request("GET /api/v1/books/export", f"Authorization: Bearer {token}"))
        with pytest.raises(asyncio.IncompleteReadError):
            await wire.answer()

    async def test_is_reset_where_there_are_no_chunks(self, wire: Wire, token: str) -> None:
        """In HTTP/1.0 the end of the connection is that of the answer (RFC 9112, 6.3)."""
        await wire.send(a_request("GET /api/v1/books/export", f"Authorization: Bearer {token}", version="1.0"))
        with pytest.raises(ConnectionResetError):
            await wire.answer()


class TestAfterTheBody:
    async def test_trailers_without_end_close_the_connection(self, wire: Wire) -> None:
        await wire.send(b"POST /api/v1/books HTTP/1.1\r\nHost: c\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ")
        for _ in range(20):
            await wire.send(b"x" * 100_000)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            assert (await wire.answer()).status in (401, 431)
        assert await wire.is_closed()


Send = Callable[[bytes], Awaitable[None]]
Elapse = Callable[[float], Awaitable[None]]


class TestPatience:
    """Slowloris: connections that are held open by sending next to nothing."""

    @pytest.fixture
    async def elapse(self) -> Elapse:
        """Lets the loop's clock, by which the service waits, jump ahead by a part of the service's patience."""
        loop, ahead = asyncio.get_running_loop(), [0.0]
        time = loop.time
        # Never set back: whoever waits for a moment ahead would wait for it in earnest.
        loop.time = lambda: time() + sum(ahead)  # type: ignore[method-assign]  # the loop is this test's own

        async def elapse(part: float) -> None:
            ahead.append(part * HEADER_SECONDS)
            for _ in range(2):  # what waited for this moment goes on before the caller does
                await asyncio.sleep(0)

        return elapse

    @pytest.fixture
    def send(self, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Send:
        """Sends and waits until the service has read it."""
        receive, read = BoundedProtocol.data_received, bytearray()

        def note(protocol: BoundedProtocol, data: bytes) -> None:
            receive(protocol, data)
            read.extend(data)

        async def send(data: bytes) -> None:
            wanted = len(read) + len(data)
            await wire.send(data)
            await until(lambda: len(read) == wanted, "the service has read it")

        monkeypatch.setattr(BoundedProtocol, "data_received", note)
        return send

    async def test_ends_where_no_byte_comes(self, wire: Wire, elapse: Elapse) -> None:
        await elapse(1.1)
        assert await wire.is_closed()

    async def test_ends_where_a_head_drips_in(self, wire: Wire, send: Send, elapse: Elapse) -> None:
        await send(LIVE)
        for _ in range(2):
            await elapse(0.4)
            await send(b"X")
        await elapse(0.4)
        answer = await wire.answer()
        assert (answer.status, answer.problem["type"]) == (408, "urn:colophon:too-slow")

    async def test_ends_where_empty_lines_drip_in_after_a_request(self, wire: Wire, send: Send, elapse: Elapse) -> None:
        await send(LIVE + b"\r\n")
        assert (await wire.answer()).status == 200
        await send(b"\n")
        for _ in range(2):
            await elapse(0.4)
            await send(b"\n")
        await elapse(0.4)
        assert await wire.is_closed()

    async def test_ends_where_a_body_pauses(self, wire: Wire, send: Send, elapse: Elapse) -> None:
        await send(
            b"POST /api/v1/auth/forgot-password HTTP/1.1\r\nHost: c\r\nContent-Type: application/json\r\n"
            b"Content-Length: 1000\r\n\r\n{"
        )
        await elapse(1.1)
        assert await wire.is_closed()

    async def test_ends_where_a_body_drips_in(self, wire: Wire, send: Send, elapse: Elapse) -> None:
        await send(
            b"POST /api/v1/auth/forgot-password HTTP/1.1\r\nHost: c\r\nContent-Type: application/json\r\n"
            b"Content-Length: 1000\r\n\r\n"
        )
        for _ in range(2):
            await send(b"{")
            await elapse(0.4)
        await send(b"{")
        await elapse(0.4)
        assert await wire.is_closed()

    async def test_does_not_end_where_a_body_goes_on(
        self, wire: Wire, send: Send, elapse: Elapse, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(http_protocol, "MIN_BYTES_PER_SECOND", 18 / HEADER_SECONDS)
        body = json.dumps({"email": "nobody@example.org"}).encode()
        await send(
            b"POST /api/v1/auth/forgot-password HTTP/1.1\r\nHost: c\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body)
        )
        for start in range(0, len(body), 9):
            await elapse(0.4)
            await send(body[start : start + 9])
        assert (await wire.answer()).status == 202

    async def test_is_new_for_each_request_of_a_connection(self, wire: Wire, send: Send, elapse: Elapse) -> None:
        for _ in range(4):
            await send(LIVE)
            await elapse(0.4)
            await send(b"\r\n")
            assert (await wire.answer()).status == 200
