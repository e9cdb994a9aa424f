"""Where the servers of one test run live: a folder, their processes, and the promise that both are gone in the end."""

import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from support.waiting import PATIENCE

_REAPER = Path(__file__).with_name("reaper.py")

_IN_MEMORY = Path("/dev/shm")  # noqa: S108  # mkdtemp makes a folder of our own in there
_ON_DISK = Path("/var/tmp")  # noqa: S108  # as above; it outlives a restart of the machine, which /tmp need not
_MIN_FREE_BYTES = 2 * 1024**3
"""Bytes that must be free in memory for data to be put there."""


class Workspace:
    """Temp folders, and the processes and containers started for it.

    `close` ends them. Should the test run die before it comes to that, even by SIGKILL, the reaper does it.
    """

    def __init__(self, *, on_disk: bool = False) -> None:
        """With `on_disk` data lie on a disk also where memory would be quicker: for measuring what it costs."""
        self._reaper = subprocess.Popen(
            [sys.executable, "-I", "-S", _REAPER], stdin=subprocess.PIPE, text=True, bufsize=1, start_new_session=True
        )
        self.processes: dict[subprocess.Popen[bytes], str] = {}
        self.logs: dict[int, Path] = {}
        """Where what was started here writes, by the number of the process."""
        self.folder = self._make_base(_place_within_reach())
        # A database is copied for every test: in memory that takes a third of the time.
        if on_disk:
            self.data_folder = self._make_base(_ON_DISK)
        else:
            self.data_folder = self._make_base(_IN_MEMORY) if _has_room(_IN_MEMORY) else self.folder

    def make_folder(self, name: str) -> Path:
        """A new folder for data, its name beginning with `name`."""
        folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.data_folder))
        folder.chmod(0o755)
        return folder

    def spawn(
        self,
        command: Sequence[str | Path],
        *,
        log: Path,
        cwd: Path,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        ending: signal.Signals = signal.SIGKILL,
    ) -> subprocess.Popen[bytes]:
        """Start `command` in a session of its own, so that Ctrl-C reaches the tests alone.

        Its output is appended to `log`. `user` is whom to become, for root. `ending` is the signal that ends the
        process and its group for good.
        """
        with log.open("ab") as output:
            process = subprocess.Popen(
                command,
                cwd=cwd,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=user,
                group=_group_of(user),
                extra_groups=[] if user else None,
            )
        name = f"group {process.pid} {ending.value}"
        self._tell(f"+ {name}")
        self.processes[process] = name
        self.logs[process.pid] = log
        return process

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """End `process` for good, with its group."""
        os.killpg(process.pid, int(self.processes[process].split()[-1]))
        process.wait(timeout=PATIENCE)
        self.forget(process)

    def forget(self, process: subprocess.Popen[bytes]) -> None:
        """Note that `process` has ended and was waited for: its number may belong to someone else from now on."""
        self._tell(f"- {self.processes.pop(process)}")

    def expect_container(self, name: str) -> None:
        """Remove the Docker container `name` in the end, if there is one by then."""
        self._tell(f"+ container {name}")

    def close(self) -> None:
        """End and remove everything."""
        assert self._reaper.stdin
        self._reaper.stdin.close()
        # The reaper ends the processes, but they are children of this one and stay zombies until it waited for them.
        for process in self.processes:
            process.wait()
        self._reaper.wait()

    def _make_base(self, place: Path) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="colophon-tests-", dir=place))
        self._tell(f"+ folder {folder}")
        folder.chmod(0o755)
        return folder

    def _tell(self, line: str) -> None:
        assert self._reaper.stdin
        self._reaper.stdin.write(f"{line}\n")


def _place_within_reach() -> Path:
    """A temp folder that PostgreSQL can reach as another user: a TMPDIR in root's home would be closed to it."""
    places = [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]  # noqa: S108  # as above
    place = next((place for place in places if os.geteuid() != 0 or _is_open_to_all(place)), None)
    if place is None:
        raise RuntimeError(f"Other users can enter none of {', '.join(map(str, places))}; name another in TMPDIR.")
    return place


def _has_room(place: Path) -> bool:
    return place.is_dir() and os.access(place, os.W_OK) and shutil.disk_usage(place).free >= _MIN_FREE_BYTES


def _is_open_to_all(folder: Path) -> bool:
    resolved = folder.resolve()
    return all(step.stat().st_mode & stat.S_IXOTH for step in (resolved, *resolved.parents))


def _group_of(user: str | None) -> int | None:
    return pwd.getpwnam(user).pw_gid if user else None
