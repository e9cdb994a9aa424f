"""A server in a container, for machines that have Docker but not the server."""

import os
import secrets
import signal
import subprocess
from collections.abc import Mapping, Sequence

from support.workspace import Workspace

_IN_DOCKER = {
    signal.SIGTERM: "stop",
    signal.SIGKILL: "kill",
    signal.SIGSTOP: "pause",
    signal.SIGCONT: "unpause",
}


class Container:
    """A container that is made when it first starts, and keeps its files when it starts again."""

    def __init__(
        self,
        workspace: Workspace,
        image: str,
        *,
        ports: Mapping[int, int],
        environment: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        """`ports` are those of 127.0.0.1 and what they lead to inside."""
        self._name = f"colophon-tests-{os.getpid()}-{secrets.token_hex(4)}"
        published = [f"--publish=127.0.0.1:{outer}:{inner}" for outer, inner in ports.items()]
        variables = [f"--env={name}={value}" for name, value in (environment or {}).items()]
        # A hostname that stays: RabbitMQ names its data after it.
        self._image = image
        self._made_by = ["docker", "run", f"--name={self._name}", "--hostname=tests", *published, *variables, image]
        self._made_by += arguments
        self._is_made = False
        workspace.expect_container(self._name)

    def command(self) -> Sequence[str]:
        """The command that runs it in the foreground, output included."""
        if self._is_made:
            return ["docker", "start", "--attach", self._name]
        self._is_made = True
        self._fetch_the_image()
        return self._made_by

    def _fetch_the_image(self) -> None:
        """Now, because a server is not given so much time to start."""
        there = subprocess.run(["docker", "image", "inspect", self._image], check=False, capture_output=True)
        if there.returncode != 0:
            subprocess.run(["docker", "pull", "--quiet", self._image], check=True, stdout=subprocess.DEVNULL)

    def remove(self) -> None:
        """Remove it with its files; the next start makes a new one."""
        subprocess.run(["docker", "rm", "--volumes", self._name], check=True, stdout=subprocess.DEVNULL)
        self._is_made = False

    def run(self, *command: str) -> None:
        """Run a command in it, beside the server."""
        subprocess.run(["docker", "exec", self._name, *command], check=True, stdout=subprocess.DEVNULL)

    def signal(self, number: signal.Signals) -> None:
        """Do to the whole container what the signal would do to the server's process.

        Docker pulls the plug on a server that has not stopped after ten seconds.
        """
        subprocess.run(["docker", _IN_DOCKER[number], self._name], check=True, stdout=subprocess.DEVNULL)
