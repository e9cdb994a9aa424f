"""The whole system as separate processes, on servers of its own."""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from rest_api.users.keys import make_key_pair
from support.people import Person
from support.services import GrpcApi, OutboxRelay, RestApi
from support.workspace import Workspace


@dataclass(frozen=True)
class System:
    """The three processes of one catalogue."""

    rest: RestApi
    relay: OutboxRelay
    grpc: GrpcApi
    database_url: str


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Where the key pair of the tokens is, as the environment says it."""
    folder = tmp_path_factory.mktemp("keys")
    make_key_pair(folder / "private.pem", folder / "public.pem")
    return {
        "JWT_PRIVATE_KEY_FILE": str(folder / "private.pem"),
        "JWT_PUBLIC_KEY_FILE": str(folder / "public.pem"),
    }


@pytest.fixture
def system(
    workspace: Workspace, database_url: str, redis_url: str, broker_url: str, keys: dict[str, str]
) -> Iterator[System]:
    """The system, running."""
    environment = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "AMQP_URL": broker_url, **keys}
    services = RestApi(workspace, environment), OutboxRelay(workspace, environment), GrpcApi(workspace, environment)
    with ExitStack() as stopping:
        for service in services:
            service.launch()
            stopping.callback(service.kill)
        for service in services:
            service.wait_until_it_answers()
        yield System(*services, database_url)


@pytest.fixture
def broker_url(amqp_url: str) -> str:
    """The broker of the system; a test class that stops it names one of its own here."""
    return amqp_url


@pytest.fixture
async def person(system: System) -> AsyncIterator[Person]:
    """Someone who is signed in to the system."""
    async with httpx.AsyncClient(base_url=system.rest.url, timeout=30) as client:
        person = await Person.register(client)
        await person.sign_in()
        yield person


@pytest.fixture(scope="session")
def british_library() -> Path:
    """The data set that comes with the project: 20,992 rows, 124 of them without a date."""
    return Path(__file__).parents[2] / "examples" / "british-library-19c-books.csv.gz"
