"""Commands that are forked from a process which has imported everything do what their scripts do."""

import subprocess
import sys
from pathlib import Path

import pytest
from support.preloaded import PreloadedCommands

COMMANDS = [
    ("book-db", "check"),
    ("colophon", "access", "ann@example.org"),
    ("grpc-api", "serve"),
    ("rest-api", "relay"),
]

WRONG = {"DATABASE_URL": "nowhere"}


class TestACommand:
    @pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
    def test_says_what_its_script_says(
        self, commands: PreloadedCommands, command: tuple[str, ...], tmp_path: Path
    ) -> None:
        program, *arguments = command
        script = subprocess.run(
            [Path(sys.executable).with_name(program), *arguments],
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **WRONG},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        forked = commands.run(*command, environment=WRONG, folder=tmp_path)
        assert (forked.returncode, forked.stdout, forked.stderr) == (script.returncode, script.stdout, script.stderr)
        assert "DATABASE_URL" in forked.stderr

    def test_has_nothing_of_the_environment_of_the_tests(
        self, commands: PreloadedCommands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DATABASE_URL", "postgresql://somebody@somewhere/books")
        assert "DATABASE_URL: is not set" in commands.run("book-db", "check", environment={}, folder=tmp_path).stderr
