"""A server starts in any folder, or says why not."""

import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

import psycopg
import pytest
import sqlalchemy
from colophon.embedded_postgres import (
    DidNotStart,
    EmbeddedPostgres,
    FolderUnusable,
    OtherVersion,
)

from .servers import QUICK, ask, postmaster_of, servers_of, write


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
