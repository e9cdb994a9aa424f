"""Where a body ends (RFC 9112, 6 and 7), and what it may be coded in (RFC 9110, 8.4)."""

import json

import pytest
from support.wire import Wire, a_request

from .conftest import A_BOOK, BOOKS, JSON, NDJSON, BooksNow

CREATE = f"POST {BOOKS}"


def chunks(body: bytes, size: int = 20) -> bytes:
    cut = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(each), each) for each in cut)


class TestALength:
    @pytest.mark.parametrize(
        "length",
        [
            pytest.param("+{}", id="9110-8.6-sign"),
            pytest.param("-{}", id="9110-8.6-below-zero"),
            pytest.param("{}.0", id="9110-8.6-fraction"),
            pytest.param("0x{}", id="9110-8.6-hexadecimal"),
            pytest.param("{0} {0}", id="9110-8.6-two-with-a-blank"),
            pytest.param("{0}, {0}", id="9112-6.3-list-of-the-same"),
            pytest.param("{0}\r\nContent-Length: {0}", id="9112-6.3-twice-the-same"),
            pytest.param("{0}\r\nContent-Length: 0", id="9112-6.3-two-that-differ"),
            pytest.param("{0}\r\nTransfer-Encoding: chunked", id="9112-6.1-beside-chunks"),
            pytest.param("", id="9110-8.6-empty"),
            pytest.param("\N{ARABIC-INDIC DIGIT THREE}", id="9110-8.6-digits-of-another-script"),
            pytest.param("18446744073709551616", id="9110-8.6-one-more-than-64-bits"),
            pytest.param("9" * 5_000, id="9110-8.6-thousands-of-digits"),
        ],
    )
    async def test_that_is_none_is_refused_and_the_connection_closed(
        self, wire: Wire, signed_in: str, books_now: BooksNow, length: str
    ) -> None:
        before = books_now()
        await wire.send(a_request(CREATE, signed_in, JSON, f"Content-Length: {length.format(len(A_BOOK))}") + A_BOOK)
        answer = await wire.answer()
        assert (answer.status, answer.problem["type"]) == (400, "urn:colophon:not-http")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert await wire.is_closed()
        assert books_now() == before

    @pytest.mark.parametrize(
        "length",
        [
            pytest.param("{}", id="9110-8.6"),
            pytest.param(f"{'0' * 5_000}{{}}", id="9110-8.6-zeros-before-it"),
            pytest.param("  {}\t ", id="9110-5.5-blanks-around-it"),
        ],
    )
    async def test_is_as_many_bytes_as_are_read(self, wire: Wire, signed_in: str, length: str) -> None:
        await wire.send(a_request(CREATE, signed_in, JSON, f"Content-Length: {length.format(len(A_BOOK))}") + A_BOOK)
        assert (await wire.answer()).status == 201
        assert (await wire.ask("GET /healthz/live")).status == 200

    @pytest.mark.parametrize("length", ["18446744073709551615", "999999999999999999", f"{'0' * 5_000}999999999"])
    async def test_that_nobody_reads_is_413(self, wire: Wire, signed_in: str, length: str) -> None:
        """RFC 9110, 15.5.14."""
        await wire.send(a_request(CREATE, signed_in, JSON, f"Content-Length: {length}"))
        answer = await wire.answer()
        assert (answer.status, answer.problem["status"]) == (413, 413)
        assert answer.headers["x-content-type-options"] == "nosniff"

    async def test_is_not_needed_where_there_is_no_body(self, wire: Wire, signed_in: str) -> None:
        """RFC 9112, 6.3: what follows is the next request."""
        await wire.send(a_request(CREATE, signed_in, JSON) + a_request("GET /healthz/live"))
        assert (await wire.answer()).status == 422
        assert (await wire.answer()).status == 200


class TestATransferCoding:
    @pytest.mark.parametrize(
        ("coding", "status"),
        [
            pytest.param("chunked", 201, id="9112-7.1"),
            pytest.param("Chunked ", 201, id="9112-7-in-capitals"),
            pytest.param("gzip, chunked", 501, id="9112-6.1-that-is-not-known"),
            pytest.param("gzip\r\nTransfer-Encoding: chunked", 501, id="9112-6.1-in-two-fields"),
            pytest.param("chunked, chunked", 400, id="9112-6.1-twice"),
            pytest.param("gzip", 400, id="9112-6.3-that-does-not-tell-the-end"),
            pytest.param("chunked, gzip", 400, id="9112-6.3-chunked-before-another"),
            pytest.param("", 400, id="9112-6.1-none"),
        ],
    )
    async def test_is_chunked_alone(self, wire: Wire, signed_in: str, coding: str, status: int) -> None:
        head = a_request(CREATE, signed_in, JSON, f"Transfer-Encoding: {coding}")
        await wire.send(head + chunks(A_BOOK) + b"0\r\n\r\n")
        answer = await wire.answer()
        assert answer.status == status
        if status >= 400:
            assert answer.problem["status"] == status
            assert await wire.is_closed()

    async def test_is_a_fault_in_http_1_0(self, wire: Wire, signed_in: str, books_now: BooksNow) -> None:
        """RFC 9112, 6.1."""
        before = books_now()
        head = a_request(CREATE, signed_in, JSON, "Transfer-Encoding: chunked", version="1.0")
        await wire.send(head + chunks(A_BOOK) + b"0\r\n\r\n")
        assert (await wire.answer()).status == 400
        assert await wire.is_closed()
        assert books_now() == before


