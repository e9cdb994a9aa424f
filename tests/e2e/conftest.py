"""The whole system as separate processes, on servers of its own."""

import csv
import gzip
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import httpx
import pytest
from rest_api.users.keys import make_key_pair
from support.people import Person
from support.postgresql import PostgreSQLServer
from support.rabbitmq import RabbitMQServer
from support.redis import RedisServer
from support.roles import with_roles
from support.services import GrpcApi, OutboxRelay, RestApi
from support.waiting import PATIENCE
from support.workspace import Workspace

ROOT: Final = Path(__file__).parents[2]


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


class GrpcApiOfGoodMemory(GrpcApi):
    """Forgets a caller, and looks at the log, because it is told to: by itself it would do so in an hour."""

    command = (
        sys.executable,
        "-c",
        """
from book_db.accounts import authentication
from grpc_api.cli import main
from grpc_api.watching import tail
authentication._REMEMBERED_SECONDS = tail._POLL_SECONDS = 3_600.0
main()
""",
        "serve",
    )


@contextmanager
def running_system(workspace: Workspace, environment: Mapping[str, str]) -> Iterator[System]:
    """The system, each service with a role of its own, to the end of the block."""
    urls = with_roles(environment["DATABASE_URL"])
    services = (
        RestApi(workspace, {**environment, "DATABASE_URL": urls["rest"]}),
        OutboxRelay(workspace, {**environment, "DATABASE_URL": urls["relay"]}),
        GrpcApiOfGoodMemory(workspace, {**environment, "DATABASE_URL": urls["grpc"]}),
    )
    with ExitStack() as stopping:
        for service in services:
            service.launch()
            stopping.callback(service.kill)
        for service in services:
            service.wait_until_it_answers()
        yield System(*services, environment["DATABASE_URL"])


@pytest.fixture(scope="module")
def stores(
    postgresql: PostgreSQLServer, migrated_template: str, redis: RedisServer, rabbitmq: RabbitMQServer
) -> Iterator[dict[str, str]]:
    """Where those of a module are, with nothing in them, as the environment says it."""
    redis.clear()
    database, vhost = postgresql.lend_database(migrated_template), rabbitmq.create_vhost()
    yield {
        "DATABASE_URL": postgresql.url_of(database),
        "REDIS_URL": redis.url,
        "AMQP_URL": rabbitmq.url_of(vhost),
    }
    rabbitmq.drop_vhost(vhost)
    postgresql.take_back(database)


@pytest.fixture(scope="module")
def system(workspace: Workspace, stores: dict[str, str], keys: dict[str, str]) -> Iterator[System]:
    """The system of a module, running."""
    with running_system(workspace, stores | keys) as system:
        yield system


@pytest.fixture
def rest(system: System) -> RestApi:
    """Where people call."""
    return system.rest


@pytest.fixture
async def person(rest: RestApi) -> AsyncIterator[Person]:
    """Someone who is signed in."""
    async with httpx.AsyncClient(base_url=rest.url, timeout=PATIENCE) as client:
        person = await Person.register(client)
        await person.sign_in()
        yield person


class Library(NamedTuple):
    """A data set."""

    file: Path
    loaded: int
    refused: int
    """Rows without a date."""


@pytest.fixture(params=[pytest.param(10, id="a-tenth"), pytest.param(1, id="all", marks=pytest.mark.slow)])
def british_library(request: pytest.FixtureRequest, tmp_path: Path) -> Library:
    """The data set that comes with the project, all 20,992 rows or every tenth."""
    with gzip.open(ROOT / "examples/british-library-19c-books.csv.gz", "rt", encoding="utf-8", newline="") as whole:
        header, *rows = csv.reader(whole)
    rows = rows[:: request.param]
    file = tmp_path / "books.csv.gz"
    with gzip.open(file, "wt", encoding="utf-8", newline="") as part:
        csv.writer(part).writerows([header, *rows])
    refused = sum(not row[header.index("date")] for row in rows)
    return Library(file, len(rows) - refused, refused)
