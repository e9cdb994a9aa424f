"""The programs beside Colophon's own: baselines, each of them a module of `baselines`."""

import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from support.server import Server
from support.workspace import Workspace

_ROOT = Path(__file__).parents[1]


class Baseline(Server):
    """A module that listens on the port that it is given, and answers with the bytes that it is given."""

    name: ClassVar[str] = "baseline"

    def __init__(
        self, workspace: Workspace, script: str, answer: bytes = b"", environment: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(workspace)
        self._module = f"benchmarks.baselines.{script}"
        self._environment = dict(environment or {})
        self._answer = self.folder / "answer"
        self._answer.write_bytes(answer)
        self.address = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.address}"

    def _spawn(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", self._module, str(self.port), str(self._answer)]
        return self.workspace.spawn(command, log=self.log, cwd=_ROOT, env=self._environment)

    def _answers(self) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0
