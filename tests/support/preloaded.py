"""Colophon's commands, each in a process of its own that has imported everything already.

To import what it needs takes a command seconds, and to be refused a tenth of one. So one process imports once, and is
forked for every command. That a program starts from nothing is for other tests to show.
"""

import gc
import importlib
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from importlib.metadata import entry_points
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from types import TracebackType
from typing import Final, Self

from support.waiting import PATIENCE

Main = Callable[[], int | None]

_REQUEST_BYTES: Final = 2**16
_TESTS: Final = Path(__file__).parents[1]
_PACKAGES: Final = ("book_contracts", "book_db", "book_runtime", "colophon", "grpc_api", "rest_api")
_PROGRAMS: Final = ("book-db", "colophon", "grpc-api", "rest-api")
_READ: Final = os.O_RDONLY
_WRITE: Final = os.O_WRONLY | os.O_CREAT


class PreloadedCommands:
    """A context manager. Commands are run one after the other, whichever thread asks."""

    def __init__(self) -> None:
        self._turn = Lock()
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            # As little as the commands have, since modules look it up when they are imported. With gRPC's support of
            # forks on, what is forked while it works crashes.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "support.preloaded", str(theirs.fileno())],
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(_TESTS), "GRPC_ENABLE_FORK_TESTS": "0"},
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ours.close()
        self._process.wait(PATIENCE)

    def run(
        self, program: str, *arguments: str, environment: Mapping[str, str], folder: Path, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end in a folder, with nothing in its environment but what it is given.

        It ends by SIGALRM if it takes longer than anybody's patience.
        """
        with TemporaryDirectory() as made:
            files = {name: Path(made) / name for name in ("stdin", "stdout", "stderr")}
            files["stdin"].write_text(stdin)
            command = [str(Path(sys.executable).with_name(program)), *arguments]
            request = {
                "arguments": command,
                "environment": {"PATH": "/usr/bin:/bin", "HOME": str(folder), **environment},
                "folder": str(folder),
                "files": [str(file) for file in files.values()],
            }
            with self._turn:
                self._ours.sendall(json.dumps(request).encode())
                code = int(self._ours.recv(_REQUEST_BYTES))
            return subprocess.CompletedProcess(command, code, files["stdout"].read_text(), files["stderr"].read_text())


def _serve(requests: socket.socket, mains: Mapping[str, Main]) -> None:
    """Forks for every request, and answers with the exit code."""
    while request := requests.recv(_REQUEST_BYTES):
        child = os.fork()
        if child == 0:
            requests.close()
            called = json.loads(request)
            _become(**called)
            sys.exit(mains[Path(sys.argv[0]).name]())
        _, status = os.waitpid(child, 0)
        requests.sendall(str(os.waitstatus_to_exitcode(status)).encode())


def _become(arguments: list[str], environment: Mapping[str, str], folder: str, files: list[str]) -> None:
    """Gives this process what a command is started with."""
    signal.alarm(int(PATIENCE))
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for number, (file, flags) in enumerate(zip(files, (_READ, _WRITE, _WRITE), strict=True)):
        opened = os.open(file, flags)
        os.dup2(opened, number)
        os.close(opened)
    sys.argv = arguments


def _mains() -> dict[str, Main]:
    """What the scripts call, when all of our modules and all that these need is imported."""
    for package in map(importlib.import_module, _PACKAGES):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            # Alembic runs its scripts, nobody imports them.
            if ".migrations." not in module.name:
                importlib.import_module(module.name)
    scripts = entry_points(group="console_scripts")
    mains: dict[str, Main] = {name: scripts[name].load() for name in _PROGRAMS}
    # Or every child would look for garbage in all of it when it ends.
    gc.freeze()
    return mains


if __name__ == "__main__":
    with closing(socket.socket(fileno=int(sys.argv[1]))) as asked:
        _serve(asked, _mains())
