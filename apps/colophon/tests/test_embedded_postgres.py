"""Every test here runs real servers."""

import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import unquote

import psutil  # type: ignore[import-untyped]  # psutil ships no types
import psycopg
import pytest
import sqlalchemy
from colophon import embedded_postgres, unprivileged
from colophon.embedded_postgres import (
    DidNotStart,
    EmbeddedPostgres,
    FolderInUse,
    FolderUnusable,
    OtherVersion,
    running,
)
from colophon.unprivileged import Disguise, NoWayToRunUnprivileged
from support.waiting import PATIENCE, wait_until
from support.workspace import Workspace

as_root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be refused for being root")

# These tests kill processes and not machines.
QUICK = {"fsync": "off"}

# Starts a server, says its URL and waits for Ctrl-C; then proves that the server is still there.
OWNER = """
import sys, time, psycopg
from pathlib import Path
from colophon.embedded_postgres import EmbeddedPostgres
with EmbeddedPostgres(Path(sys.argv[1]), settings={"fsync": "off"}) as url:
    try:
        print(url, flush=True)
        time.sleep(600)
    except KeyboardInterrupt:
        time.sleep(0.3)
        with psycopg.connect(url) as connection:
            print(connection.execute("SELECT 'still there'").fetchone()[0], flush=True)
"""


@pytest.fixture(scope="module")
def new_cluster(workspace: Workspace) -> Path:
    """A cluster to copy, which takes a tenth of the time that making one takes."""
    server = EmbeddedPostgres(workspace.make_folder("template") / "postgres", settings=QUICK)
    with server:
        return server.cluster


@pytest.fixture
def new_folder(workspace: Workspace) -> Iterator[Path]:
    # In memory, where a thousand files are soon made. And shorter than tmp_path, whose length alone would decide where
    # the socket goes.
    with tempfile.TemporaryDirectory(prefix="pg", dir=workspace.data_folder) as made:
        folder = Path(made) / "postgres"
        yield folder
        for process in servers_of(folder):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(servers_of(folder), timeout=PATIENCE)


@pytest.fixture
def folder(new_folder: Path, new_cluster: Path) -> Path:
    """A folder where a server has run before, with an empty database."""
    shutil.copytree(new_cluster, new_folder / "cluster")
    return new_folder


@pytest.fixture
def start_owner(folder: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    owners: list[subprocess.Popen[str]] = []

    def start(*prefix: str) -> subprocess.Popen[str]:
        command = (*prefix, sys.executable, "-c", OWNER, str(folder))
        owners.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True))
        return owners[-1]

    yield start
    for owner in owners:
        owner.kill()
        owner.communicate()


