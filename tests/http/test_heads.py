"""The head of a request: its line and its fields (RFC 9112, 2 to 5; RFC 9110, 5 and 7.2)."""

import pytest
from support.wire import Wire, a_request

from .conftest import BOOKS

LIVE = b"GET /healthz/live HTTP/1.1\r\nHost: c\r\n"


async def is_refused(wire: Wire, status: int) -> bool:
    """Whether a problem document with this status is all that comes, whatever is sent after it."""
    await wire.send(LIVE + b"\r\n")
    answer = await wire.answer()
    assert (answer.status, answer.problem["status"]) == (status, status), answer
    assert answer.headers["connection"] == "close"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["date"]
    return await wire.is_closed()


class TestAHead:
    @pytest.mark.parametrize(
        "head",
        [
            pytest.param(LIVE + b"X: a\rb\r\n\r\n", id="9112-2.2-carriage-return-alone"),
            pytest.param(b"GET /healthz/live HTTP/1.1\r\n Host: c\r\n\r\n", id="9112-2.2-blank-before-the-first-field"),
            pytest.param(b"GET /healthz/live HTTP/one\r\nHost: c\r\n\r\n", id="9112-2.3-version-that-is-none"),
            pytest.param(b"GET /healthz live HTTP/1.1\r\nHost: c\r\n\r\n", id="9112-3.2-blank-in-the-target"),
            pytest.param(b"GET healthz/live HTTP/1.1\r\nHost: c\r\n\r\n", id="9112-3.2-target-without-a-slash"),
            pytest.param(b"GET /healthz/live?\xc3\xa9 HTTP/1.1\r\nHost: c\r\n\r\n", id="9112-3.2-query-of-raw-utf-8"),
            pytest.param(b"GET /healthz/\xc3\xa9 HTTP/1.1\r\nHost: c\r\n\r\n", id="9112-3.2-path-of-raw-utf-8"),
            pytest.param(b"GET /healthz/live#x HTTP/1.1\r\nHost: c\r\n\r\n", id="9112-3.2-fragment"),
            pytest.param(LIVE + b"X : a\r\n\r\n", id="9112-5.1-blank-before-the-colon"),
            pytest.param(LIVE + b"X: a\r\n b\r\n\r\n", id="9112-5.2-field-that-is-folded"),
            pytest.param(LIVE + b"X\r\n\r\n", id="9112-5-field-without-a-colon"),
            pytest.param(LIVE + b": a\r\n\r\n", id="9110-5.1-field-without-a-name"),
            pytest.param(LIVE + b"X\x00: a\r\n\r\n", id="9110-5.1-nul-in-a-name"),
            pytest.param(LIVE + b"X: a\x00\r\n\r\n", id="9110-5.5-nul-in-a-value"),
            pytest.param(b"FETCH /healthz/live HTTP/1.1\r\nHost: c\r\n\r\n", id="9110-9.1-method-that-nobody-knows"),
            pytest.param(b"get /healthz/live HTTP/1.1\r\nHost: c\r\n\r\n", id="9110-9.1-method-in-small-letters"),
            pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="9113-3.4-http/2-unasked"),
        ],
    )
    async def test_that_is_none_is_refused_and_the_connection_closed(self, wire: Wire, head: bytes) -> None:
        await wire.send(head)
        assert await is_refused(wire, 400)

    @pytest.mark.parametrize(
        "request_line",
        [
            pytest.param(b"GET /healthz/live HTTP/2.0", id="9110-15.6.6-http/2-in-the-form-of-http/1"),
            pytest.param(b"GET /healthz/live HTTP/0.9", id="9110-15.6.6-http/0.9"),
            pytest.param(b"GET /healthz/live", id="9110-15.6.6-no-version"),
        ],
    )
    async def test_of_another_version_is_refused(self, wire: Wire, request_line: bytes) -> None:
        await wire.send(request_line + b"\r\nHost: c\r\n\r\n")
        assert await is_refused(wire, 505)

    async def test_may_have_empty_lines_before_it(self, wire: Wire) -> None:
        """RFC 9112, 2.2."""
        await wire.send(b"\r\n\r\n" + LIVE + b"\r\n")
        assert (await wire.answer()).status == 200

    @pytest.mark.parametrize(
        ("target", "status"),
        [
            pytest.param("/healthz/live", 200, id="9112-3.2.1-origin"),
            pytest.param("http://colophon/healthz/live", 200, id="9112-3.2.2-absolute"),
            pytest.param("HTTP://another.example:8000/healthz/live?x", 200, id="9112-3.2.2-of-another-host-than-host"),
            pytest.param("http://colophon", 404, id="9112-3.2.2-absolute-without-a-path"),
            pytest.param("http://colophon?x=/", 404, id="9112-3.2.2-absolute-with-a-query-alone"),
        ],
    )
    async def test_may_have_its_target_in_any_form(self, wire: Wire, target: str, status: int) -> None:
        assert (await wire.ask(f"GET {target}")).status == status
        assert (await wire.ask("GET /healthz/live")).status == 200

    async def test_may_ask_for_the_options_of_the_server(self, wire: Wire) -> None:
        """RFC 9112, 3.2.4: there are none."""
        assert (await wire.ask("OPTIONS *")).status == 404
        assert (await wire.ask("GET /healthz/live")).status == 200

    async def test_that_opens_a_tunnel_is_refused(self, wire: Wire) -> None:
        """RFC 9110, 9.3.6."""
        await wire.send(a_request("CONNECT colophon:80"))
        assert await is_refused(wire, 501)

    async def test_with_a_target_that_is_too_long_is_414(self, wire: Wire) -> None:
        """RFC 9112, 3."""
        await wire.send(a_request(f"GET /{'x' * 40_000}"))
        assert await is_refused(wire, 414)

    @pytest.mark.parametrize(
        "field",
        [
            pytest.param("Authorization:Bearer x", id="9112-5-none"),
            pytest.param("Authorization: \t Bearer x \t ", id="9110-5.5-many"),
        ],
    )
    async def test_may_have_blanks_around_values(self, wire: Wire, field: str) -> None:
        answer = await wire.ask(f"GET {BOOKS}/1", field)
        assert answer.status == 401
        assert "none in the Authorization header" not in answer.problem["detail"]

    async def test_means_the_same_whatever_is_behind_its_values(self, wire: Wire, signed_in: str, a_book: str) -> None:
        """RFC 9110, 5.5."""
        answer = await wire.ask(f"GET {a_book}", f"{signed_in} \t", 'If-None-Match: "1" \t')
        assert answer.status == 304


