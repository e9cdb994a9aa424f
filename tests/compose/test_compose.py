"""`docker compose up` gives the whole system: `make test-compose`."""

import asyncio
import json
import re
import subprocess
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import book_contracts
import grpc
import grpclib
import httpx
import pytest
from books.v1.book_service_pb2 import ListBooksRequest
from books.v1.book_service_pb2_grpc import BookServiceStub
from grpclib.client import Channel
from support.compose import Running, System
from support.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.compose

OURS = ("rest-api", "outbox-relay", "grpc-api")
INNER = ("postgres", "rabbitmq", "redis", "setup", "outbox-relay")

_EVENT = re.compile(r"  book\.(?P<kind>\w+)  book (?P<id>\d+) v(?P<version>\d+)  ")
_A_PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/=]{40}")
_TO_BUILD_WITH = re.compile(r"bin/(gcc|g\+\+|cc|c\+\+|clang|ld|make|cargo|poetry)(-[\d.]+)?$")


@pytest.fixture
def client(running: Running) -> Iterator[httpx.Client]:
    """Someone who has registered over REST, and is signed in."""
    account = {"email": f"{uuid4().hex}@example.org", "password": "correct horse battery"}
    with httpx.Client(base_url=f"{running.url}/api/v1", timeout=PATIENCE) as client:
        assert client.post("/auth/register", json=account).status_code == 201
        form = {"username": account["email"], "password": account["password"]}
        answer = client.post("/auth/login", data=form)
        assert answer.status_code == 200, answer.text
        client.headers["authorization"] = f"Bearer {answer.json()['access_token']}"
        yield client


@pytest.fixture
def book(client: httpx.Client) -> dict[str, Any]:
    return add_book(client)


def add_book(client: httpx.Client) -> dict[str, Any]:
    answer = client.post(
        "/books", json={"title": "Middlemarch", "author": "George Eliot", "publication_date": "1871-12-01"}
    )
    assert answer.status_code == 201, answer.text
    book: dict[str, Any] = answer.json()
    return book


def read(running: Running, client: httpx.Client, book_id: int) -> book_contracts.Book:
    """The book over gRPC, with the token that REST gave."""
    return asyncio.run(_read(running.grpc_port, book_id, {"authorization": client.headers["authorization"]}))


async def _read(port: int, book_id: int, metadata: dict[str, str]) -> book_contracts.Book:
    async with Channel("127.0.0.1", port) as channel:
        stub = book_contracts.BookServiceStub(channel, metadata=metadata)
        answer = await stub.get_book(book_contracts.GetBookRequest(id=book_id), timeout=PATIENCE)
    assert answer.book is not None
    return answer.book


def events_of(system: System, book_id: int) -> list[tuple[str, int]]:
    """Kind and version of the events of a book, as grpc-api has printed them."""
    events = _EVENT.finditer(system.log("grpc-api"))
    return [(event["kind"], int(event["version"])) for event in events if int(event["id"]) == book_id]


