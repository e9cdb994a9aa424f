"""The form that signs in (RFC 6749, appendix B; WHATWG URL, 5)."""

from urllib.parse import quote_plus

import httpx
import pytest
from support.people import Person

pytestmark = pytest.mark.usefixtures("quick_hashing")

LOGIN = "/api/v1/auth/login"
FORM = "application/x-www-form-urlencoded"
PASSWORD = "Käsebrötchen & 紅樓夢 + 7 \N{GRINNING FACE}"
EMAIL = "käthe@bücher.example"


@pytest.fixture
async def kaethe(anonymous: httpx.AsyncClient) -> Person:
    return await Person.register(anonymous, EMAIL, PASSWORD)


async def sent(client: httpx.AsyncClient, body: str | bytes, form: str = FORM) -> httpx.Response:
    content = body.encode() if isinstance(body, str) else body
    return await client.post(LOGIN, content=content, headers={"Content-Type": form})


ENCODED = PASSWORD.replace("&", "%26").replace("+", "%2B")


class TestTheForm:
    @pytest.mark.usefixtures("kaethe")
    @pytest.mark.parametrize(
        "body",
        [
            pytest.param(f"username={EMAIL}&password={ENCODED}", id="as-curl-sends-it"),
            pytest.param(f"username={quote_plus(EMAIL)}&password={quote_plus(PASSWORD)}", id="percent-encoded"),
            pytest.param(f"username={quote_plus(EMAIL)}&password={ENCODED}", id="one-of-each"),
            pytest.param(f"username={EMAIL}&password={ENCODED.replace('ä', '%c3%a4')}", id="both-in-one-value"),
            pytest.param(f"{quote_plus('username')}={EMAIL}&p%61ssword={ENCODED}", id="names-percent-encoded"),
            pytest.param(f"&&scope=&username={EMAIL}&password={ENCODED}&", id="more-ampersands"),
        ],
    )
    async def test_signs_in_however_it_is_written(self, anonymous: httpx.AsyncClient, body: str) -> None:
        for form in (FORM, f"{FORM}; charset=utf-8", FORM.upper()):
            answer = await sent(anonymous, body, form)
            assert (answer.status_code, answer.text[:16]) == (200, '{"access_token":'), answer.text

    @pytest.mark.usefixtures("kaethe")
    async def test_signs_in_in_parts_as_well(self, anonymous: httpx.AsyncClient) -> None:
        """RFC 7578."""
        parts = [f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
                 for name, value in (("username", EMAIL), ("password", PASSWORD))]  # fmt: skip
        answer = await sent(anonymous, "".join([*parts, "--x--\r\n"]), "multipart/form-data; boundary=x")
        assert answer.status_code == 200, answer.text

    @pytest.mark.parametrize(
        ("body", "pointers"),
        [
            pytest.param(b"username=a&password=K\xe4se", ["/password"], id="raw-latin-1"),
            pytest.param(b"username=a&password=K%E4se", ["/password"], id="percent-encoded-latin-1"),
            pytest.param(b"username=%ff&password=\xff", ["/username", "/password"], id="both"),
            pytest.param(b"username=a&password=%ED%A0%80", ["/password"], id="surrogate"),
            pytest.param(b"username=a&password=a&\xe9=x", ["/\xe9"], id="name"),
        ],
    )
    async def test_that_is_not_utf_8_is_refused_by_name(
        self, anonymous: httpx.AsyncClient, body: bytes, pointers: list[str]
    ) -> None:
        """And not as a wrong password."""
        answer = await sent(anonymous, body)
        assert answer.status_code == 422
        assert answer.json()["errors"] == [{"pointer": each, "detail": "must be UTF-8"} for each in pointers]

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            pytest.param("&".join(f"a{number}=x" for number in range(101)), 422, id="fields"),
            pytest.param("&" * 60_000, 422, id="ampersands"),
            pytest.param(f"username=a&password={'ä' * 40_000}", 413, id="bytes"),
        ],
    )
    async def test_with_too_many_is_refused(self, anonymous: httpx.AsyncClient, body: str, status: int) -> None:
        answer = await sent(anonymous, body)
        assert (answer.status_code, answer.json()["status"]) == (status, status)

    @pytest.mark.parametrize("body", ["", "username", "username=&password=", "username=a", "=&="])
    async def test_without_what_it_needs_is_refused(self, anonymous: httpx.AsyncClient, body: str) -> None:
        answer = await sent(anonymous, body)
        assert answer.status_code == 422
        assert "/password" in [error["pointer"] for error in answer.json()["errors"]]
