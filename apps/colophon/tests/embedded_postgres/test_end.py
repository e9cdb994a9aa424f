"""A server has one owner, and ends with it."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # psutil ships no types
import psycopg
import pytest
from colophon.embedded_postgres import (
    EmbeddedPostgres,
    FolderInUse,
    running,
)
from colophon.embedded_postgres.lock import lock
from support.waiting import PATIENCE, wait_until

from .servers import QUICK, ask, servers_of, url_said_by, write


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
        held = lock(folder)
        with pytest.raises(FolderInUse), running(folder, patience=0.1):
            pass
        held.close()


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

    def test_a_server_that_outlived_owner_and_watchdog_is_stopped_by_the_next_start(
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
        """A running server with one note in it, whose owner and watchdog were killed."""
        write(url_said_by(owner), "kept")
        postmaster = next(child for child in psutil.Process(owner.pid).children() if child.name() == "postgres")
        watchdog = next(child for child in psutil.Process(owner.pid).children() if child.name() == "sh")
        watchdog.kill()
        owner.kill()
        owner.wait()
        assert postmaster.is_running()
        return postmaster
