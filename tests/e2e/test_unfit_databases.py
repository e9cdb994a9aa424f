"""Databases that a process cannot work with: said in one sentence at its start, with exit code 2."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx
import psycopg
import pytest
from book_db import migrations
from support.people import Person
from support.pgbouncer import PgBouncer
from support.postgresql import PostgreSQLServer
from support.preloaded import PreloadedCommands
from support.roles import ROLES, with_roles
from support.services import Colophon, GrpcApi, OutboxRelay, RestApi, RestApiThatHashesQuickly, Service
from support.waiting import PATIENCE
from support.workspace import Workspace

NOBODY = "amqp://guest:guest@127.0.0.1:1/"
"""A broker that is not needed to find out about the database."""

A_BOOK = {"title": "Middlemarch", "author": "George Eliot", "publication_date": "1871-12-01"}

SaidByService = Callable[[Service], str]
SaidByCommand = Callable[[tuple[str, ...], Mapping[str, str]], str]

SERVICES = [RestApi, OutboxRelay, GrpcApi, Colophon]

COMMANDS = [
    ("rest-api", "setup"),
    ("book-db", "upgrade", "--wait", "0"),
    ("book-db", "check"),
    ("book-db", "downgrade", "base"),
    ("rest-api", "access", "ann@example.org"),
    ("rest-api", "create-superuser", "ann@example.org", "--promote"),
    ("rest-api", "parked", "list"),
    ("colophon", "access", "ann@example.org"),
]


def a_role(url: str, name: str) -> str:
    """The address for a role that may connect, and nothing else."""
    with psycopg.connect(url, autocommit=True) as connection:
        if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [name]).fetchone() is None:
            connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'secret'".encode())
    return with_login(url, f"{name}:secret")


def with_login(url: str, login: str) -> str:
    return f"postgresql://{login}@{url.rpartition('@')[2]}"


def alter(url: str, change: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {connection.info.dbname} {change}".encode())


@pytest.fixture
def own_url(postgresql: PostgreSQLServer, migrated_template: str) -> Iterator[str]:
    """A database with the schema in it, which is dropped with its settings."""
    name = postgresql.create_database(template=migrated_template)
    yield postgresql.url_of(name)
    postgresql.drop_database(name)


def without_a_schema(own_url: str) -> str:
    """The database, with a search_path that leads nowhere."""
    alter(own_url, "SET search_path = nowhere")
    return own_url


def of_bytes(server: PostgreSQLServer) -> str:
    """A database without an encoding."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS of_bytes")
        connection.execute(
            "CREATE DATABASE of_bytes ENCODING 'SQL_ASCII' TEMPLATE template0 LOCALE_PROVIDER libc LOCALE 'C'"
        )
    return server.url_of("of_bytes")


def environment_of(url: str, keys: Mapping[str, str]) -> dict[str, str]:
    return {"DATABASE_URL": url, "AMQP_URL": NOBODY, **keys}


@pytest.fixture
def is_refused_by(commands: PreloadedCommands) -> SaidByService:
    """What a service says that does not start."""

    def is_refused_by(service: Service) -> str:
        done = commands.run(
            *service.command, *service._options(), environment=service.environment, folder=service.folder
        )
        assert done.returncode == 2, done.stderr
        return done.stdout + done.stderr

    return is_refused_by


@pytest.fixture
def what_is_said_by(commands: PreloadedCommands, tmp_path: Path) -> SaidByCommand:
    """What a command says that is refused."""

    def what_is_said_by(command: tuple[str, ...], environment: Mapping[str, str]) -> str:
        done = commands.run(*command, environment=environment, folder=tmp_path)
        assert done.returncode == 2, done.stderr
        return done.stderr

    return what_is_said_by


def is_one_sentence(said: str, part: str) -> None:
    assert "Traceback" not in said
    [sentence] = [line for line in said.splitlines() if part in line]
    assert sentence.partition(": ")[0] in {"rest-api", "grpc-api", "colophon", "book-db"}
    assert "sesame" not in said