class TestHost:
    """RFC 9112, 3.2: whoever is in front may go by the one, and what is behind by the other."""

    @pytest.mark.parametrize(
        "fields",
        [
            pytest.param(b"", id="none"),
            pytest.param(b"Host: a\r\nHost: a\r\n", id="two-alike"),
            pytest.param(b"Host: a\r\nX: x\r\nhost: b\r\n", id="two"),
            pytest.param(b"Host: a b\r\n", id="blank-in-it"),
            pytest.param(b"Host: a, b\r\n", id="list"),
            pytest.param(b"Host: http://a\r\n", id="address"),
            pytest.param(b"Host: a/b\r\n", id="path"),
            pytest.param(b"Host: user@a\r\n", id="user"),
            pytest.param(b"Host: a:x\r\n", id="port-that-is-no-number"),
            pytest.param(b"Host: a:1:2\r\n", id="two-ports"),
            pytest.param(b"Host: [::1\r\n", id="half-of-a-bracket"),
            pytest.param(b"Host: \xc3\xa9.example\r\n", id="raw-utf-8"),
        ],
    )
    async def test_that_names_no_one_host_is_refused(self, wire: Wire, fields: bytes) -> None:
        await wire.send(b"GET /healthz/live HTTP/1.1\r\n" + fields + b"\r\n")
        assert await is_refused(wire, 400)

    @pytest.mark.parametrize(
        "value",
        [
            "",
            "a",
            "a.example:8000",
            "a.example:",
            "127.0.0.1:80",
            "[::1]:80",
            "[fe80::1%25eth0]",
            "a_b",
            "xn--9ca.example",
        ],
    )
    async def test_that_names_one_or_none_is_taken(self, wire: Wire, value: str) -> None:
        await wire.send(f"GET /healthz/live HTTP/1.1\r\nHost: {value}\r\n\r\n".encode())
        assert (await wire.answer()).status == 200

    async def test_may_be_missing_in_http_1_0(self, wire: Wire) -> None:
        await wire.send(b"GET /healthz/live HTTP/1.0\r\n\r\n")
        assert (await wire.answer()).status == 200
