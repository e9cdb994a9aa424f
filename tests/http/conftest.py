"""The service as its own process on a real PostgreSQL, and somebody who speaks HTTP to it by hand."""

from collections.abc import AsyncIterator, Callable, Iterator
from uuid import uuid4

import httpx
import pytest
from rest_api.users.keys import make_key_pair
from support.people import PASSWORD
from support.postgresql import PostgreSQLServer
from support.services import RestApi, RestApiThatHashesQuickly
from support.waiting import PATIENCE
from support.wire import Wire
from support.workspace import Workspace

BOOKS = "/api/v1/books"
A_BOOK = b'{"title": "Middlemarch", "author": "George Eliot", "publication_date": "1871-12-01"}'
JSON = "Content-Type: application/json"
NDJSON = "Content-Type: application/x-ndjson"


@pytest.fixture(scope="session")
def service(
    workspace: Workspace,
    postgresql: PostgreSQLServer,
    migrated_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RestApi]:
    """The service of all tests here."""
    folder = tmp_path_factory.mktemp("keys")
    make_key_pair(folder / "private.pem", folder / "public.pem")
    database = postgresql.lend_database(migrated_template)
    environment = {
        "DATABASE_URL": postgresql.url_of(database),
        "JWT_PRIVATE_KEY_FILE": str(folder / "private.pem"),
        "RATE_LIMITS": "off",
    }
    with RestApiThatHashesQuickly(workspace, environment) as service:
        yield service
    postgresql.take_back(database)


@pytest.fixture
async def wire(service: RestApi) -> AsyncIterator[Wire]:
    wire = await Wire.to(service.port)
    yield wire
    await wire.close()


@pytest.fixture(scope="session")
def client(service: RestApi) -> Iterator[httpx.Client]:
    """Somebody who is signed in, for what a test is not about."""
    with httpx.Client(base_url=service.url, timeout=PATIENCE) as client:
        email = f"{uuid4().hex}@example.org"
        client.post("/api/v1/auth/register", json={"email": email, "password": PASSWORD}).raise_for_status()
        answer = client.post("/api/v1/auth/login", data={"username": email, "password": PASSWORD}).raise_for_status()
        client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        yield client


@pytest.fixture
def signed_in(client: httpx.Client) -> str:
    """The field that shows it."""
    return f"Authorization: {client.headers['authorization']}"


@pytest.fixture
def a_book(client: httpx.Client) -> str:
    """Where a new book is, at version 1."""
    made = client.post(BOOKS, content=A_BOOK, headers={"Content-Type": "application/json"}).raise_for_status()
    return made.headers["location"]


BooksNow = Callable[[], int]


@pytest.fixture
def books_now(client: httpx.Client) -> BooksNow:
    """How many books there are."""

    def books_now() -> int:
        total: int = client.get(BOOKS, params={"count": "exact", "page_size": 1}).raise_for_status().json()["total"]
        return total

    return books_now