class TestABook:
    def test_its_life_over_rest_is_seen_over_grpc_and_in_the_log(self, running: Running, client: httpx.Client) -> None:
        system = running.system
        book = add_book(client)
        seen = read(running, client, book["id"])
        assert (seen.title, seen.author, seen.version) == ("Middlemarch", "George Eliot", 1)

        system.compose("stop", "--timeout=10", "rabbitmq")
        answer = client.patch(f"/books/{book['id']}", json={"title": "Silas Marner"})
        assert answer.status_code == 200, answer.text
        assert read(running, client, book["id"]).title == "Silas Marner"
        system.compose("start", "rabbitmq")

        assert client.delete(f"/books/{book['id']}").status_code == 204
        with pytest.raises(grpclib.GRPCError) as error:
            read(running, client, book["id"])
        assert error.value.status is grpclib.Status.NOT_FOUND

        life = [("created", 1), ("updated", 2), ("deleted", 3)]
        wait_until(lambda: len(events_of(system, book["id"])) >= len(life), "three events in the log")
        assert events_of(system, book["id"]) == life
        assert running.query(f"SELECT count(*) FROM event_log WHERE book_id = {book['id']}") == "3"  # noqa: S608
        assert running.query("SELECT count(*) FROM outbox") == "0"
        system.wait_until_healthy()

    def test_nobody_reads_it_without_a_token(self, running: Running, book: dict[str, Any]) -> None:
        assert httpx.get(f"{running.url}/api/v1/books/{book['id']}").status_code == 401
        with pytest.raises(grpclib.GRPCError) as error:
            asyncio.run(_read(running.grpc_port, book["id"], {}))
        assert error.value.status is grpclib.Status.UNAUTHENTICATED

    def test_it_is_cached(self, running: Running, client: httpx.Client, book: dict[str, Any]) -> None:
        assert client.get(f"/books/{book['id']}").json() == book
        assert running.system.execute("redis", "redis-cli", "dbsize").strip() != "0"
        assert httpx.get(f"{running.url}/healthz/ready").json() == {"status": "ready", "cache": True}


class TestNetwork:
    @pytest.mark.parametrize("service", INNER)
    def test_inner_services_are_not_published(self, running: Running, service: str) -> None:
        assert not any(running.system.inspect(service)["NetworkSettings"]["Ports"].values())

    def test_rest_and_grpc_are_published_on_this_machine_alone(self, running: Running) -> None:
        published = {
            service: {
                port: [(one["HostIp"], one["HostPort"]) for one in bindings]
                for port, bindings in running.system.inspect(service)["NetworkSettings"]["Ports"].items()
                if bindings
            }
            for service in ("rest-api", "grpc-api")
        }
        assert published == {
            "rest-api": {"8000/tcp": [("127.0.0.1", str(running.rest_port))]},
            "grpc-api": {"50051/tcp": [("127.0.0.1", str(running.grpc_port))]},
        }


class TestSecrets:
    def test_the_private_key_is_only_where_tokens_are_signed(self, running: Running) -> None:
        mounted = {
            (service, mount["Name"].rpartition("_")[2], mount["RW"])
            for service in running.system.services
            for mount in running.system.inspect(service)["Mounts"]
            if "key" in mount.get("Name", "")
        }
        assert mounted == {
            ("setup", "private-key", True),
            ("setup", "public-key", True),
            ("rest-api", "private-key", False),
            ("grpc-api", "public-key", False),
        }

    def test_only_its_owner_reads_the_private_key(self, running: Running) -> None:
        seen = running.system.execute("rest-api", "stat", "--format=%a %u", "/run/keys/private/jwt.pem")
        assert seen.split() == ["600", "10001"]

    def test_no_password_is_logged(self, running: Running) -> None:
        for service in running.system.services:
            log = running.system.log(service)
            assert not [name for name, password in running.passwords.items() if password in log], service

    def test_the_passwords_are_those_of_the_env_file(self, running: Running) -> None:
        variables = running.system.inspect("postgres")["Config"]["Env"]
        assert f"POSTGRES_PASSWORD={running.passwords['POSTGRES_PASSWORD']}" in variables
        refused = running.system.execute("redis", "env", "REDISCLI_AUTH=colophon", "redis-cli", "ping")
        assert "PONG" not in refused


OTHERS = ("postgres", "rabbitmq", "redis")

# The process that was started first of those which are not a shell or what waits for others in a container.
_STATUS_OF_SERVER = """
for status in /proc/[0-9]*/status; do
  case $(sed -n 's/^Name:\\t//p' "$status") in postgres | beam.smp | redis-server) cat "$status"; exit ;; esac
done
exit 1
"""


