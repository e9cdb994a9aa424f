"""The server, from its start to its end."""

import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Final

from colophon import unprivileged
from colophon.embedded_postgres import cluster, log, process, programs, socket_folder
from colophon.embedded_postgres.errors import FolderInUse
from colophon.embedded_postgres.lock import lock

SETTINGS: Final[Mapping[str, str]] = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "port": str(socket_folder.PORT),
    "max_connections": "100",
    "shared_buffers": "64MB",
    "max_wal_size": "512MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}

_RETRY_SECONDS: Final = 0.05
"""Between two attempts to start, while the owner's server does not answer yet."""


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
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._socket_folder: Path | None = None

    def start(self) -> str:
        """Starts the server, on a new empty database if there is none yet, and returns the database's URL.

        Takes up to a second the first time and a tenth of one later, longer only when a crash has to be recovered from.
        Raises EmbeddedPostgresError or NoWayToRunUnprivileged; then nothing runs and nothing is locked.
        """
        if self._lock is not None:
            raise RuntimeError("this server has been started")
        self._lock = lock(self.folder)
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self.url()

    def stop(self) -> None:
        """Ends the connections, writes everything down and stops the server. Does nothing if it does not run."""
        if self._server is not None:
            process.stop(self._server)
            self._server = None
        # Only now: had the owner died before, the watchdog would have been needed.
        if self._watchdog is not None:
            process.stop_watchdog(self._watchdog)
            self._watchdog = None
        if self._socket_folder is not None:
            socket_folder.remove(self._socket_folder, self.folder)
            self._socket_folder = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def url(self, *, database: str = cluster.DATABASE, role: str = cluster.ROLE) -> str:
        """The URL of a database of the running server, as libpq, psycopg and SQLAlchemy read it."""
        if self._socket_folder is None:
            raise RuntimeError("this server has not been started")
        return socket_folder.url_of(self._socket_folder, database=database, role=role)

    def __enter__(self) -> str:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self) -> None:
        user = unprivileged.choose(reads=programs.program("postgres"), writes=self.folder)
        process.stop_leftovers(self.cluster)
        if not self.cluster.exists():
            cluster.create(self.cluster, user, self.log, durable=self._settings.get("fsync") != "off")
        cluster.check_version(self.cluster)
        user.chown(self.cluster)
        self._socket_folder = socket_folder.make(self.folder, user)
        settings = {**self._settings, "unix_socket_directories": socket_folder.in_a_setting(self._socket_folder)}
        start = log.size_of(self.log)
        self._server = process.launch(self.cluster, settings, user, self.log)
        self._watchdog = process.start_watchdog(self._server.pid, self.cluster)
        process.wait_until_ready(self._server, self.cluster, lambda: log.read_from(self.log, start))


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
            url_of_owner = _url_of_other_owner(server.cluster)
            if url_of_owner is not None:
                yield url_of_owner
                return
            if time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_SECONDS)
            continue
        try:
            yield url
        finally:
            server.stop()
        return


def _url_of_other_owner(data: Path) -> str | None:
    """The URL of the server that another process runs, once it answers."""
    said = process.PidFile.of(data)
    if said is None or not said.ready or said.socket_folder is None:
        return None
    return socket_folder.url_of(said.socket_folder) if socket_folder.answers(said.socket_folder) else None
