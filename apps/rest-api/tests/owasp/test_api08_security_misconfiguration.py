"""API8:2023. Nothing is open, told or taken that need not be. Headers and CORS: test_browsers.py."""

import httpx
import pytest
from fastapi import FastAPI
from support.operations import Operation
from support.people import PASSWORD, Person

SECRET = "postgresql://user:hunter2@inside"


class TestMethods:
    @pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PROPFIND", "DEBUG", "TRACK", "x"])
    async def test_that_nobody_needs_are_refused(self, anonymous: httpx.AsyncClient, method: str) -> None:
        for path in ("/api/v1/books", "/healthz/live", "/docs", "/account/verify"):
            answer = await anonymous.request(method, path)
            assert (answer.status_code, answer.headers["content-type"]) == (405, "application/problem+json"), path


class TestFailures:
    async def test_tell_a_reference_and_nothing_of_the_inside(self, app: FastAPI, anonymous: httpx.AsyncClient) -> None:
        @app.get("/fails")
        async def fail() -> None:
            raise RuntimeError(SECRET)

        answer = await anonymous.get("/fails")
        assert (answer.status_code, answer.json()["type"]) == (500, "urn:colophon:internal")
        for word in ("hunter2", "RuntimeError", "Traceback", ".py", "site-packages"):
            assert word not in answer.text

    async def test_of_every_operation_with_nonsense_are_problem_documents(
        self, ada: Person, operations: list[Operation]
    ) -> None:
        for operation in operations:
            if operation.path.startswith("/healthz") or operation.method == "GET":
                continue
            path = operation.address().removeprefix("/api/v1")
            answer = await ada.call(operation.method, path, content=b"\x00{")
            if answer.status_code >= 400:
                assert answer.headers["content-type"] == "application/problem+json", operation.id
                assert answer.status_code < 500, operation.id


class TestWhatIsServed:
    @pytest.mark.parametrize(
        "path",
        [
            "/metrics", "/openapi.json", "/redoc", "/docs/oauth2-redirect", "/api/v1/openapi.yaml", "/.env",
            "/.git/config", "/admin", "/debug", "/server-status", "/actuator", "/api", "/api/v1", "/api/v2/books", "/",
        ],
    )  # fmt: skip
    async def test_is_not_public_unless_it_must_be(self, anonymous: httpx.AsyncClient, path: str) -> None:
        answer = await anonymous.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")

    @pytest.mark.parametrize(
        "path",
        [
            "/docs/files/../../../../../../etc/passwd",
            "/docs/files/..%2f..%2f..%2f..%2fetc%2fpasswd",
            "/docs/files/%2e%2e/%2e%2e/__init__.py",
            "/docs/files/",
            "/docs/files/.",
            "/docs/files/%00",
            "/account/files/../verify.html",
            "/account/files/%2e%2e%2fmanager.py",
        ],
    )
    async def test_is_no_file_beside_its_own(self, anonymous: httpx.AsyncClient, path: str) -> None:
        answer = await anonymous.request("GET", httpx.URL("http://colophon").copy_with(raw_path=path.encode()))
        assert answer.status_code in (404, 405)
        assert b"root:" not in answer.content

    async def test_does_not_tell_what_it_is_made_of(self, anonymous: httpx.AsyncClient) -> None:
        for path in ("/healthz/live", "/nowhere", "/docs"):
            assert {"server", "x-powered-by", "via"}.isdisjoint((await anonymous.get(path)).headers)

    async def test_is_not_kept_on_its_way_where_it_is_a_secret(self, ada: Person, anonymous: httpx.AsyncClient) -> None:
        form = {"username": ada.email, "password": ada.password}
        asked = {"name": "export", "scopes": ["books:read"], "expires_in_days": 1, "current_password": PASSWORD}
        for answer in (
            await anonymous.post("/api/v1/auth/login", data=form),
            await anonymous.post("/api/v1/auth/refresh", json={"refresh_token": ada.refresh_token}),
            await ada.call("POST", "/users/me/tokens", json=asked),
        ):
            assert answer.headers["cache-control"] == "no-store"
