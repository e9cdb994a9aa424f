"""Methods (RFC 9110, 9 and 15.5.6)."""

import pytest
from support.wire import Wire

from .conftest import A_BOOK, BOOKS, JSON

# What differs from one answer to the next.
OF_A_MOMENT = {"date", "content-disposition"}


def lasting(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name not in OF_A_MOMENT}


class TestHead:
    """RFC 9110, 9.3.2."""

    @pytest.mark.parametrize(
        "target",
        [
            "/healthz/live",
            "/healthz/ready",
            "/docs",
            "/docs/files/swagger-ui.css",
            "/account/verify",
            "/api/v1/openapi.json",
            BOOKS,
            f"{BOOKS}?page_size=1",
            f"{BOOKS}?author=Nobody&count=exact",
            "{a_book}",
            "/api/v1/users/me",
            "/api/v1/users/me/tokens",
            pytest.param("/nowhere", id="nothing"),
            pytest.param(f"{BOOKS}/999999999", id="no-such-book"),
            pytest.param(f"{BOOKS}?colour=red", id="query-that-is-refused"),
            pytest.param(f"{BOOKS}/01", id="id-that-is-refused"),
            pytest.param("/api/v1/users", id="forbidden"),
            pytest.param("/api/v1/auth/login", id="method-that-is-refused"),
        ],
    )
    async def test_is_answered_as_get_without_content(
        self, wire: Wire, signed_in: str, a_book: str, target: str
    ) -> None:
        target = target.format(a_book=a_book)
        got, headed = [await wire.ask(f"{method} {target}", signed_in) for method in ("GET", "HEAD")]
        assert headed.status == got.status
        assert lasting(headed.headers) == lasting(got.headers)
        assert (await wire.ask("GET /healthz/live")).body == b'{"status":"live"}'

    async def test_of_a_stream_has_the_same_fields_but_for_the_framing(
        self, wire: Wire, signed_in: str, a_book: str
    ) -> None:
        got, headed = [await wire.ask(f"{method} {BOOKS}/export", signed_in) for method in ("GET", "HEAD")]
        assert got.headers.pop("transfer-encoding") == "chunked"
        assert (headed.status, lasting(headed.headers)) == (200, lasting(got.headers))
        assert (await wire.ask("GET /healthz/live")).body == b'{"status":"live"}'

    async def test_of_a_stranger_is_401(self, wire: Wire) -> None:
        answer = await wire.ask(f"HEAD {BOOKS}")
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")

    async def test_of_a_copy_that_is_good_is_304(self, wire: Wire, signed_in: str, a_book: str) -> None:
        """RFC 9110, 13.1.2."""
        answer = await wire.ask(f"HEAD {a_book}", signed_in, 'If-None-Match: "1"')
        assert (answer.status, answer.headers["etag"]) == (304, '"1"')

    async def test_gives_no_part(self, wire: Wire) -> None:
        """RFC 9110, 14.2: `Range` means something to GET alone."""
        part = await wire.ask("GET /docs/files/swagger-ui.css", "Range: bytes=0-9")
        assert (part.status, len(part.body)) == (206, 10)
        whole = await wire.ask("HEAD /docs/files/swagger-ui.css", "Range: bytes=0-9")
        assert whole.status == 200
        assert int(whole.headers["content-length"]) > 10

    async def test_with_a_head_that_is_refused_has_no_content_either(self, wire: Wire) -> None:
        answer = await wire.ask("HEAD /healthz/live", "Host: another")
        assert answer.status == 400
        assert int(answer.headers["content-length"]) > 0
        assert await wire.is_closed()

    async def test_with_a_body_leaves_none_behind(self, wire: Wire) -> None:
        """RFC 9112, 6.3: it has no meaning, and is read all the same."""
        assert (await wire.ask("HEAD /healthz/live", body=b"GET /nowhere HTTP/1.1\r\n\r\n")).status == 200
        assert (await wire.ask("GET /healthz/live", "Connection: close")).status == 200
        assert await wire.is_closed()


class TestAMethodThatAnAddressDoesNotTake:
    @pytest.mark.parametrize("method", ["DELETE", "PUT", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "PURGE", "QUERY"])
    async def test_is_405_and_told_what_it_takes(self, wire: Wire, method: str) -> None:
        """RFC 9110, 15.5.6; TRACE, of which an answer would repeat the token, is among them."""
        answer = await wire.ask(f"{method} {BOOKS}", "Authorization: Bearer secret")
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, POST")
        assert b"secret" not in answer.body


class TestAnAnswer:
    @pytest.mark.parametrize("target", ["/healthz/live", "/nowhere", BOOKS])
    async def test_says_when_it_was_made(self, wire: Wire, target: str) -> None:
        """RFC 9110, 6.6.1."""
        assert (await wire.ask(f"GET {target}")).headers["date"].endswith(" GMT")

    async def test_without_content_has_no_length(self, wire: Wire, signed_in: str, a_book: str) -> None:
        """RFC 9110, 8.6."""
        answer = await wire.ask(f"DELETE {a_book}", signed_in)
        assert answer.status == 204
        assert not {"content-length", "transfer-encoding"} & set(answer.headers)
        assert (await wire.ask("GET /healthz/live")).status == 200

    async def test_to_a_new_book_says_where_it_is(self, wire: Wire, signed_in: str) -> None:
        """RFC 9110, 10.2.2."""
        made = await wire.ask(f"POST {BOOKS}", signed_in, JSON, body=A_BOOK)
        assert (await wire.ask(f"GET {made.headers['location']}", signed_in)).body == made.body
