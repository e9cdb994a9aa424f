"""People with accounts, who call the REST service."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

import httpx

PASSWORD = "correct horse battery"


class Person:
    """Someone with an account, signed in or not."""

    def __init__(self, client: httpx.AsyncClient, user_id: UUID, email: str, password: str) -> None:
        self._client = client
        self.id = user_id
        self.email = email
        self.password = password
        self.token = ""
        self.refresh_token = ""

    @classmethod
    async def register(cls, client: httpx.AsyncClient, email: str | None = None, password: str = PASSWORD) -> "Person":
        """Someone who has just made an account, and is not signed in yet."""
        email = email or f"{uuid4().hex}@example.org"
        answer = await client.post("/api/v1/auth/register", json={"email": email, "password": password})
        assert answer.status_code == 201, answer.text
        return cls(client, UUID(answer.json()["id"]), answer.json()["email"], password)

    def with_client(self, client: httpx.AsyncClient) -> "Person":
        """The same, signed in already, who calls with another client."""
        other = Person(client, self.id, self.email, self.password)
        other.token, other.refresh_token = self.token, self.refresh_token
        return other

    async def sign_in(self) -> str:
        """Begins a session, and returns its access token; those of earlier sessions stay good."""
        return self._keep(await log_in(self._client, self.email, self.password))

    async def refresh(self) -> str:
        """Exchanges the newest refresh token, and returns the new access token."""
        return self._keep(await refresh(self._client, self.refresh_token))

    async def confirm(self, token: str) -> httpx.Response:
        """What the service answers to the token of a link to confirm an address, with the password of the account."""
        proof = {"token": token, "current_password": self.password}
        return await self._client.post("/api/v1/auth/verify", json=proof)

    async def call(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> httpx.Response:
        """Calls the API with the newest token, or with another one."""
        headers = {"Authorization": f"Bearer {token or self.token}", **(headers or {})}
        return await self._client.request(method, f"/api/v1{path}", headers=headers, **options)

    def _keep(self, answer: httpx.Response) -> str:
        assert answer.status_code == 200, answer.text
        self.token, self.refresh_token = answer.json()["access_token"], answer.json()["refresh_token"]
        return self.token


async def log_in(client: httpx.AsyncClient, username: str, password: str) -> httpx.Response:
    """What the service answers to these credentials."""
    return await client.post("/api/v1/auth/login", data={"username": username, "password": password})


async def refresh(client: httpx.AsyncClient, refresh_token: str) -> httpx.Response:
    """What the service answers to this refresh token."""
    return await client.post("/api/v1/auth/refresh", json={"refresh_token": refresh_token})
