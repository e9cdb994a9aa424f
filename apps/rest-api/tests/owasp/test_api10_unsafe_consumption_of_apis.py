"""API10:2023. What other services say is not believed more than what users say.

The providers that people sign in with are the only ones that the service asks; what they answer is tried in
users/oauth: forged states, errors, garbage, redirects, silence, addresses that are not verified. Here: what reaches the
service beside requests and bodies.
"""

import httpx
import pytest
from support.people import Person


class TestTheTraceOfACaller:
    @pytest.mark.parametrize(
        "traceparent",
        [
            "00-" + "a" * 32 + "-" + "b" * 16 + "-01",
            "00-" + "0" * 32 + "-" + "0" * 16 + "-01",
            "ff-" + "z" * 32 + "-x-01",
            "x" * 10_000,
            "",
            "\u00ff\u00fe",
        ],
        ids=["good", "zeros", "wrong", "long", "empty", "no-ascii"],
    )
    async def test_is_taken_or_left(self, ada: Person, anonymous: httpx.AsyncClient, traceparent: str) -> None:
        anonymous.headers = httpx.Headers({"traceparent": traceparent}, encoding="latin-1")
        book = {"title": "Middlemarch", "author": "George Eliot", "publication_date": "1871-12-01"}
        assert (await ada.call("POST", "/books", json=book)).status_code == 201


class TestTheWordOfAProxyThatIsNotTrusted:
    async def test_is_neither_address_nor_scheme_nor_host(self, ada: Person, anonymous: httpx.AsyncClient) -> None:
        anonymous.headers.update(
            {
                "X-Forwarded-For": "203.0.113.7",
                "X-Real-IP": "203.0.113.7",
                "Forwarded": "for=203.0.113.7;host=evil.example;proto=https",
                "X-Forwarded-Host": "evil.example",
                "X-Forwarded-Proto": "https",
                "X-Forwarded-Prefix": "/evil",
            }
        )
        await ada.sign_in()
        sessions = (await ada.call("GET", "/users/me/sessions")).json()["sessions"]
        assert {session["address"] for session in sessions} == {"127.0.0.1"}
        book = {"title": "Middlemarch", "author": "George Eliot", "publication_date": "1871-12-01"}
        made = await ada.call("POST", "/books", json=book)
        assert made.headers["location"].startswith("/api/v1/books/")