class TestChunks:
    @pytest.mark.parametrize(
        "body",
        [
            pytest.param(b"Z\r\n", id="9112-7.1-size-that-is-no-number"),
            pytest.param(b"0x1\r\n{\r\n0\r\n\r\n", id="9112-7.1-size-with-a-prefix"),
            pytest.param(b"-1\r\n", id="9112-7.1-size-below-zero"),
            pytest.param(b"f" * 17 + b"\r\n", id="9112-7.1-size-beyond-64-bits"),
            pytest.param(b"2\r\n{}}\r\n0\r\n\r\n", id="9112-7.1-more-than-its-size"),
            pytest.param(b"2\n{}\n0\n\n", id="9112-7.1-lines-that-end-otherwise"),
        ],
    )
    async def test_that_are_none_are_refused_and_the_connection_closed(
        self, wire: Wire, signed_in: str, body: bytes
    ) -> None:
        await wire.send(a_request(CREATE, signed_in, JSON, "Transfer-Encoding: chunked") + body)
        answer = await wire.answer()
        assert (answer.status, answer.problem["type"]) == (400, "urn:colophon:not-http")
        assert await wire.is_closed()

    @pytest.mark.parametrize("bad", [pytest.param(b"Z\r\n", id="short"), pytest.param(b"Z" * 60_000, id="long")])
    async def test_that_turn_bad_while_they_are_read_are_refused(self, wire: Wire, signed_in: str, bad: bytes) -> None:
        """RFC 9112, 2.2: also where the body has been given on in part."""
        await wire.send(
            a_request(f"POST {BOOKS}/import", signed_in, NDJSON, "Transfer-Encoding: chunked", "Expect: 100-continue")
        )
        assert (await wire.answer()).status == 100  # it is being read
        await wire.send(chunks(A_BOOK + b"\n"))
        await wire.send(bad)
        assert (await wire.answer()).status == 400
        assert await wire.is_closed()

    async def test_may_have_extensions(self, wire: Wire, signed_in: str) -> None:
        """RFC 9112, 7.1.1."""
        body = b'%x;name="value";other\r\n%s\r\n0;last\r\n\r\n' % (len(A_BOOK), A_BOOK)
        await wire.send(a_request(CREATE, signed_in, JSON, "Transfer-Encoding: chunked") + body)
        assert (await wire.answer()).status == 201
        assert (await wire.ask("GET /healthz/live")).status == 200

    @pytest.mark.parametrize(
        ("line", "trailer", "status"),
        [
            pytest.param(CREATE, "Content-Encoding: gzip", 201, id="a-coding"),
            pytest.param(CREATE, 'Idempotency-Key: "half', 201, id="a-key-that-is-none"),
            pytest.param("PUT {a_book}", 'If-Match: "9"', 200, id="a-condition"),
        ],
    )
    async def test_may_have_fields_after_them_which_mean_nothing(
        self, wire: Wire, signed_in: str, a_book: str, line: str, trailer: str, status: int
    ) -> None:
        """RFC 9112, 7.1.2: they are not to be merged into the head."""
        head = a_request(line.format(a_book=a_book), signed_in, JSON, "Transfer-Encoding: chunked")
        # In one packet: so all of it is there before anybody looks at the head.
        await wire.send(head + chunks(A_BOOK) + f"0\r\n{trailer}\r\n\r\n".encode())
        assert (await wire.answer()).status == status
        assert (await wire.ask("GET /healthz/live")).status == 200


class TestAContentCoding:
    """RFC 9110, 8.4 and 15.5.16."""

    @pytest.mark.parametrize(
        "coding", ["gzip", "br", "x-gzip", "identity, gzip", "nonsense", "gzip\r\nContent-Encoding: br"]
    )
    @pytest.mark.parametrize(
        ("line", "form"),
        [
            pytest.param(CREATE, JSON, id="short-way"),
            pytest.param(CREATE, f"{JSON}; charset=utf-8", id="long-way"),
            pytest.param(f"{CREATE}/batch", JSON, id="batch"),
            pytest.param(f"{CREATE}/import", NDJSON, id="import"),
            pytest.param(f"PUT {BOOKS}/1", JSON, id="replace"),
            pytest.param("POST /api/v1/auth/login", "Content-Type: application/x-www-form-urlencoded", id="form"),
            pytest.param("POST /api/v1/auth/register", JSON, id="register"),
        ],
    )
    async def test_is_415(self, wire: Wire, signed_in: str, line: str, form: str, coding: str) -> None:
        answer = await wire.ask(line, signed_in, form, f"Content-Encoding: {coding}", body=b"\x1f\x8b")
        assert (answer.status, answer.problem["type"]) == (415, "urn:colophon:unsupported-media-type")
        assert answer.headers["accept-encoding"] == "identity"

    @pytest.mark.parametrize("coding", ["identity", "Identity", "", "identity, identity"])
    async def test_that_changes_nothing_is_taken(self, wire: Wire, signed_in: str, coding: str) -> None:
        answer = await wire.ask(CREATE, signed_in, JSON, f"Content-Encoding: {coding}", body=A_BOOK)
        assert (answer.status, json.loads(answer.body)["title"]) == (201, "Middlemarch")
