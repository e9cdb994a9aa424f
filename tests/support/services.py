"""Colophon's own processes, as an operator starts them: each can be stopped, killed and started again on its port."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import grpc
import httpx
from rest_api.probe import HEARTBEAT

from support.ports import free_port
from support.server import Server
from support.workspace import Workspace

_PROGRAMS = Path(sys.executable).parent


class Service(Server):
    """One process of Colophon, with nothing in its environment but what it is given."""

    patience: ClassVar[float] = 30.0
    command: ClassVar[tuple[str, ...]]

    def __init__(self, workspace: Workspace, environment: Mapping[str, str]) -> None:
        super().__init__(workspace)
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), **environment}
        self.exit_code: int | None = None

    def wait_for_the_end(self, within: float) -> int:
        """The exit code of a process that is ending by itself."""
        assert self._process
        process, self._process = self._process, None
        code = process.wait(within)
        self.workspace.forget(process)
        return code

    def terminate(self, within: float = 15) -> int:
        """Tell it to stop and return its exit code."""
        assert self._process
        self._process.send_signal(signal.SIGTERM)
        return self.wait_for_the_end(within)

    def interrupt(self, within: float = 15) -> int:
        """What Ctrl-C does."""
        assert self._process
        self._process.send_signal(signal.SIGINT)
        return self.wait_for_the_end(within)

    @property
    def output(self) -> str:
        """What it has printed and logged since its first start."""
        return self.log.read_text()

    def _spawn(self) -> subprocess.Popen[bytes]:
        program, *arguments = self.command
        return self.workspace.spawn(
            [_PROGRAMS / program, *arguments, *self._options()], log=self.log, cwd=self.folder, env=self.environment
        )

    def _options(self) -> Iterator[str]:
        yield from ()


class RestApi(Service):
    name = "rest-api"
    command = ("rest-api", "serve")

    def __init__(self, workspace: Workspace, environment: Mapping[str, str]) -> None:
        super().__init__(workspace, environment)
        self.environment["REST_PORT"] = str(self.port)
        self.url = f"http://127.0.0.1:{self.port}"

    def _answers(self) -> bool:
        return _is_ready(self.url)


class OutboxRelay(Service):
    name = "outbox-relay"
    command = ("rest-api", "relay")

    def __init__(self, workspace: Workspace, environment: Mapping[str, str]) -> None:
        super().__init__(workspace, environment)
        self.environment["METRICS_PORT"] = str(self.port)

    def _answers(self) -> bool:
        # It has a pulse as soon as it goes round.
        return _text_of(f"http://127.0.0.1:{self.port}/metrics").find(f"{HEARTBEAT} 1.") > 0


class GrpcApi(Service):
    name = "grpc-api"
    command = ("grpc-api", "serve")

    def __init__(self, workspace: Workspace, environment: Mapping[str, str]) -> None:
        super().__init__(workspace, environment)
        self.environment["GRPC_PORT"] = str(self.port)
        self.address = f"127.0.0.1:{self.port}"

    def _answers(self) -> bool:
        # Where nobody must speak TLS.
        health_port = self.environment.get("GRPC_HEALTH_PORT")
        return _serves(f"127.0.0.1:{health_port}" if health_port else self.address)

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
        return _is_ready(self.url) and _serves(self.address)


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz/ready", timeout=2).is_success
    except httpx.TransportError:
        return False


def _text_of(url: str) -> str:
    try:
        return httpx.get(url, timeout=2).text
    except httpx.TransportError:
        return ""


def _serves(address: str) -> bool:
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=0.5)
        except grpc.FutureTimeoutError:
            return False
    return True
