"""What the tests of grpc-api share: a store, somebody who may call, and a server with a stub to it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import grpc
import pytest
import trustme
from book_db.book import Book, Draft
from book_db.events.log import EVENTS_RECORDED
from book_db.roles import Role
from book_db.settings import StoreSettings
from book_db.store import Store, open_store
from book_runtime.broker.local import LocalBroker
from book_runtime.settings import load
from book_runtime.tokens import TokenVerifier
from books.v1.book_service_pb2_grpc import BookServiceStub
from grpc_api.application import serving
from msgspec.structs import replace
from support.tokens import SignedIn, Signer

if TYPE_CHECKING:
    from books.v1.book_service_pb2_grpc import BookServiceAsyncStub

_ACTOR = UUID("018f0e9a-0000-7000-8000-00000000000a")


@pytest.fixture(scope="session")
def signer() -> Signer:
    return Signer()


@pytest.fixture
def public_key_file(signer: Signer, tmp_path: Path) -> Path:
    path = tmp_path / "public.pem"
    path.write_bytes(signer.public_pem)
    return path


@pytest.fixture
def tls_files(tmp_path: Path) -> Callable[[str], Path]:
    """Where to find a `cert`, its `key`, the `ca` of clients, and the key of an `other` certificate."""
    authority = trustme.CA()
    certificate, other = authority.issue_cert("localhost"), authority.issue_cert("localhost")
    contents = {
        "cert": certificate.cert_chain_pems[0],
        "key": certificate.private_key_pem,
        "ca": authority.cert_pem,
        "other": other.private_key_pem,
    }
    for name, content in contents.items():
        content.write_to_path(str(tmp_path / name))
    return lambda name: tmp_path / name


@pytest.fixture
async def store(database_url: str, signer: Signer) -> AsyncIterator[Store]:
    """The store on a database with no books, without a cache."""
    settings = load(StoreSettings, database_url=database_url, redis_url=None)
    async with open_store(settings, TokenVerifier(signer.public_pem), name="tests", hears=[EVENTS_RECORDED]) as store:
        yield store


@pytest.fixture
def sign_in(store: Store, signer: Signer) -> Callable[..., Awaitable[SignedIn]]:
    """Makes a user of a role with a session: `await sign_in(Role.READER)`."""

    async def sign_in(role: Role = Role.EDITOR) -> SignedIn:
        values = {"email": f"{uuid4()}@example.org", "hashed_password": "unused", **role.columns}
        user = await store.users.add(values)
        session_id = (await store.sessions.begin(user.id, 600)).session_id
        return SignedIn(user.id, session_id, signer.sign(user.id, session_id))

    return sign_in


@pytest.fixture
async def caller(sign_in: Callable[..., Awaitable[SignedIn]]) -> SignedIn:
    return await sign_in()


@pytest.fixture
def add_books(store: Store) -> Callable[..., Awaitable[list[Book]]]:
    """Puts books that are alike into the catalogue: `await add_books(3, title="Emma")`."""

    async def add_books(count: int, **changed: Any) -> list[Book]:
        draft = replace(Draft("Middlemarch", "George Eliot", date(1871, 12, 1)), **changed)
        # So many of the longest go into one statement.
        parts = [[draft] * min(100, count - begin) for begin in range(0, count, 100)]
        return [book for part in parts for book in await store.catalogue.add_many(part, _ACTOR)]

    return add_books


@pytest.fixture
async def book(add_books: Callable[..., Awaitable[list[Book]]]) -> Book:
    [book] = await add_books(1)
    return book


@pytest.fixture
async def port(store: Store) -> AsyncIterator[int]:
    """Where a server answers that wants tokens."""
    async with serving(store, LocalBroker(), host="127.0.0.1", port=0) as port:
        yield port


@pytest.fixture
async def channel(port: int) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> "BookServiceAsyncStub":
    """A grpc.aio client of the server."""
    return BookServiceStub(channel)