class TestADatabaseThatCannotBeUsed:
    @pytest.mark.parametrize("service", SERVICES)
    def test_is_refused_by_every_service(
        self,
        workspace: Workspace,
        own_url: str,
        keys: dict[str, str],
        service: Callable[..., Service],
        is_refused_by: SaidByService,
    ) -> None:
        said = is_refused_by(service(workspace, environment_of(without_a_schema(own_url), keys)))
        is_one_sentence(said, "the search_path names no schema that is there")

    @pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
    def test_is_refused_by_every_command(
        self, own_url: str, keys: dict[str, str], command: tuple[str, ...], what_is_said_by: SaidByCommand
    ) -> None:
        said = what_is_said_by(command, environment_of(with_login(own_url, "postgres:sesame"), keys))
        is_one_sentence(said, "password authentication failed")

    @pytest.mark.parametrize(
        ("address", "part"),
        [
            pytest.param(lambda server: server.url_of("nowhere"), 'database "nowhere" does not exist', id="not-there"),
            pytest.param(of_bytes, "its encoding is SQL_ASCII and must be UTF8", id="no-encoding"),
        ],
    )
    def test_is_refused_whatever_the_reason(
        self,
        workspace: Workspace,
        postgresql: PostgreSQLServer,
        keys: dict[str, str],
        address: Callable[[PostgreSQLServer], str],
        part: str,
        is_refused_by: SaidByService,
    ) -> None:
        is_one_sentence(is_refused_by(RestApi(workspace, environment_of(address(postgresql), keys))), part)


class TestAPoolerOfTransactions:
    @pytest.mark.parametrize("service", SERVICES)
    def test_is_refused_by_every_service(
        self,
        workspace: Workspace,
        pgbouncer: Callable[..., PgBouncer],
        database_url: str,
        keys: dict[str, str],
        service: Callable[..., Service],
        is_refused_by: SaidByService,
    ) -> None:
        url = pgbouncer(pool_mode="transaction").url_of(database_url.rpartition("/")[2])
        is_one_sentence(is_refused_by(service(workspace, environment_of(url, keys))), "pool_mode = transaction")

    def test_that_refuses_what_the_address_asks_for_is_named(
        self,
        workspace: Workspace,
        pgbouncer: Callable[..., PgBouncer],
        database_url: str,
        keys: dict[str, str],
        is_refused_by: SaidByService,
    ) -> None:
        url = pgbouncer(pool_mode="session").url_of(database_url.rpartition("/")[2])
        service = RestApi(workspace, environment_of(f"{url}?options=-csearch_path%3Dpublic", keys))
        is_one_sentence(is_refused_by(service), "unsupported startup parameter: options")


class TestARoleWithoutRights:
    @pytest.mark.parametrize("service", SERVICES)
    def test_on_tables_is_refused_by_every_service(
        self,
        workspace: Workspace,
        database_url: str,
        keys: dict[str, str],
        service: Callable[..., Service],
        is_refused_by: SaidByService,
    ) -> None:
        url = a_role(database_url, "visitor")
        part = "permission denied for" if service is Colophon else "the role visitor lacks"
        is_one_sentence(is_refused_by(service(workspace, environment_of(url, keys))), part)

    @pytest.mark.parametrize(
        "command", [("rest-api", "setup"), ("book-db", "upgrade"), ("colophon", "run")], ids=" ".join
    )
    def test_to_make_tables_is_refused_by_what_makes_them(
        self, empty_database_url: str, keys: dict[str, str], command: tuple[str, ...], what_is_said_by: SaidByCommand
    ) -> None:
        environment = {
            **environment_of(a_role(empty_database_url, "visitor"), keys),
            "REST_PORT": "0",
            "GRPC_PORT": "0",
        }
        said = what_is_said_by(command, environment)
        is_one_sentence(said, "permission denied for schema public")

    async def test_that_are_taken_away_later_is_a_503_and_a_line_in_the_log(
        self, workspace: Workspace, database_url: str, keys: dict[str, str]
    ) -> None:
        environment = environment_of(with_roles(database_url)["rest"], keys)
        with (
            RestApiThatHashesQuickly(workspace, environment) as rest,
            psycopg.connect(database_url, autocommit=True) as owner,
        ):
            async with httpx.AsyncClient(base_url=rest.url, timeout=PATIENCE) as client:
                person = await Person.register(client)
                await person.sign_in()
                owner.execute(f"REVOKE INSERT ON books FROM {ROLES['rest']}".encode())
                refused = await person.call("POST", "/books", json=A_BOOK)
                assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
                assert "permission" not in refused.text
                owner.execute(f"GRANT INSERT ON books TO {ROLES['rest']}".encode())
                assert (await person.call("POST", "/books", json=A_BOOK)).status_code == 201
            assert "permission denied for table books" in rest.output
            assert "Traceback" not in rest.output


class TestAServerThatIsFull:
    def test_is_said_when_the_wait_is_over(self, workspace: Workspace, what_is_said_by: SaidByCommand) -> None:
        with PostgreSQLServer(workspace) as server:
            migrations.upgrade(server.url)
            url = a_role(server.url, "visitor")
            with psycopg.connect(server.url, autocommit=True) as connection:
                connection.execute("ALTER ROLE visitor CONNECTION LIMIT 0")
            said = what_is_said_by(("book-db", "upgrade", "--wait", "0"), {"DATABASE_URL": url})
            is_one_sentence(said, "too many connections for role")
