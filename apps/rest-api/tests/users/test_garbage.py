"""Whatever is sent, the answer is a problem document and never a failure of the service."""

import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.usefixtures("quick_hashing")

SLOWLY = settings(
    max_examples=60,
    deadline=None,
    # One service for all examples: what one of them leaves behind is no matter to the next.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

# Lone surrogates too, which JSON can say and UTF-8 cannot.
TEXTS = st.text(st.characters(codec=None), max_size=60)
ANYTHING = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.lists(TEXTS, max_size=2)
PATHS = ["register", "forgot-password", "reset-password", "request-verify-token", "verify"]


def fine(answer: httpx.Response) -> bool:
    return answer.status_code < 500 and (
        answer.is_success or answer.headers["content-type"].startswith("application/problem")
    )


class TestGarbage:
    @SLOWLY
    @given(
        path=st.sampled_from(PATHS),
        body=st.dictionaries(st.sampled_from(["email", "password", "token"]) | TEXTS, ANYTHING, max_size=4),
    )
    async def test_as_json_is_answered(self, anonymous: httpx.AsyncClient, path: str, body: dict[str, Any]) -> None:
        answer = await anonymous.post(
            f"/api/v1/auth/{path}", content=json.dumps(body), headers={"Content-Type": "application/json"}
        )
        assert fine(answer), (answer.status_code, answer.text)

    @SLOWLY
    @given(path=st.sampled_from(PATHS), body=st.binary(max_size=200))
    async def test_as_bytes_is_answered(self, anonymous: httpx.AsyncClient, path: str, body: bytes) -> None:
        answer = await anonymous.post(
            f"/api/v1/auth/{path}", content=body, headers={"Content-Type": "application/json"}
        )
        assert fine(answer), (answer.status_code, answer.text)

    @SLOWLY
    @given(email=st.emails() | TEXTS, password=TEXTS)
    async def test_registers_or_is_refused(self, anonymous: httpx.AsyncClient, email: str, password: str) -> None:
        body = json.dumps({"email": email, "password": password})
        answer = await anonymous.post(
            "/api/v1/auth/register", content=body, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code in (201, 409, 422), answer.text

    @SLOWLY
    @given(
        body=st.binary(max_size=200) | st.binary(max_size=60).map(lambda username: b"password=x&username=" + username),
        kind=st.sampled_from(
            ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "multipart/form-data"]
        ),
    )
    async def test_as_a_form_is_answered(self, anonymous: httpx.AsyncClient, body: bytes, kind: str) -> None:
        answer = await anonymous.post("/api/v1/auth/login", content=body, headers={"Content-Type": kind})
        assert answer.status_code in (400, 422), answer.text
        assert fine(answer)

    @SLOWLY
    @given(username=st.text(max_size=60), password=st.text(max_size=60))
    async def test_as_credentials_is_refused(self, anonymous: httpx.AsyncClient, username: str, password: str) -> None:
        answer = await anonymous.post("/api/v1/auth/login", data={"username": username, "password": password})
        assert answer.status_code in (400, 422), answer.text
        assert fine(answer)
