"""Colophon's own processes, as an operator starts them: each can be stopped, killed and started again on its port."""

import http.client
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import grpc
from rest_api.probe import HEARTBEAT

from support.ports import free_port
from support.server import Server
from support.waiting import PATIENCE
from support.workspace import Workspace

_PROGRAMS = Path(sys.executable).parent


class Service(Server):
    """One process of Colophon, with nothing in its environment but what it is given."""

    command: ClassVar[tuple[str, ...]]

    def __init__(self, workspace: Workspace, environment: Mapping[str, str]) -> None:
        super().__init__(workspace)
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), **environment}
        self.started_by: Sequence[str] = ()
        """A command that runs the one which follows it, as nohup does."""

    def wait_for_the_end(self) -> int:
        """The exit code of a process that is ending by itself."""
        assert self._process
        code = self._process.wait(PATIENCE)
        self.workspace.forget(self._process)
        self._process = None
        return code

    def terminate(self) -> int:
        """Tell it to stop and return its exit code."""
        assert self._process
        self._process.send_signal(signal.SIGTERM)
        return self.wait_for_the_end()

    def interrupt(self) -> int:
        """What Ctrl-C does."""
        assert self._process
        self._process.send_signal(signal.SIGINT)
        return self.wait_for_the_end()

    @property
    def output(self) -> str:
        """What it has printed and logged since its first start."""
        return self.log.read_text()

    def _spawn(self) -> subprocess.Popen[bytes]:
        program, *arguments = self.command
        return self.workspace.spawn(
            [*self.started_by, _PROGRAMS / program, *arguments, *self._options()],
            log=self.log,
            cwd=self.folder,
            env=self.environment,
        )

    def _options(self) -> Iterator[str]:
        yield from ()


class RestApi(Service):
    name = "rest-api"
    command: ClassVar[tuple[str, ...]] = ("rest-api", "serve")

    def __init__(self, workspace: Workspace, environment: Mapping[str, str]) -> None:
        super().__init__(workspace, environment)
        self.environment["REST_PORT"] = str(self.port)
        self.url = f"http://127.0.0.1:{self.port}"

    def _answers(self) -> bool:
        return _is_ready(self.port)


class RestApiThatHashesQuickly(RestApi):
    """For what is not about guessing: a hash takes a millisecond."""

    command: ClassVar[tuple[str, ...]] = (
        sys.executable,
        "-c",
        """
from argon2.profiles import CHEAPEST
from rest_api.users import passwords
from rest_api.cli import main
passwords.COST = CHEAPEST
main()
""",
        "serve",
    )


class OutboxRelay(Service):
    name = "outbox-relay"
    command: ClassVar[tuple[str, ...]] = ("rest-api", "relay")

    def __init__(self, workspace: Workspace, environment: Mapping[str, str]) -> None:
        super().__init__(workspace, environment)
        self.environment["METRICS_PORT"] = str(self.port)

    def _answers(self) -> bool:
        # Its heart beats as soon as it goes round.
        return f"{HEARTBEAT} 1." in _get(self.port, "/metrics")[1]


class GrpcApi(Service):
    name = "grpc-api"
    command: ClassVar[tuple[str, ...]] = ("grpc-api", "serve")

    def __init__(self, workspace: Workspace, environment: Mapping[str, str]) -> None:
        super().__init__(workspace, environment)
        self.environment["GRPC_PORT"] = str(self.port)
        self.address = f"127.0.0.1:{self.port}"

    def _answers(self) -> bool:
        # Where nobody must speak TLS.
        return _serves(int(self.environment.get("GRPC_HEALTH_PORT") or self.port))

    @property
    def events(self) -> list[str]:
        """The lines of its console that tell of events."""
        return [line for line in self.output.splitlines() if "  book." in line]


class Colophon(Service):
    """`colophon run`, with its data in the folder of this service."""

    name = "colophon"
    command = ("colophon", "run")

    def __init__(self, workspace: Workspace, environment: Mapping[str, str] | None = None) -> None:
        super().__init__(workspace, environment or {})
        self.grpc_port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.address = f"127.0.0.1:{self.grpc_port}"

    def _options(self) -> Iterator[str]:
        yield f"--rest-port={self.port}"
        yield f"--grpc-port={self.grpc_port}"

    def _answers(self) -> bool:
        return _is_ready(self.port) and _serves(self.grpc_port)


def _is_ready(port: int) -> bool:
    return _get(port, "/healthz/ready")[0] == http.HTTPStatus.OK


def _get(port: int, path: str) -> tuple[int, str]:
    """Status and text of an answer, 0 when there is none. A client of httpx takes a tenth of a second to be made."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except (OSError, http.client.HTTPException):
        return 0, ""
    finally:
        connection.close()


def _serves(port: int) -> bool:
    if not _listens(port):
        # A channel would wait a second before it tries again.
        return False
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=5)
        except grpc.FutureTimeoutError:
            return False
    return True


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
