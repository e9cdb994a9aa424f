"""What all private servers have in common: they start, they answer, they stop, and a test can pull the plug."""

import contextlib
import os
import signal
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from support.container import Container
from support.ports import free_port
from support.waiting import PATIENCE, GaveUp, wait_until
from support.workspace import Workspace


class ServerDidNotStart(Exception):
    """A private server of the tests did not come up; its log is in the message."""


class Server(ABC):
    """A server of one's own on a free port of 127.0.0.1, which keeps its port and its data when it starts again.

    A context manager: `with RedisServer(workspace) as redis: ...` starts and stops it.
    """

    name: ClassVar[str]
    ending: ClassVar[signal.Signals] = signal.SIGKILL
    """What ends it at the end of the run, when its data no longer matter to anyone."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.port = free_port()
        self.folder = workspace.make_folder(self.name)
        self.log = self.folder / "server.log"
        self.container = self._make_container()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.dispose()

    def start(self) -> None:
        """Start and wait until it answers. Does nothing to a server that runs."""
        self.launch()
        self.wait_until_it_answers()

    def launch(self) -> None:
        """Start without waiting."""
        if self._process is None:
            self._process = self._spawn()

    def wait_until_it_answers(self) -> None:
        """Wait for a launched server.

        Raises:
            ServerDidNotStart: it ended, or was silent for longer than anybody's patience.
        """
        try:
            wait_until(lambda: not self.is_running or self._answers(), "it answers")
        except GaveUp as error:
            raise ServerDidNotStart(self._report(str(error))) from error
        if not self.is_running:
            raise ServerDidNotStart(self._report("It ended instead of starting."))

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended since, be it by itself."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The number of its process, which must be there."""
        assert self._process
        return self._process.pid

    def stop(self) -> None:
        """Stop in order, as an administrator would. Does nothing to a server that is down."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Pull the plug. Does nothing to a server that is down."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Let it hang: connections to it stand, and nothing on them is answered until `thaw`."""
        assert self._process
        self._signal(self._process, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen server go on."""
        assert self._process
        self._signal(self._process, signal.SIGCONT)

    def dispose(self) -> None:
        """End it for good, in the quickest way that leaves nothing on the machine."""
        self._end(self.ending)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        self._signal(process, number)
        # A frozen one would not hear it.
        _signal_group(process, signal.SIGCONT)
        process.wait(timeout=PATIENCE)
        _signal_group(process, signal.SIGKILL)
        self.workspace.forget(process)

    def _signal(self, process: subprocess.Popen[bytes], number: signal.Signals) -> None:
        if self.container:
            self.container.signal(number)
        else:
            _signal_group(process, number)

    def _report(self, what: str) -> str:
        log = self.log.read_text(errors="replace") if self.log.exists() else "(nothing)"
        return f"{self.name}: {what} The end of its log:\n{_tail(log)}"

    def _make_container(self) -> Container | None:
        """The container that it runs in, or None where the program itself is on this machine."""
        return None

    @abstractmethod
    def _spawn(self) -> subprocess.Popen[bytes]: ...

    @abstractmethod
    def _answers(self) -> bool: ...


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _tail(text: str, lines: int = 40) -> str:
    return "\n".join(text.splitlines()[-lines:])


def run(command: list[str | Path], *, cwd: Path, user: str | None = None) -> None:
    """Run a command that prepares a server, and show what it said if it fails."""
    done = subprocess.run(
        command, cwd=cwd, user=user, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode != 0:
        raise ServerDidNotStart(f"{command[0]} failed with {done.returncode}:\n{_tail(done.stdout + done.stderr)}")