def ask(url: str, question: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(question.encode()).fetchone()
    return None if row is None else row[0]


def write(url: str, text: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS note (text text)")
        connection.execute("INSERT INTO note VALUES (%s)", [text])


def url_said_by(owner: subprocess.Popen[str]) -> str:
    assert owner.stdout is not None
    return owner.stdout.readline().strip()


def servers_of(folder: Path) -> list[psutil.Process]:
    return embedded_postgres._processes_in(folder / "cluster")


def postmaster_of(folder: Path) -> psutil.Process:
    """The process that stays; the others come and go."""
    said = embedded_postgres.PidFile.of(folder / "cluster")
    assert said is not None
    return psutil.Process(said.pid)


class TestStart:
    def test_a_new_folder_gets_an_empty_database_that_utf_8_fits_in(self, new_folder: Path) -> None:
        with EmbeddedPostgres(new_folder, settings=QUICK) as url:
            assert ask(url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
            assert ask(url, "SHOW server_encoding") == "UTF8"

    def test_the_next_start_finds_what_was_written_and_takes_a_fraction_of_the_first(self, new_folder: Path) -> None:
        times: list[float] = []

        @contextmanager
        def started() -> Iterator[str]:
            began = time.perf_counter()
            with EmbeddedPostgres(new_folder, settings=QUICK) as url:
                times.append(time.perf_counter() - began)
                yield url

        with started() as url:
            write(url, "Моя жизнь")
        for _ in range(3):
            with started() as url:
                assert ask(url, "SELECT text FROM note") == "Моя жизнь"
        first, *later = times
        assert min(later) < first / 2

    @pytest.mark.parametrize(
        "name",
        [
            pytest.param("two words", id="space"),
            pytest.param('it\'s "quoted" & $HOME; 50%+1', id="what-shells-and-urls-read"),
            pytest.param("Käyttäjä/книги", id="not-ascii"),
            pytest.param("one,two", id="comma-which-divides-hosts"),
            pytest.param("/".join(["deep-down"] * 80), id="deeper-than-a-socket-may-lie"),
        ],
    )
    def test_any_folder_will_do(self, new_folder: Path, name: str) -> None:
        server = EmbeddedPostgres(new_folder / name / "postgres", settings=QUICK)
        with server as url:
            assert ask(url, "SELECT 1") == 1
            engine = sqlalchemy.create_engine(url.replace("://", "+psycopg://", 1), poolclass=sqlalchemy.NullPool)
            with engine.connect() as connection:
                assert connection.scalar(sqlalchemy.text("SELECT 2")) == 2

    def test_a_relative_folder_keeps_its_meaning(self, new_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        new_folder.mkdir()
        monkeypatch.chdir(new_folder)
        server = EmbeddedPostgres(Path("data"), settings=QUICK)
        monkeypatch.chdir("/")
        with server as url:
            assert ask(url, "SELECT 1") == 1
        assert (new_folder / "data" / "cluster").is_dir()

    def test_the_users_own_postgresql_variables_change_nothing(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in {"PGPORT": "6666", "PGDATA": "/nowhere", "PGUSER": "who", "LC_ALL": "xx_XX"}.items():
            monkeypatch.setenv(name, value)
        with EmbeddedPostgres(folder, settings=QUICK) as url:
            assert ask(url, "SELECT current_user") == "colophon"

    def test_a_first_start_that_was_cut_off_is_begun_anew(self, new_folder: Path) -> None:
        (new_folder / "cluster.unfinished" / "base").mkdir(parents=True)
        with EmbeddedPostgres(new_folder, settings=QUICK) as url:
            assert ask(url, "SELECT 1") == 1
        assert not (new_folder / "cluster.unfinished").exists()

    def test_settings_can_be_changed(self, folder: Path) -> None:
        with EmbeddedPostgres(folder, settings={"fsync": "off"}) as url:
            assert ask(url, "SHOW fsync") == "off"

    def test_the_same_object_can_start_again_but_not_twice(self, folder: Path) -> None:
        server = EmbeddedPostgres(folder, settings=QUICK)
        for _ in range(2):
            server.start()
            with pytest.raises(RuntimeError):
                server.start()
            server.stop()
            server.stop()


class TestRefusals:
    def test_a_file_in_the_way_is_named(self, new_folder: Path) -> None:
        new_folder.write_text("")
        with pytest.raises(FolderUnusable, match="postgres cannot hold a database: File exists"):
            EmbeddedPostgres(new_folder, settings=QUICK).start()

    def test_a_path_beyond_what_postgresql_can_take_is_refused(self, new_folder: Path) -> None:
        with pytest.raises(FolderUnusable, match="longer than 900 bytes"):
            EmbeddedPostgres(new_folder / "/".join(["deep"] * 200)).start()

    def test_data_of_another_version_is_left_alone(self, new_folder: Path) -> None:
        (new_folder / "cluster").mkdir(parents=True)
        (new_folder / "cluster" / "PG_VERSION").write_text("17\n")
        with pytest.raises(OtherVersion, match="is of PostgreSQL 17, and this is PostgreSQL 18"):
            EmbeddedPostgres(new_folder, settings=QUICK).start()
        assert [path.name for path in (new_folder / "cluster").iterdir()] == ["PG_VERSION"]

    def test_a_cluster_that_is_none_is_named(self, new_folder: Path) -> None:
        (new_folder / "cluster").mkdir(parents=True)
        with pytest.raises(FolderUnusable, match="PG_VERSION: No such file"):
            EmbeddedPostgres(new_folder, settings=QUICK).start()

    def test_what_postgresql_says_is_passed_on(self, new_folder: Path) -> None:
        with pytest.raises(DidNotStart, match=r'FATAL:.*invalid value for parameter "shared_buffers"'):
            EmbeddedPostgres(new_folder, settings={"shared_buffers": "lots"}).start()

    def test_after_a_failure_nothing_runs_and_nothing_is_locked(self, new_folder: Path) -> None:
        with pytest.raises(DidNotStart):
            EmbeddedPostgres(new_folder, settings={"shared_buffers": "lots"}).start()
        assert servers_of(new_folder) == []
        with EmbeddedPostgres(new_folder, settings=QUICK) as url:
            assert ask(url, "SELECT 1") == 1


class TestPrivacyAndDurability:
    def test_no_port_is_open(self, folder: Path) -> None:
        with EmbeddedPostgres(folder, settings=QUICK) as url:
            assert ask(url, "SHOW listen_addresses") == ""
            assert postmaster_of(folder).net_connections(kind="inet") == []

    @pytest.mark.parametrize(
        "name", [pytest.param("here", id="beside-the-data"), pytest.param("a," * 60, id="among-temporary-files")]
    )
    def test_only_the_owner_may_enter_the_folders_of_socket_and_data(self, folder: Path, name: str) -> None:
        server = EmbeddedPostgres(folder / name, settings=QUICK)
        with server as url:
            socket_folder = Path(unquote(url.partition("host=")[2]))
            for private in (socket_folder, server.cluster):
                assert stat.S_IMODE(private.stat().st_mode) == 0o700
                assert private.stat().st_uid == postmaster_of(folder / name).uids().effective

    def test_the_services_role_is_no_superuser(self, folder: Path) -> None:
        with EmbeddedPostgres(folder, settings=QUICK) as url:
            assert ask(url, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                ask(url, "COPY (SELECT 1) TO PROGRAM 'true'")

    def test_the_role_can_make_tables(self, folder: Path) -> None:
        with EmbeddedPostgres(folder, settings=QUICK) as url:
            write(url, "mine")

    def test_a_commit_is_on_disk(self, folder: Path) -> None:
        with EmbeddedPostgres(folder) as url:
            assert (ask(url, "SHOW fsync"), ask(url, "SHOW synchronous_commit")) == ("on", "on")


class TestOneOwner:
    def test_a_second_start_says_who_holds_the_folder(
        self, folder: Path, start_owner: Callable[[], subprocess.Popen[str]]
    ) -> None:
        owner = start_owner()
        url_said_by(owner)
        with pytest.raises(FolderInUse, match=rf"{folder} is in use by process {owner.pid} \(-c"):
            EmbeddedPostgres(folder, settings=QUICK).start()

    def test_another_command_uses_the_server_that_runs_and_leaves_it_running(
        self, folder: Path, start_owner: Callable[[], subprocess.Popen[str]]
    ) -> None:
        theirs = url_said_by(start_owner())
        with running(folder) as url:
            assert url == theirs
            assert ask(url, "SELECT 1") == 1
        assert ask(theirs, "SELECT 1") == 1

    def test_another_command_waits_for_a_server_that_is_starting(
        self, folder: Path, start_owner: Callable[[], subprocess.Popen[str]]
    ) -> None:
        start_owner()
        wait_until((folder / "lock").exists, "the owner has begun")
        with running(folder, patience=PATIENCE) as url:
            assert ask(url, "SELECT 1") == 1

    def test_another_command_starts_and_stops_a_server_when_none_runs(self, folder: Path) -> None:
        with running(folder) as url:
            assert ask(url, "SELECT 1") == 1
        assert servers_of(folder) == []

    def test_another_command_gives_up_on_an_owner_whose_server_never_answers(self, folder: Path) -> None:
        lock = embedded_postgres._lock(folder)
        with pytest.raises(FolderInUse), running(folder, patience=0.1):
            pass
        lock.close()


class TestTheEnd:
    def test_stopping_leaves_no_process_and_no_socket(self, folder: Path) -> None:
        deep = folder / ("a," * 60)
        children = psutil.Process().children()
        with EmbeddedPostgres(deep, settings=QUICK) as url:
            socket_folder = Path(url.partition("host=")[2])
            assert socket_folder.is_dir()
            assert psutil.Process().children() != children
        assert servers_of(deep) == []
        assert not socket_folder.exists()
        assert psutil.Process().children() == children

    def test_stopping_does_not_wait_for_connections(self, folder: Path) -> None:
        server = EmbeddedPostgres(folder, settings=QUICK)
        connection = psycopg.connect(server.start())
        server.stop()
        # A server that waits for them is given another hint after a while.
        assert re.findall(r"received (\w+) shutdown", (folder / "log").read_text()) == ["fast"]
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
        connection.close()

    def test_ctrl_c_in_the_terminal_leaves_the_server_to_its_owner(
        self, folder: Path, start_owner: Callable[[], subprocess.Popen[str]]
    ) -> None:
        owner = start_owner()
        url_said_by(owner)
        os.killpg(owner.pid, signal.SIGINT)
        assert owner.communicate(timeout=PATIENCE)[0].strip() == "still there"
        assert owner.returncode == 0
        assert servers_of(folder) == []

    @pytest.mark.parametrize("hint", [signal.SIGKILL, signal.SIGHUP, signal.SIGTERM])
    def test_the_server_ends_by_itself_when_its_owner_was_killed(
        self, folder: Path, start_owner: Callable[[], subprocess.Popen[str]], hint: signal.Signals
    ) -> None:
        owner = start_owner()
        write(url_said_by(owner), "kept")
        owner.send_signal(hint)
        owner.wait()
        wait_until(lambda: servers_of(folder) == [], "the server has ended")
        assert "database system is shut down" in (folder / "log").read_text()

    def test_a_start_right_after_the_kill_gets_all_that_was_committed(
        self, folder: Path, start_owner: Callable[[], subprocess.Popen[str]]
    ) -> None:
        owner = start_owner()
        write(url_said_by(owner), "kept")
        owner.kill()
        owner.wait()
        with EmbeddedPostgres(folder, settings=QUICK) as url:
            assert ask(url, "SELECT text FROM note") == "kept"

    def test_a_server_that_outlived_owner_and_watchman_is_stopped_by_the_next_start(
        self, folder: Path, start_owner: Callable[[], subprocess.Popen[str]]
    ) -> None:
        orphan = self.orphaned(folder, start_owner())
        with EmbeddedPostgres(folder, settings=QUICK) as url:
            assert ask(url, "SELECT text FROM note") == "kept"
            assert not orphan.is_running()

    def test_a_server_killed_with_all_its_processes_recovers(
        self, folder: Path, start_owner: Callable[[], subprocess.Popen[str]]
    ) -> None:
        self.orphaned(folder, start_owner())
        for process in servers_of(folder):
            process.kill()
        with EmbeddedPostgres(folder, settings=QUICK) as url:
            assert ask(url, "SELECT text FROM note") == "kept"
        assert "automatic recovery in progress" in (folder / "log").read_text()

    def test_a_pid_file_whose_number_now_belongs_to_a_stranger_does_not_keep_it_from_starting(
        self, folder: Path
    ) -> None:
        with EmbeddedPostgres(folder, settings=QUICK) as url:
            write(url, "kept")
            left = (folder / "cluster" / "postmaster.pid").read_text().splitlines()
        stranger = subprocess.Popen(["sleep", "600"])
        (folder / "cluster" / "postmaster.pid").write_text("\n".join([str(stranger.pid), *left[1:]]) + "\n")
        with EmbeddedPostgres(folder, settings=QUICK) as url:
            assert ask(url, "SELECT text FROM note") == "kept"
        assert stranger.poll() is None
        stranger.kill()
        stranger.wait()

    def test_a_server_whose_data_was_deleted_is_gone_before_the_next_one_comes(
        self, folder: Path, start_owner: Callable[[], subprocess.Popen[str]]
    ) -> None:
        orphan = self.orphaned(folder, start_owner())
        shutil.rmtree(folder)
        with EmbeddedPostgres(folder, settings=QUICK) as url:
            assert ask(url, "SELECT count(*) FROM pg_tables WHERE tablename = 'note'") == 0
            assert not orphan.is_running()

    @staticmethod
    def orphaned(folder: Path, owner: subprocess.Popen[str]) -> psutil.Process:
        """A running server with one note in it, whose owner and watchman were killed."""
        write(url_said_by(owner), "kept")
        postmaster = next(child for child in psutil.Process(owner.pid).children() if child.name() == "postgres")
        watchman = next(child for child in psutil.Process(owner.pid).children() if child.name() == "sh")
        watchman.kill()
        owner.kill()
        owner.wait()
        assert postmaster.is_running()
        return postmaster


@as_root_only
class TestAsRoot:
    @pytest.fixture
    def private(self) -> Iterator[Path]:
        """A folder like /root: nobody but root may enter."""
        with tempfile.TemporaryDirectory(prefix="root") as made:
            yield Path(made)

    @staticmethod
    def working(private: Path) -> list[Disguise]:
        program = embedded_postgres._program("postgres")
        return [each for each in unprivileged.disguises() if unprivileged._try(each, program, private) is None]

    def test_every_disguise_that_this_machine_allows_runs_a_server_in_turn(
        self, private: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        working = self.working(private)
        assert working, "root is nothing but root here, and PostgreSQL cannot run"
        # One more than there are: the data changes hands between any two.
        for disguise in [*working, working[0]]:
            monkeypatch.setattr(unprivileged, "disguises", lambda disguise=disguise: iter([disguise]))
            with EmbeddedPostgres(private / "data" / "postgres", settings=QUICK) as url:
                write(url, disguise.name)
                assert postmaster_of(private / "data" / "postgres").uids().effective == disguise.uid
        with running(private / "data" / "postgres") as url:
            assert ask(url, "SELECT count(*) FROM note") == len(working) + 1

    def test_every_disguise_reaches_programs_that_lie_in_a_folder_of_root_alone(
        self, private: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        package = embedded_postgres._program("postgres").parents[2]
        for folder in (package / "pginstall18", package.with_name(f"{package.name}.libs")):
            target = private / folder.relative_to(package.parent)
            shutil.copytree(folder, target, symlinks=True, ignore=shutil.ignore_patterns("include"))
        programs = private / package.name / "pginstall18" / "bin"
        monkeypatch.setattr(embedded_postgres, "_program", lambda name: programs / name)
        for number, disguise in enumerate(self.working(private)):
            monkeypatch.setattr(unprivileged, "disguises", lambda disguise=disguise: iter([disguise]))
            # A cluster of its own for each: it is initdb that looks for the other programs.
            with EmbeddedPostgres(private / f"data-{number}", settings=QUICK) as url:
                assert ask(url, "SELECT 1") == 1

    def test_no_permission_above_the_data_changes(self, private: Path) -> None:
        folder = private / "data" / "postgres"
        folder.parent.mkdir()
        above = [*folder.parents, embedded_postgres._program("postgres"), Path("/root")]
        before = [(path.stat().st_mode, path.stat().st_uid) for path in above]
        with EmbeddedPostgres(folder, settings=QUICK) as url:
            assert ask(url, "SELECT 1") == 1
        assert [(path.stat().st_mode, path.stat().st_uid) for path in above] == before

    def test_a_home_directory_of_somebody_else_works_too(self, private: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        if len(self.working(private)) < 2:
            pytest.skip("this machine lets root keep no capability, and without one only the first way is there")
        os.chown(private, 12345, 12345)
        with EmbeddedPostgres(private / "postgres", settings=QUICK) as url:
            assert ask(url, "SELECT 1") == 1

    def test_where_no_disguise_works_it_says_what_was_tried(
        self, private: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broken = Disguise("user namespace", ("sh", "-c", "echo not permitted >&2; exit 1"), 0, 0)
        monkeypatch.setattr(unprivileged, "disguises", lambda: iter([broken]))
        with pytest.raises(
            NoWayToRunUnprivileged, match=r"as root, .* \(user namespace: not permitted\)\. Run this as"
        ):
            EmbeddedPostgres(private / "postgres", settings=QUICK).start()

    def test_an_ordinary_user_needs_none_of_this(
        self, folder: Path, start_owner: Callable[..., subprocess.Popen[str]]
    ) -> None:
        nobody = pwd.getpwnam("nobody")
        shutil.rmtree(folder)
        os.chown(folder.parent, nobody.pw_uid, nobody.pw_gid)
        identity = ("setpriv", "--reuid=nobody", f"--regid={nobody.pw_gid}", "--clear-groups")
        # So that this user can read the environment of these tests wherever it lies.
        eyes = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
        url = url_said_by(start_owner(*identity, *eyes))
        assert ask(url, "SELECT 1") == 1
        assert postmaster_of(folder).uids().effective == nobody.pw_uid
