"""The compose file of this repository as a system of its own: apart from any that runs, and gone in the end."""

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from support.waiting import PATIENCE, wait_until

ROOT: Final = Path(__file__).parents[2]

_UP: Final = 900.0
"""Seconds for pulling, building and starting, on a small machine with nothing in its caches."""

_LABEL: Final = "com.docker.compose.project"
_SERVICE: Final = "com.docker.compose.service"

_WELL: Final = ("healthy", "exited 0")


class NoDocker(Exception):
    """The compose test needs Docker, and there is none to be reached: {reason}."""

    def __init__(self, reason: str) -> None:
        super().__init__((NoDocker.__doc__ or "").format(reason=reason))


class ComposeFailed(Exception):
    """A command of Docker failed."""


class System:
    """The services of docker-compose.yml, under a project name of their own and with settings of their own."""

    def __init__(self, project: str, settings: Mapping[str, str], folder: Path, *, profile: str | None = None) -> None:
        """`settings` are what a user would write into `.env`. With a profile its services too. Raises NoDocker."""
        env_file = folder / "compose.env"
        env_file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        self._project = project
        # What the shell exports wins over the file, so none of what the compose file asks for may be exported.
        self._environment = {k: v for k, v in os.environ.items() if f"${{{k}" not in _compose_file()}
        self._compose = [*_compose_command(), "-p", project, "-f", "docker-compose.yml", "--env-file", str(env_file)]
        self._compose += ["--profile", profile] if profile else []

    def up(self) -> None:
        """Builds what has to be built, starts everything, and waits until it is healthy.

        Raises ComposeFailed, and GaveUp.
        """
        self.compose("up", "-d", "--build", timeout=_UP)
        self.wait_until_healthy()

    def down(self) -> None:
        """Leaves nothing behind: no container, no network, no volume, no image that was built. Raises ComposeFailed."""
        self.compose("down", "--volumes", "--rmi", "local", "--remove-orphans", "--timeout=10")

    def leftovers(self) -> list[str]:
        """What there is of this project."""
        kinds = (("ps", "--all"), ("volume", "ls"), ("network", "ls"))
        return [
            f"{kind[0]} {line}"
            for kind in kinds
            for line in self.docker(*kind, "--quiet", "--filter", f"label={_LABEL}={self._project}").split()
        ]

    def wait_until_healthy(self) -> None:
        """Raises GaveUp for the first that is not."""
        for service in self.services:
            self.wait_until_well(service)

    @cached_property
    def services(self) -> list[str]:
        """Those that were brought up. docker-compose 1.29, when asked for services, names those of all profiles."""
        names = ("ps", "--all", f"--filter=label={_LABEL}={self._project}", f'--format={{{{.Label "{_SERVICE}"}}}}')
        return sorted(self.docker(*names).split())

    def state(self, service: str) -> str:
        """healthy, starting, unhealthy, running (where there is no health check), or exited with its code."""
        state = self.inspect(service)["State"]
        if state["Status"] == "exited":
            return f"exited {state['ExitCode']}"
        return str(state.get("Health", {}).get("Status", state["Status"]))

    def inspect(self, service: str) -> dict[str, Any]:
        """What Docker knows of a service's container."""
        container: dict[str, Any] = json.loads(self.docker("inspect", self.container(service)))[0]
        return container

    def container(self, service: str) -> str:
        """The id of a service's container, running or not."""
        filters = (f"label={_LABEL}={self._project}", f"label={_SERVICE}={service}")
        ids = self.docker("ps", "--all", "--quiet", "--no-trunc", *(f"--filter={one}" for one in filters)).split()
        if len(ids) != 1:
            raise ComposeFailed(f"{service} has {len(ids)} containers")
        return ids[0]

    def log(self, service: str) -> str:
        """What a service has printed and logged so far."""
        return self.docker("logs", self.container(service), stderr=subprocess.STDOUT)

    def kill(self, service: str) -> None:
        """SIGKILL, after which it stays down until it is started."""
        self.docker("kill", self.container(service))

    def start(self, service: str) -> None:
        """Starts one that was there before, and does not wait for it."""
        self.docker("start", self.container(service))

    def wait_until_well(self, service: str) -> None:
        """Until one service is healthy, or has done what it was for. Raises GaveUp."""
        wait_until(lambda: self.state(service) in _WELL, f"{service} is healthy")

    def execute(self, service: str, *command: str) -> str:
        """Runs a command inside a service's container and returns what it prints. Raises ComposeFailed."""
        return self.docker("exec", self.container(service), *command)

    def compose(self, *arguments: str, timeout: float = PATIENCE) -> str:
        """What a command of compose prints. Raises ComposeFailed."""
        return self._run([*self._compose, *arguments], subprocess.PIPE, timeout)

    def docker(self, *arguments: str, stderr: int = subprocess.PIPE) -> str:
        """What a command of docker prints. Raises ComposeFailed."""
        return self._run(["docker", *arguments], stderr, PATIENCE)

    def _run(self, command: list[str], stderr: int, timeout: float) -> str:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            timeout=timeout,
            check=False,
        )
        output = done.stdout.decode(errors="replace")
        if done.returncode != 0:
            said = output + (done.stderr or b"").decode(errors="replace")
            raise ComposeFailed(f"{' '.join(command)} ended with {done.returncode}:\n{said}")
        return output


@dataclass(frozen=True)
class Running:
    """The system, and where it is reached."""

    system: System
    rest_port: int
    grpc_port: int
    passwords: Mapping[str, str]
    """Those of the inner services, by their variables."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.rest_port}"

    def query(self, sql: str, *, service: str = "postgres") -> str:
        """What PostgreSQL answers, or a replica of it. Raises ComposeFailed."""
        return self.system.execute(service, *self.psql, f"--command={sql}").strip()

    def rows(self, sql: str) -> list[list[Any]]:
        """The same, row by row. Raises ComposeFailed."""
        text = self.query(f"SELECT coalesce(json_agg(row_to_json(found)), '[]') FROM ({sql}) AS found")  # noqa: S608  # SQL of a test
        return [list(row.values()) for row in json.loads(text)]

    @property
    def psql(self) -> list[str]:
        """The command that talks to the database, for the container of PostgreSQL."""
        options = ("--host=127.0.0.1", "--username=colophon", "--dbname=colophon", "--quiet", "--no-align")
        return ["env", f"PGPASSWORD={self.passwords['POSTGRES_PASSWORD']}", "psql", *options, "--tuples-only"]


def _compose_file() -> str:
    return (ROOT / "docker-compose.yml").read_text()


def require_docker() -> None:
    """Raises NoDocker."""
    _compose_command()


def _compose_command() -> list[str]:
    """`docker compose` where there is one, else docker-compose. Raises NoDocker."""
    if reason := _failure_of("docker", "version"):
        raise NoDocker(reason.rstrip("."))
    if not _failure_of("docker", "compose", "version"):
        return ["docker", "compose"]
    if reason := _failure_of("docker-compose", "version"):
        raise NoDocker(f"neither `docker compose` nor docker-compose is there: {reason}")
    return ["docker-compose"]


def _failure_of(*command: str) -> str:
    """Why a command fails, or nothing."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return (done.stderr.strip() or f"{' '.join(command)} ended with {done.returncode}") if done.returncode else ""
