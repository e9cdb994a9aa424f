"""The command `grpc-api`, as an operator runs it."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import grpc
import httpx
import pytest
from books.v1.book_service_pb2 import GetBookRequest
from books.v1.book_service_pb2_grpc import BookServiceStub
from support.ports import free_port
from support.postgresql import PostgreSQLServer
from support.services import GrpcApi
from support.tokens import Signer
from support.waiting import PATIENCE, wait_until
from support.workspace import Workspace

GRPC_API = Path(sys.executable).with_name("grpc-api")

Environment = dict[str, str]
TlsFiles = Callable[[str], Path]


@pytest.fixture(scope="module")
def environment(
    postgresql: PostgreSQLServer, migrated_template: str, signer: Signer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Environment]:
    """What the service needs, for as many as read alone; the broker is away."""
    public_key = tmp_path_factory.mktemp("keys") / "public.pem"
    public_key.write_bytes(signer.public_pem)
    database = postgresql.lend_database(migrated_template)
    yield {
        "DATABASE_URL": postgresql.url_of(database),
        "AMQP_URL": f"amqp://nobody:nothing@127.0.0.1:{free_port()}/",
        "JWT_PUBLIC_KEY_FILE": str(public_key),
        "NOTICE_SECONDS": "0",
        "DRAIN_SECONDS": "3600",
    }
    postgresql.take_back(database)


@pytest.fixture
def start(workspace: Workspace, environment: Environment) -> Iterator[Callable[..., GrpcApi]]:
    """Starts the service: `start(GRPC_AUTH="off")`."""
    started: list[GrpcApi] = []

    def start(**more: str) -> GrpcApi:
        service = GrpcApi(workspace, environment | more)
        started.append(service)
        service.start()
        return service

    yield start
    for service in started:
        service.kill()


@pytest.fixture(scope="module")
def running(workspace: Workspace, environment: Environment) -> Iterator[GrpcApi]:
    """A service that listens on every address, as in a container, and goes on running."""
    more = {"GRPC_HOST": "0.0.0.0", "METRICS_PORT": str(free_port())}  # noqa: S104  # as in a container
    with GrpcApi(workspace, environment | more) as service:
        yield service


def run(*arguments: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [GRPC_API, *arguments],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def code_of_a_call_to(service: GrpcApi) -> grpc.StatusCode:
    """Of one without a token, for a book that there is not."""
    with grpc.insecure_channel(service.address) as channel, pytest.raises(grpc.RpcError) as error:
        BookServiceStub(channel).GetBook(GetBookRequest(id=1))
    return error.value.code()


def serves(service: GrpcApi) -> None:
    """Wait until the service has said so."""
    wait_until(lambda: "serving" in service.output, "the service serves")


class TestServe:
    @pytest.mark.parametrize("end", [GrpcApi.terminate, GrpcApi.interrupt])
    def test_it_ends_within_seconds_with_0_when_it_is_told_to(
        self, start: Callable[..., GrpcApi], end: Callable[[GrpcApi], int]
    ) -> None:
        service = start()
        assert end(service) == 0
        assert "stopped" in service.output
        assert "Traceback" not in service.output

    def test_it_answers_while_the_broker_is_away(self, start: Callable[..., GrpcApi]) -> None:
        assert code_of_a_call_to(start(GRPC_AUTH="off")) is grpc.StatusCode.NOT_FOUND

    def test_it_wants_tokens_unless_it_is_told_not_to(self, running: GrpcApi) -> None:
        assert code_of_a_call_to(running) is grpc.StatusCode.UNAUTHENTICATED

    def test_it_counts_calls_for_prometheus(self, running: GrpcApi) -> None:
        def counted() -> float:
            metrics = httpx.get(
                f"http://127.0.0.1:{running.environment['METRICS_PORT']}/metrics", timeout=PATIENCE
            ).text
            labels = r'\{code="UNAUTHENTICATED",method="/books\.v1\.BookService/GetBook"\}'
            found = re.search(rf"^colophon_grpc_call_seconds_count{labels} (.*)$", metrics, re.MULTILINE)
            return float(found[1]) if found else 0

        before = counted()
        code_of_a_call_to(running)
        assert counted() == before + 1

    @pytest.mark.parametrize("variable", ["GRPC_PORT", "GRPC_HEALTH_PORT", "METRICS_PORT"])
    def test_a_port_that_is_taken_is_a_clear_message(
        self, running: GrpcApi, environment: Environment, variable: str
    ) -> None:
        taken = str(running.port)
        ended = run("serve", environment={"GRPC_PORT": str(free_port())} | environment | {variable: taken})
        assert ended.returncode == 2
        assert f"port {taken}: it is taken" in ended.stderr
        assert "Traceback" not in ended.stderr


class TestSettings:
    def test_all_that_is_missing_is_named_at_once(self) -> None:
        ended = run("serve", environment={})
        assert ended.returncode == 2
        for variable in ("DATABASE_URL", "AMQP_URL", "JWT_PUBLIC_KEY_FILE"):
            assert f"{variable}: is not set" in ended.stderr
        assert "Traceback" not in ended.stderr

    def test_all_that_is_wrong_is_named_at_once_and_no_secret_is_shown(self, tmp_path: Path) -> None:
        key = tmp_path / "key.pem"
        key.write_text("hunter2")
        environment = {
            "DATABASE_URL": "mysql://root:hunter2@localhost/books",
            "AMQP_URL": "http://guest:hunter2@localhost/",
            "JWT_PUBLIC_KEY_FILE": str(key),
            "GRPC_AUTH": "maybe",
            "GRPC_PORT": "70000",
            "DRAIN_SECONDS": "-1",
            "METRICS_PORT": "x",
            "LOG_FORMAT": "xml",
        }
        ended = run("serve", environment=environment)
        assert ended.returncode == 2
        assert all(f"{variable}: " in ended.stderr for variable in environment)
        assert "not an Ed25519 public key" in ended.stderr
        assert "hunter2" not in ended.stderr


class TestHealthcheck:
    def test_it_is_0_when_the_service_serves(self, running: GrpcApi) -> None:
        environment = {"GRPC_HOST": "0.0.0.0", "GRPC_PORT": str(running.port)}  # noqa: S104  # as in a container
        serves(running)
        ended = run("healthcheck", environment=environment)
        assert (ended.returncode, ended.stderr) == (0, "")

    def test_it_is_1_when_there_is_none(self) -> None:
        port = free_port()
        ended = run("healthcheck", environment={"GRPC_PORT": str(port)})
        assert ended.returncode == 1
        assert f"no answer from 127.0.0.1:{port}" in ended.stderr

    def test_it_is_1_when_the_database_is_away(self, start: Callable[..., GrpcApi]) -> None:
        service = start(DATABASE_URL=f"postgresql://postgres@127.0.0.1:{free_port()}/postgres")
        ended = run("healthcheck", environment={"GRPC_PORT": str(service.port)})
        assert (ended.returncode, ended.stderr) == (1, "grpc-api: NOT_SERVING\n")

    def test_it_asks_without_tls_where_others_must_speak_it_and_show_a_certificate(
        self, start: Callable[..., GrpcApi], tls_files: TlsFiles
    ) -> None:
        environment = {
            "GRPC_TLS_CERT_FILE": str(tls_files("cert")),
            "GRPC_TLS_KEY_FILE": str(tls_files("key")),
            "GRPC_TLS_CLIENT_CA_FILE": str(tls_files("ca")),
            "GRPC_HEALTH_PORT": str(free_port()),
        }
        service = start(**environment)
        serves(service)
        ended = run("healthcheck", environment=environment)
        assert (ended.returncode, ended.stderr) == (0, "")

    def test_it_is_1_when_there_is_nowhere_to_ask_without_tls(self, tls_files: TlsFiles) -> None:
        ended = run("healthcheck", environment={"GRPC_TLS_CERT_FILE": str(tls_files("cert"))})
        assert (ended.returncode, ended.stderr) == (
            1,
            "grpc-api: GRPC_HEALTH_PORT is not set, and this probe speaks no TLS\n",
        )