class TestRolesOfPostgreSQL:
    @pytest.mark.parametrize(
        ("service", "role"),
        [("rest-api", "colophon_rest"), ("outbox-relay", "colophon_relay"), ("grpc-api", "colophon_grpc")],
    )
    def test_each_service_comes_as_one_that_is_no_superuser(self, running: Running, service: str, role: str) -> None:
        asked = "SELECT rolsuper OR rolcreaterole OR rolcreatedb FROM pg_roles WHERE rolname = current_user"
        code = (
            "import os, psycopg; c = psycopg.connect(os.environ['DATABASE_URL']);"
            f"print(c.execute('SELECT current_user').fetchone()[0], c.execute(\"{asked}\").fetchone()[0])"
        )
        assert running.system.execute(service, "/opt/venv/bin/python", "-c", code).split() == [role, "False"]

    def test_no_service_knows_the_password_of_the_superuser(self, running: Running) -> None:
        for service in (*OURS, "setup"):
            variables = str(running.system.inspect(service)["Config"]["Env"])
            assert running.passwords["POSTGRES_PASSWORD"] not in variables

    @pytest.mark.parametrize("service", ["outbox-relay", "grpc-api"])
    def test_others_than_rest_read_no_password_of_users(self, running: Running, service: str) -> None:
        code = (
            "import os, psycopg; c = psycopg.connect(os.environ['DATABASE_URL'])\n"
            "try: c.execute('SELECT hashed_password FROM users')\n"
            "except psycopg.errors.InsufficientPrivilege: print('refused')"
        )
        assert running.system.execute(service, "/opt/venv/bin/python", "-c", code).strip() == "refused"


class TestImages:
    @pytest.mark.parametrize("service", OURS)
    def test_processes_have_no_rights(self, running: Running, service: str) -> None:
        status = running.system.execute(service, "cat", "/proc/1/status")
        facts = dict(line.split(":\t", 1) for line in status.splitlines())
        assert set(facts["Uid"].split()) == set(facts["Gid"].split()) == {"10001"}
        assert int(facts["CapEff"], 16) == int(facts["CapBnd"], 16) == 0
        assert facts["NoNewPrivs"] == "1"

    @pytest.mark.parametrize("service", OURS)
    def test_a_container_cannot_be_changed(self, running: Running, service: str) -> None:
        assert running.system.inspect(service)["HostConfig"]["ReadonlyRootfs"]

    @pytest.mark.parametrize("service", OTHERS)
    def test_servers_of_others_have_no_rights_once_they_run(self, running: Running, service: str) -> None:
        status = running.system.execute(service, "sh", "-c", _STATUS_OF_SERVER)
        facts = dict(line.split(":\t", 1) for line in status.splitlines())
        assert "0" not in facts["Uid"].split()
        assert int(facts["CapEff"], 16) == 0
        assert facts["NoNewPrivs"] == "1"

    @pytest.mark.parametrize("service", ["postgres", "redis"])
    def test_a_container_of_others_cannot_be_changed(self, running: Running, service: str) -> None:
        assert running.system.inspect(service)["HostConfig"]["ReadonlyRootfs"]

    @pytest.mark.parametrize("service", [*OURS, *OTHERS])
    def test_what_is_in_memory_has_an_end(self, running: Running, service: str) -> None:
        mounts = running.system.inspect(service)["HostConfig"]["Tmpfs"]
        assert mounts
        assert all("size=" in options for options in mounts.values()), mounts

    def test_reports_of_imports_are_on_disk(self, running: Running) -> None:
        code = "import tempfile; print(tempfile.gettempdir()); tempfile.TemporaryFile().write(b'1')"
        folder = running.system.execute("rest-api", "/opt/venv/bin/python", "-c", code).strip()
        [mount] = [each for each in running.system.inspect("rest-api")["Mounts"] if each["Destination"] == folder]
        assert mount["Type"] == "volume"

    def test_no_password_is_on_a_command_line(self, running: Running) -> None:
        for service in running.system.services:
            facts = running.system.inspect(service)
            said = str([facts["Path"], facts["Args"], facts["Config"]["Cmd"], facts["Config"].get("Healthcheck")])
            assert not [name for name, password in running.passwords.items() if password in said], service

    @pytest.mark.parametrize("service", ["rest-api", "grpc-api"])
    def test_there_is_no_key_and_nothing_to_build_with(self, running: Running, service: str) -> None:
        tools, keys = [], []
        for name, content in _files_of(running.system.container(service)):
            tools += [name] if _TO_BUILD_WITH.search(name) else []
            keys += [name] if _A_PRIVATE_KEY.search(content) else []
        assert (tools, keys) == ([], [])

    def test_operators_look_at_dead_letters_in_them(self, running: Running) -> None:
        assert running.system.execute("grpc-api", "grpc-api", "dead-letters", "list") == ""

    @pytest.mark.parametrize("service", ["rest-api", "grpc-api"])
    def test_the_environment_has_the_members_and_no_pip(self, running: Running, service: str) -> None:
        code = "import json, importlib.metadata as m; print(json.dumps([d.name for d in m.distributions()]))"
        installed = set(json.loads(running.system.execute(service, "/opt/venv/bin/python", "-c", code)))
        members = {"rest-api", "grpc-api", "colophon", "book-contracts", "book-db", "book-runtime"}
        assert installed & members == {service, "book-contracts", "book-db", "book-runtime"}
        assert not installed & {"pip", "poetry", "setuptools", "pytest"}


