"""What browsers are told: which answers are what, who may frame them, whose pages may call."""

import base64
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from hashlib import sha256

import httpx
import pytest
from book_runtime.settings import SettingsError, load
from fastapi import FastAPI
from rest_api.app import create_app
from rest_api.settings import RestSettings

Serve = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]

DATA_ONLY = "default-src 'none'; frame-ancestors 'none'"


@pytest.fixture
def serve(rest_settings: RestSettings) -> Serve:
    """Serves with other settings."""

    @asynccontextmanager
    async def serving(**settings: object) -> AsyncIterator[httpx.AsyncClient]:
        app = create_app(rest_settings.model_copy(update=settings))
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://colophon") as client,
        ):
            yield client

    return serving


ANSWERS = [
    pytest.param("GET", "/healthz/live", {}, 200, id="200"),
    pytest.param("GET", "/api/v1/openapi.json", {}, 200, id="the-document"),
    pytest.param("GET", "/api/v1/books/1", {}, 401, id="401"),
    pytest.param("GET", "/nowhere", {}, 404, id="404"),
    pytest.param("DELETE", "/api/v1/books", {}, 405, id="405"),
    pytest.param("POST", "/api/v1/auth/register", {"content": b"x" * 9 * 2**20}, 413, id="413"),
    pytest.param("POST", "/api/v1/auth/register", {"json": {}}, 422, id="422"),
]


class TestEveryAnswer:
    @pytest.mark.parametrize(("method", "path", "options", "status"), ANSWERS)
    async def test_says_that_it_is_data_and_not_to_be_framed_or_guessed_at(
        self, anonymous: httpx.AsyncClient, method: str, path: str, options: dict[str, object], status: int
    ) -> None:
        answer = await anonymous.request(method, path, **options)  # type: ignore[arg-type]  # of all kinds
        assert answer.status_code == status
        assert _security_headers(answer) == {
            "content-security-policy": DATA_ONLY,
            "x-content-type-options": "nosniff",
            "x-frame-options": "DENY",
            "referrer-policy": "no-referrer",
            "cross-origin-resource-policy": "same-origin",
        }

    async def test_of_a_failure_too(self, app: FastAPI, anonymous: httpx.AsyncClient) -> None:
        @app.get("/fails")
        async def fail() -> None:
            raise ZeroDivisionError

        answer = await anonymous.get("/fails")
        assert answer.status_code == 500
        assert answer.headers["content-security-policy"] == DATA_ONLY
        assert answer.headers["content-type"] == "application/problem+json"

    async def test_of_a_refused_attempt_too(self, serve: Serve) -> None:
        async with serve(limit_mail_per_address="1/hour") as client:
            await client.post("/api/v1/auth/forgot-password", json={"email": "nobody@example.org"})
            answer = await client.post("/api/v1/auth/forgot-password", json={"email": "nobody@example.org"})
        assert answer.status_code == 429
        assert answer.headers["content-security-policy"] == DATA_ONLY

    async def test_says_once_what_it_says(self, anonymous: httpx.AsyncClient) -> None:
        for path in ("/docs", "/account/verify", "/healthz/live"):
            names = [name.lower() for name, _ in (await anonymous.get(path)).headers.multi_items()]
            assert len(names) == len(set(names)), path

    @pytest.mark.parametrize(
        ("public_url", "encrypted"), [("https://books.example.org", True), ("http://127.0.0.1:8000", False)]
    )
    async def test_asks_for_https_where_people_come_by_https(
        self, serve: Serve, public_url: str, encrypted: bool
    ) -> None:
        async with serve(public_url=public_url) as client:
            answer = await client.get("/healthz/live")
        assert ("strict-transport-security" in answer.headers) is encrypted


