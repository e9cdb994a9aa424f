"""tools/check-contracts refuses what breaks others, on a copy of the contract in which somebody makes that change."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONTRACTS = "packages/book-contracts"
COPIED = ["buf.yaml", "buf.gen.yaml", "pyproject.toml", "tools", "docs/asyncapi.yaml", CONTRACTS]

BOOK = f"{CONTRACTS}/proto/books/v1/book.proto"
EVENT = f"{CONTRACTS}/proto/books/v1/book_event.proto"
SERVICE = f"{CONTRACTS}/proto/books/v1/book_service.proto"

COMMENT = r"(  //[^\n]*\n)+"
"""What stands above a field or an rpc, and goes with it."""


class Copy:
    """The contract and what guards it, for somebody to work on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        programs = Path(sys.executable).parent
        # No settings of git that a developer may have, nor the repository around this one.
        git = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CEILING_DIRECTORIES": str(folder.parent)}
        self._environment = os.environ | git | {"PATH": f"{programs}:{os.environ['PATH']}"}
        for path in COPIED:
            self._take(path)

    def _take(self, path: str) -> None:
        target = self._folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / path).is_dir():
            shutil.copytree(ROOT / path, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / path, target)

    def change(self, file: str, there: str, instead: str) -> None:
        text, count = re.subn(there, instead, (self._folder / file).read_text())
        assert count == 1
        (self._folder / file).write_text(text)

    def check(self) -> subprocess.CompletedProcess[str]:
        return self._run("tools/check-contracts")

    def do(self, *command: str) -> None:
        done = self._run(*command)
        assert done.returncode == 0, done.stderr

    def commit(self) -> None:
        who = ["-c", "user.name=Ann", "-c", "user.email=ann@example.org"]
        self.do("git", "add", ".")
        self.do("git", *who, "commit", "--quiet", "--message", "Change the contract")

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, check=False, cwd=self._folder, env=self._environment, capture_output=True, text=True
        )


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path / "copy")


class TestAChangeThatBreaksThoseOfTheLastRelease:
    @pytest.mark.parametrize(
        ("file", "there", "instead", "complaint"),
        [
            pytest.param(
                BOOK,
                rf"{COMMENT}  string author = 3;\n\n",
                "",
                'field "3" with name "author" on message "Book" was deleted',
                id="a-field-is-removed",
            ),
            pytest.param(
                EVENT,
                "string actor = 4;",
                "string actor = 6;",
                'field "4" with name "actor" on message "BookEvent" was deleted',
                id="a-field-is-renumbered",
            ),
            pytest.param(
                BOOK,
                "int64 version = 5;",
                "string version = 5;",
                'Field "5" with name "version" on message "Book" changed type from "int64" to "string"',
                id="a-field-changes-its-type",
            ),
            pytest.param(
                EVENT,
                "BOOK_EVENT_KIND_DELETED = 3;",
                "BOOK_EVENT_KIND_DELETED = 4;",
                'enum value "3" on enum "BookEventKind" was deleted',
                id="a-kind-of-event-is-renumbered",
            ),
            pytest.param(
                SERVICE,
                rf"{COMMENT}(  //\n{COMMENT})?  rpc GetBook\(.*\n\n",
                "",
                'RPC "GetBook" on service "BookService" was deleted',
                id="an-rpc-is-removed",
            ),
        ],
    )
    def test_is_refused(self, copy: Copy, file: str, there: str, instead: str, complaint: str) -> None:
        copy.change(file, there, instead)
        checked = copy.check()
        assert checked.returncode == 1
        assert complaint in checked.stdout
        assert "This breaks those who were built from the last release" in checked.stderr


class TestAChangeThatBreaksThoseOfMain:
    def test_is_refused_although_nobody_was_promised_it_in_a_release(self, copy: Copy) -> None:
        copy.do("git", "init", "--quiet", "--initial-branch", "main")
        copy.commit()
        copy.do("git", "switch", "--quiet", "--create", "a-branch")
        copy.change(SERVICE, rf"\n{COMMENT}(  //\n{COMMENT})?  rpc WatchBooks\(.*\n", "")
        copy.commit()
        checked = copy.check()
        assert checked.returncode == 1
        assert 'RPC "WatchBooks" on service "BookService" was deleted' in checked.stdout
        assert "last release" not in checked.stderr


class TestAFieldThatIsAdded:
    def test_is_accepted_when_everything_is_generated_anew(self, copy: Copy) -> None:
        there = r"(google.protobuf.Timestamp update_time = 7;\n)"
        copy.change(
            BOOK, there, r"\1\n  // The language it is written in. Empty when nobody knows.\n  string language = 99;\n"
        )
        assert "The generated code is not what the contracts generate" in copy.check().stderr
        copy.do("buf", "generate")
        checked = copy.check()
        assert checked.returncode == 1
        assert "+          string language = 99;" in checked.stdout, "the document is behind as well"
        assert "docs/asyncapi.yaml is not what the contract generates: run `make generate`." in checked.stderr
        copy.do("python", "tools/generate_asyncapi.py")
        checked = copy.check()
        assert checked.returncode == 0, checked.stderr
