"""The REST service on a real database, and someone who is signed in to it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from argon2.profiles import CHEAPEST
from book_db.store import Store
from book_runtime.settings import load
from fastapi import FastAPI
from rest_api.app import create_app
from rest_api.settings import RestSettings
from rest_api.users import passwords
from rest_api.users.keys import make_key_pair
from rest_api.users.signing import TokenSigner

SignIn = Callable[[], Awaitable[str]]


@pytest.fixture(scope="session")
def private_key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    make_key_pair(folder / "private.pem", folder / "public.pem")
    return folder / "private.pem"


@pytest.fixture
def quick_hashing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Argon2 in a millisecond, for what is not about how long it takes."""
    monkeypatch.setattr(passwords, "COST", CHEAPEST)


@pytest.fixture
def rest_settings(database_url: str, private_key_file: Path) -> RestSettings:
    """The service without a cache, reading past it."""
    return load(RestSettings, database_url=database_url, jwt_private_key_file=private_key_file, redis_url=None)


@pytest.fixture
async def app(rest_settings: RestSettings) -> AsyncIterator[FastAPI]:
    """The service, started."""
    app = create_app(rest_settings)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
def store(app: FastAPI) -> Store:
    """What the service stands on."""
    store: Store = app.state.store
    return store


@pytest.fixture
async def anonymous(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Someone who is not signed in."""
    # A failure of the service is for it to answer, not for the test to see.
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://colophon") as client:
        yield client


@pytest.fixture(scope="session")
def signer(private_key_file: Path) -> TokenSigner:
    return TokenSigner(private_key_file.read_bytes())


@pytest.fixture
def sign_in(store: Store, signer: TokenSigner) -> SignIn:
    """Gives the access token of a new user who has just signed in."""

    async def sign_in() -> str:
        user = await store.users.add({"email": f"{uuid4().hex}@example.org", "hashed_password": "none fits"})
        session = await store.sessions.begin(user.id, 3_600)
        return signer.sign(user.id, session.session_id, 3_600)

    return sign_in


@pytest.fixture
async def token(sign_in: SignIn) -> str:
    """The access token of a user who has just signed in."""
    return await sign_in()


@pytest.fixture
def client(anonymous: httpx.AsyncClient, token: str) -> httpx.AsyncClient:
    """Someone who is signed in."""
    anonymous.headers["Authorization"] = f"Bearer {token}"
    return anonymous