class TestThePages:
    async def test_of_the_api_runs_its_own_scripts_and_no_other(self, anonymous: httpx.AsyncClient) -> None:
        page = await anonymous.get("/docs")
        policy = dict(directive.split(" ", 1) for directive in page.headers["content-security-policy"].split("; "))
        scripts = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
        hashes = [f"'sha256-{base64.b64encode(sha256(each.encode()).digest()).decode()}'" for each in scripts]
        assert len(hashes) == 1
        assert policy == {
            "default-src": "'none'",
            "script-src": f"'self' {hashes[0]}",
            "style-src": "'self'",
            "img-src": "'self' data:",
            "connect-src": "'self'",
            "form-action": "'none'",
            "base-uri": "'none'",
            "frame-ancestors": "'none'",
        }

    async def test_of_the_mails_keep_their_own_policy(self, anonymous: httpx.AsyncClient) -> None:
        policy = (await anonymous.get("/account/reset-password")).headers["content-security-policy"]
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy


HERE = "https://books.example.org"
PREFLIGHT = {
    "Origin": HERE,
    "Access-Control-Request-Method": "PATCH",
    "Access-Control-Request-Headers": "authorization,content-type,if-match,if-none-match,idempotency-key",
}


class TestPagesOfOtherSites:
    async def test_may_not_call_unless_they_are_named(self, anonymous: httpx.AsyncClient) -> None:
        asked = await anonymous.options("/api/v1/books/1", headers=PREFLIGHT)
        called = await anonymous.get("/healthz/live", headers={"Origin": HERE})
        for answer in (asked, called):
            assert not [name for name in answer.headers if name.startswith("access-control")]
        assert asked.status_code == 405

    async def test_that_are_named_may_call_with_every_method_and_header_there_is(self, serve: Serve) -> None:
        async with serve(cors_origins=f"{HERE}, http://localhost:5173") as client:
            answer = await client.options("/api/v1/books/1", headers=PREFLIGHT)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == HERE
        assert "PATCH" in answer.headers["access-control-allow-methods"]
        allowed = answer.headers["access-control-allow-headers"].lower()
        assert all(name in allowed for name in PREFLIGHT["Access-Control-Request-Headers"].split(","))
        assert "access-control-allow-credentials" not in answer.headers

    async def test_that_are_named_may_read_errors_and_what_stands_in_headers(self, serve: Serve) -> None:
        async with serve(cors_origins=HERE, limit_mail_per_address="1/hour") as client:
            client.headers["Origin"] = HERE
            refused = await client.get("/api/v1/books/1")
            await client.post("/api/v1/auth/forgot-password", json={"email": "nobody@example.org"})
            limited = await client.post("/api/v1/auth/forgot-password", json={"email": "nobody@example.org"})
        for answer, status in ((refused, 401), (limited, 429)):
            assert answer.status_code == status
            assert answer.headers["access-control-allow-origin"] == HERE
            assert "Origin" in answer.headers["vary"]
            exposed = answer.headers["access-control-expose-headers"].split(", ")
            assert {"ETag", "Location", "Link", "Retry-After", "Idempotent-Replayed"} <= set(exposed)

    @pytest.mark.parametrize(
        "origin",
        [
            "https://books.example.org.evil.example",
            "http://books.example.org",
            "https://books.example.org:8443",
            "https://sub.books.example.org",
            "null",
        ],
    )
    async def test_that_are_not_named_are_refused_beside_those_that_are(self, serve: Serve, origin: str) -> None:
        async with serve(cors_origins=HERE) as client:
            asked = await client.options("/api/v1/books/1", headers=PREFLIGHT | {"Origin": origin})
            called = await client.get("/healthz/live", headers={"Origin": origin})
        assert (asked.status_code, asked.headers["content-type"]) == (400, "application/problem+json")
        assert "access-control-allow-origin" not in asked.headers
        assert "access-control-allow-origin" not in called.headers

    @pytest.mark.parametrize(
        "origins", ["*", f"{HERE},*", f"{HERE}/", "books.example.org", "https://Books.example.org", "null"]
    )
    def test_are_named_exactly(self, database_url: str, rest_settings: RestSettings, origins: str) -> None:
        with pytest.raises(SettingsError, match="CORS_ORIGINS: it must"):
            load(RestSettings, **rest_settings.model_dump() | {"cors_origins": origins})


def _security_headers(answer: httpx.Response) -> dict[str, str]:
    """Those that are no answer's own."""
    names = {"content-security-policy", "referrer-policy", "strict-transport-security"}
    return {name: value for name, value in answer.headers.items() if name in names or name.startswith(("x-", "cross-"))}
