"""A server runs where we are root, whom PostgreSQL refuses."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from colophon import unprivileged
from colophon.embedded_postgres import (
    EmbeddedPostgres,
    programs,
    running,
)
from colophon.unprivileged import NoWayToRunUnprivileged, ServerUser

from .servers import QUICK, ask, postmaster_of, url_said_by, write

as_root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be refused for being root")


@as_root_only
class TestAsRoot:
    @pytest.fixture
    def private(self) -> Iterator[Path]:
        """A folder like /root: nobody but root may enter."""
        with tempfile.TemporaryDirectory(prefix="root") as made:
            yield Path(made)

    @staticmethod
    def working(private: Path) -> list[ServerUser]:
        program = programs.program("postgres")
        return [each for each in unprivileged.candidates() if unprivileged._try(each, program, private) is None]

    def test_every_user_that_this_machine_allows_runs_a_server_in_turn(
        self, private: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        working = self.working(private)
        assert working, "root is nothing but root here, and PostgreSQL cannot run"
        # One more than there are: the data changes hands between any two.
        for user in [*working, working[0]]:
            monkeypatch.setattr(unprivileged, "candidates", lambda user=user: iter([user]))
            with EmbeddedPostgres(private / "data" / "postgres", settings=QUICK) as url:
                write(url, user.name)
                assert postmaster_of(private / "data" / "postgres").uids().effective == user.uid
        with running(private / "data" / "postgres") as url:
            assert ask(url, "SELECT count(*) FROM note") == len(working) + 1

    def test_every_user_reaches_programs_that_lie_in_a_folder_of_root_alone(
        self, private: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        package = programs.program("postgres").parents[2]
        for folder in (package / "pginstall18", package.with_name(f"{package.name}.libs")):
            target = private / folder.relative_to(package.parent)
            shutil.copytree(folder, target, symlinks=True, ignore=shutil.ignore_patterns("include"))
        copied = private / package.name / "pginstall18" / "bin"
        monkeypatch.setattr(programs, "program", lambda name: copied / name)
        for number, user in enumerate(self.working(private)):
            monkeypatch.setattr(unprivileged, "candidates", lambda user=user: iter([user]))
            # A cluster of its own for each: it is initdb that looks for the other programs.
            with EmbeddedPostgres(private / f"data-{number}", settings=QUICK) as url:
                assert ask(url, "SELECT 1") == 1

    def test_no_permission_above_the_data_changes(self, private: Path) -> None:
        folder = private / "data" / "postgres"
        folder.parent.mkdir()
        above = [*folder.parents, programs.program("postgres"), Path("/root")]
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

    def test_where_no_user_will_do_it_says_what_was_tried(self, private: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        broken = ServerUser("user namespace", ("sh", "-c", "echo not permitted >&2; exit 1"), 0, 0)
        monkeypatch.setattr(unprivileged, "candidates", lambda: iter([broken]))
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
