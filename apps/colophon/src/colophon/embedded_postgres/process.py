"""The server's process: started with a watchdog beside it, and stopped, also when its owner could not do that."""

import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil  # type: ignore[import-untyped]  # psutil ships no types

from colophon.embedded_postgres import log, programs, socket_folder
from colophon.embedded_postgres.errors import DidNotStart
from colophon.unprivileged import ServerUser

START_SECONDS: Final = 120.0
"""Recovery after a crash replays at most max_wal_size of log."""

POLL_SECONDS: Final = 0.005

SHUTDOWN: Final = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0))
"""Signals, and how many seconds each is given before the next one is sent.

Fast: connections end now. Immediate: the next start recovers. Killed: the same, but nothing is tidied up.
"""


@dataclass(frozen=True)
class PidFile:
    """What postmaster.pid says: the server writes it when it starts and removes it when it has ended in good order."""

    pid: int
    socket_folder: Path | None
    ready: bool

    @classmethod
    def of(cls, cluster: Path) -> "PidFile | None":
        """None when there is none, or it is being written."""
        try:
            lines = _pid_file(cluster).read_text().splitlines()
        except FileNotFoundError:
            return None
        pid, _, _, _, folder, _, _, status = (lines + 8 * [""])[:8]
        if not pid.isdigit():
            return None
        return cls(int(pid), Path(folder) if folder else None, status.strip() == "ready")


def _pid_file(cluster: Path) -> Path:
    return cluster / "postmaster.pid"


def launch(cluster: Path, settings: Mapping[str, str], user: ServerUser, log_file: Path) -> subprocess.Popen[bytes]:
    """The server with these settings, which is not ready yet."""
    options = [f"--{name}={value}" for name, value in settings.items()]
    with log.open_to_append(log_file) as output:
        return subprocess.Popen(
            (*user.prefix, str(programs.program("postgres")), "-D", str(cluster), *options),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=programs.environment(),
            cwd="/",
            # Ctrl-C goes to the terminal's whole process group; the server must outlive the services.
            start_new_session=True,
        )


def wait_until_ready(server: subprocess.Popen[bytes], cluster: Path, output: Callable[[], str]) -> None:
    """Raises DidNotStart with the line of its `output` that says why."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            reason = log.line_of_failure(output()) or f"exit code {server.returncode}"
            raise DidNotStart(folder=cluster.parent, reason=reason)
        said = PidFile.of(cluster)
        if said is not None and said.pid == server.pid and said.ready:
            return
        time.sleep(POLL_SECONDS)
    raise DidNotStart(folder=cluster.parent, reason=f"it is not ready after {START_SECONDS:.0f} seconds")


def stop(server: subprocess.Popen[bytes]) -> None:
    """Returns when it has ended."""
    for hint, seconds in SHUTDOWN:
        server.send_signal(hint)
        with suppress(subprocess.TimeoutExpired):
            server.wait(seconds)
            return
    server.wait()


# When the owner is gone its end of the pipe closes, however it went. SIGINT is PostgreSQL's fast shutdown.
_WATCH: Final = 'read -r _; test "$(head -n 1 "$2" 2>/dev/null)" = "$1" && kill -INT "$1"'


def start_watchdog(pid: int, cluster: Path) -> subprocess.Popen[bytes]:
    """Stops the server with this pid when its owner, this process, has died."""
    return subprocess.Popen(
        ("sh", "-c", _WATCH, "sh", str(pid), str(_pid_file(cluster))),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )


def stop_watchdog(watchdog: subprocess.Popen[bytes]) -> None:
    """For when the server has ended."""
    watchdog.kill()
    watchdog.wait()
    if watchdog.stdin is not None:
        watchdog.stdin.close()


def stop_leftovers(cluster: Path) -> None:
    """Stops a server that outlived its owner, and removes its pid file, which would keep the next one from starting.

    PostgreSQL takes any process with the number in postmaster.pid for the server, and after a restart of the machine
    or container that may be anyone. Whoever really works on the cluster has it as its working directory.
    """
    left = PidFile.of(cluster)
    for hint, seconds in SHUTDOWN:
        processes = processes_in(cluster)
        if not processes:
            break
        leaders = [process for process in processes if left and process.pid == left.pid]
        for process in leaders or processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(hint)
        psutil.wait_procs(processes, timeout=seconds)
    if left is not None:
        _pid_file(cluster).unlink(missing_ok=True)
        if left.socket_folder is not None:
            socket_folder.remove(left.socket_folder, cluster.parent)


def processes_in(cluster: Path) -> list[psutil.Process]:
    """The server that works on this cluster, and its workers."""
    # Where the folder was deleted under a running server, Linux says so after the name.
    names = {str(cluster), str(cluster.resolve()), f"{cluster.resolve()} (deleted)"}
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.name() == "postgres" and _works_in(names, process):
                found.append(process)
    return found


def _works_in(names: set[str], process: psutil.Process) -> bool:
    # The server itself has the folder on its command line, which everybody may read. The working directory, which tells
    # of its workers too, is hidden from a container's root where they run as somebody else.
    return not names.isdisjoint(process.cmdline()) or process.cwd() in names
