"""The programs beside Colophon's own: yardsticks, each of them a script in `yardsticks`."""

import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from support.server import Server
from support.workspace import Workspace

_SCRIPTS = Path(__file__).with_name("yardsticks")


class Yardstick(Server):
    """A script that listens on the port that it is given, and answers with the bytes that it is given."""

    name: ClassVar[str] = "yardstick"

    def __init__(
        self, workspace: Workspace, script: str, answer: bytes = b"", environment: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(workspace)
        self._script = _SCRIPTS / f"{script}.py"
        self._environment = dict(environment or {})
        self._answer = self.folder / "answer"
        self._answer.write_bytes(answer)
        self.address = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.address}"

    def _spawn(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(self._script), str(self.port), str(self._answer)]
        return self.workspace.spawn(command, log=self.log, cwd=self.folder, env=self._environment)

    def _answers(self) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0