def _files_of(container: str) -> Iterator[tuple[str, bytes]]:
    """Name and content of every file that is no larger than a key could be; of larger ones the name."""
    with subprocess.Popen(["docker", "export", container], stdout=subprocess.PIPE) as export:
        assert export.stdout
        with tarfile.open(fileobj=export.stdout, mode="r|") as tar:
            for member in tar:
                small = member.isfile() and member.size < 100_000
                content = tar.extractfile(member) if small else None
                yield f"/{member.name}", content.read() if content else b""


class TestStopping:
    def test_what_is_in_flight_is_finished(self, running: Running, client: httpx.Client, book: dict[str, Any]) -> None:
        system = running.system
        token = (("authorization", client.headers["authorization"]),)
        with (
            _started_again(system),
            ThreadPoolExecutor() as pool,
            grpc.insecure_channel(f"127.0.0.1:{running.grpc_port}") as channel,
        ):
            with _no_way_to_the_books(running):
                writing = pool.submit(add_book, client)
                reading = BookServiceStub(channel).ListBooks.future(
                    ListBooksRequest(), metadata=token, timeout=PATIENCE
                )
                wait_until(lambda: _kept_waiting(running) == 2, "both wait for the lock")
                stopping = pool.submit(system.docker, "stop", f"--time={PATIENCE:.0f}", *map(system.container, OURS))
                wait_until(lambda: _is_told_to_stop(system, "rest-api"), "rest-api stops")
                wait_until(lambda: _is_told_to_stop(system, "grpc-api"), "grpc-api stops")
                assert [one.done() for one in (writing, reading, stopping)] == [False] * 3
            assert writing.result(timeout=PATIENCE)["version"] == 1
            assert book["id"] in [listed.id for listed in reading.result(timeout=PATIENCE).books]
            stopping.result(timeout=PATIENCE)
            assert {service: system.state(service) for service in OURS} == dict.fromkeys(OURS, "exited 0")


@contextmanager
def _started_again(system: System) -> Iterator[None]:
    try:
        yield
    finally:
        system.compose("start", *OURS)
        system.wait_until_healthy()


@contextmanager
def _no_way_to_the_books(running: Running) -> Iterator[None]:
    """Whoever reads or writes books waits to the end of the block."""
    command = ["docker", "exec", "--interactive", running.system.container("postgres"), *running.psql]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as session:
        assert session.stdin
        assert session.stdout
        print("BEGIN; LOCK TABLE books IN ACCESS EXCLUSIVE MODE; SELECT 'locked';", file=session.stdin, flush=True)
        assert session.stdout.readline() == "locked\n"
        yield


def _kept_waiting(running: Running) -> int:
    return int(running.query("SELECT count(*) FROM pg_locks WHERE NOT granted"))


def _is_told_to_stop(system: System, service: str) -> bool:
    return "stopping" in system.log(service)
