"""The command book-db: what it says, and with what it exits."""

from collections.abc import Callable

import pytest
from book_db import cli
from sqlalchemy.engine import make_url
from support.data_layer import Query
from support.ports import free_port
from support.postgresql import PostgreSQLServer
from support.waiting import PATIENCE

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command on a database; returns its exit code and what it said."""

    def run(*arguments: str, url: str | None) -> tuple[int, str]:
        if url is None:
            monkeypatch.delenv("DATABASE_URL", raising=False)
        else:
            monkeypatch.setenv("DATABASE_URL", url)
        code = cli.main(list(arguments))
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


class TestUpgrade:
    def test_climbs_and_a_check_agrees(self, run: Run, empty_database_url: str) -> None:
        assert run("upgrade", url=empty_database_url)[0] == 0
        assert run("check", url=empty_database_url)[0] == 0

    def test_climbs_to_the_revision_that_is_named(self, run: Run, empty_database_url: str) -> None:
        assert run("upgrade", "0001", url=empty_database_url)[0] == 0
        code, said = run("check", url=empty_database_url)
        assert code == 2
        assert "not up to date" in said

    def test_waits_for_a_database_that_is_just_starting(
        self, run: Run, own_postgresql: PostgreSQLServer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        own_postgresql.stop()
        own_postgresql.launch()
        code, said = run("upgrade", "--wait", f"{PATIENCE:.0f}", url=own_postgresql.url)
        assert code == 0, said

    def test_of_a_database_that_does_not_come_says_so_while_it_waits_and_in_the_end(self, run: Run) -> None:
        url = f"postgresql://colophon:sesame@127.0.0.1:{free_port()}/books"
        code, said = run("upgrade", "--wait", "1", url=url)
        assert code == 1
        waiting, gave_up = said.splitlines()
        assert waiting.startswith("book-db: waiting for the database: ")
        assert gave_up.startswith("book-db: nothing was changed: ")
        assert "refused" in waiting
        assert "refused" in gave_up
        assert "sesame" not in said


class TestDowngrade:
    def test_steps_back(self, run: Run, database_url: str) -> None:
        assert run("downgrade", "base", url=database_url)[0] == 0
        assert run("upgrade", url=database_url)[0] == 0

    def test_to_a_revision_that_never_was_is_called_wrongly(self, run: Run, database_url: str) -> None:
        code, said = run("downgrade", "0815", url=database_url)
        assert code == 2
        assert "0815" in said


class TestCheck:
    def test_tells_of_drift(self, run: Run, database_url: str, query: Query) -> None:
        query("ALTER TABLE books ADD COLUMN shelf text")
        code, said = run("check", url=database_url)
        assert code == 1
        assert "shelf" in said


class TestDatabaseUrl:
    @pytest.mark.parametrize(
        ("url", "told"),
        [
            pytest.param(None, "DATABASE_URL: is not set", id="missing"),
            pytest.param("", "DATABASE_URL: is not set", id="empty"),
            pytest.param("mysql://colophon:sesame@localhost/books", "must start with postgresql://", id="of-mysql"),
            pytest.param("postgresql://colophon:ses@me/x@localhost/books", "it is not a URL", id="unescaped-password"),
            pytest.param("postgresql://colophon:sesame@localhost:port/books", "it is not a URL", id="port-in-letters"),
        ],
    )
    def test_that_is_wrong_is_told_with_an_example(self, run: Run, url: str | None, told: str) -> None:
        code, said = run("upgrade", url=url)
        assert code == 2
        assert told in said
        assert "for example postgresql://user:password@localhost:5432/database" in said
        assert "ses" not in said

    def test_with_an_option_that_the_driver_does_not_know_is_told(self, run: Run) -> None:
        code, said = run("upgrade", url="postgresql://colophon:sesame@127.0.0.1:1/books?shelf=3")
        assert (code, "shelf" in said, "sesame" in said) == (2, True, False)

    def test_with_a_wrong_password_is_told_without_it(self, run: Run, database_url: str) -> None:
        url = make_url(database_url).set(password="sesame").render_as_string(hide_password=False)
        code, said = run("upgrade", url=url)
        assert code == 2
        assert "password authentication failed" in said
        assert "sesame" not in said


class TestTheCommandLine:
    @pytest.mark.parametrize("arguments", [[], ["climb"], ["downgrade"]])
    def test_that_is_wrong_is_answered_with_the_usage(
        self, arguments: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit, match="2"):
            cli.main(arguments)
        assert "usage: book-db" in capsys.readouterr().err
