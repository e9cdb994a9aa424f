"""API2:2023. Nobody gets past the door by a token that is not good, nor by guessing."""

import time
from collections.abc import Callable
from uuid import uuid4

import httpx
import jwt
import pytest
from book_db.store import Store
from book_runtime.tokens import AUDIENCE, ISSUER
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from rest_api.users.signing import TokenSigner
from support.operations import Operation
from support.people import Person, log_in

OPEN = {
    "login", "register", "refresh", "forgotPassword", "resetPassword", "requestVerification", "verifyEmail",
    "authorizeWithGitHub", "signInWithGitHub", "authorizeWithGoogle", "signInWithGoogle",
    "isLive", "isReady",
}  # fmt: skip
"""What strangers may call."""


def _claims(**changed: object) -> dict[str, object]:
    now = int(time.time())
    good = {"iss": ISSUER, "aud": AUDIENCE, "sub": str(uuid4()), "sid": str(uuid4()), "iat": now, "exp": now + 600}
    return good | changed


def _of_another_key() -> str:
    return jwt.encode(_claims(), Ed25519PrivateKey.generate(), algorithm="EdDSA")


def _unsigned() -> str:
    return jwt.encode(_claims(), "", algorithm="none")


FORGED: dict[str, Callable[[], str]] = {
    "Bearer of-another-key": _of_another_key,
    "Bearer unsigned": _unsigned,
    "Bearer signed-with-what-is-public": lambda: jwt.encode(_claims(), "x" * 32, algorithm="HS256"),
    "Bearer no-token": lambda: "x.y.z",
}


class TestEveryOperation:
    async def test_that_is_open_is_named(self, operations: list[Operation]) -> None:
        assert {operation.id for operation in operations if operation.is_open} == OPEN

    async def test_that_is_not_open_wants_a_token(
        self, anonymous: httpx.AsyncClient, operations: list[Operation]
    ) -> None:
        guarded = [operation for operation in operations if not operation.is_open]
        for operation in guarded:
            answer = await anonymous.request(operation.method, operation.address())
            assert answer.status_code == 401, operation.id
            assert answer.headers["www-authenticate"].startswith("Bearer")
        print(f"{len(guarded)} of {len(operations)} operations want a token")

    @pytest.mark.parametrize("kind", [pytest.param(kind, id=kind.split()[1]) for kind in FORGED])
    async def test_that_is_not_open_takes_no_forged_one(
        self, anonymous: httpx.AsyncClient, operations: list[Operation], kind: str
    ) -> None:
        headers = {"Authorization": f"Bearer {FORGED[kind]()}"}
        for operation in operations:
            if not operation.is_open:
                answer = await anonymous.request(operation.method, operation.address(), headers=headers)
                assert answer.status_code == 401, operation.id

    async def test_takes_a_token_in_its_header_alone(self, ada: Person, anonymous: httpx.AsyncClient) -> None:
        anonymous.cookies.set("access_token", ada.token)
        answer = await anonymous.get("/api/v1/users/me", params={"access_token": ada.token, "token": ada.token})
        assert answer.status_code == 401


class TestATokenThatWasGood:
    async def test_is_good_no_more_when_it_has_expired(
        self, ada: Person, anonymous: httpx.AsyncClient, store: Store, signer: TokenSigner
    ) -> None:
        sign_in = await store.sessions.begin(ada.id, 3_600)
        for lifetime, status in ((60, 200), (-60, 401)):
            token = signer.sign(ada.id, sign_in.session_id, lifetime)
            answer = await anonymous.get("/api/v1/users/me", headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == status

    async def test_is_good_no_more_after_signing_out(self, ada: Person) -> None:
        assert (await ada.call("POST", "/auth/logout")).status_code == 204
        assert (await ada.call("GET", "/users/me")).status_code == 401

    async def test_is_no_token_of_another_kind(self, ada: Person) -> None:
        assert (await ada.call("GET", "/users/me", token=ada.refresh_token)).status_code == 401


class TestGuessing:
    async def test_ends_after_ten_wrong_passwords_as_the_service_comes(
        self, ada: Person, anonymous: httpx.AsyncClient
    ) -> None:
        statuses = [(await log_in(anonymous, ada.email, f"wrong password {n}")).status_code for n in range(12)]
        assert statuses == [400] * 10 + [429] * 2

    async def test_the_current_password_is_guessing_too(self, ada: Person) -> None:
        statuses = [
            (await ada.call("PATCH", "/users/me", json={"email": "eve@example.org", "current_password": f"wrong {n}"}))
            for n in range(12)
        ]
        assert [each.status_code for each in statuses] == [403] * 10 + [429] * 2

    async def test_does_not_tell_who_has_an_account(self, ada: Person, anonymous: httpx.AsyncClient) -> None:
        known = await log_in(anonymous, ada.email, "wrong password")
        unknown = await log_in(anonymous, "nobody@example.org", "wrong password")
        assert (known.status_code, known.json()) == (unknown.status_code, unknown.json())
        for endpoint in ("forgot-password", "request-verify-token"):
            answers = [
                await anonymous.post(f"/api/v1/auth/{endpoint}", json={"email": email})
                for email in (ada.email, "nobody@example.org")
            ]
            assert [(each.status_code, each.content) for each in answers] == [(202, b"")] * 2
