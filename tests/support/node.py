"""The Node project of the tests, tests/node: programs in another language, and the packages that they need."""

import fcntl
import hashlib
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from support.waiting import PATIENCE

PROJECT = Path(__file__).parents[1] / "node"


class NodeProject:
    """The programs of tests/node, which find their packages beside them."""

    def __init__(self, program: Path) -> None:
        self.program = program
        self.folder = PROJECT

    def run(
        self, script: str, *arguments: str | Path, environment: Mapping[str, str] | None = None, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run one of the programs to its end, whatever its status."""
        return subprocess.run(
            [self.program, script, *arguments],
            check=False,
            cwd=self.folder,
            env=os.environ | (environment or {}),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )


def install(npm: Path, project: Path = PROJECT) -> Path:
    """Install what the project's lock file names, unless that is there already, and return the folder of packages.

    Several processes may ask at once: one installs, and the others wait for it.

    Raises:
        NotInstalledByNpm: with what npm said.
    """
    packages = project / "node_modules"
    installed = packages / ".installed-from"
    with (project / "package-lock.json").open("rb") as lock_file:
        fcntl.flock(lock_file, fcntl.LOCK_EX)
        wanted = hashlib.sha256(lock_file.read()).hexdigest()
        if not installed.exists() or installed.read_text() != wanted:
            _npm_ci(npm, project)
            installed.write_text(wanted)
    return packages


def _npm_ci(npm: Path, project: Path) -> None:
    done = subprocess.run(
        [npm, "ci", "--prefer-offline"],
        check=False,
        cwd=project,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise NotInstalledByNpm(project, done.stdout)


class NotInstalledByNpm(Exception):
    """npm could not install the packages of a project."""

    def __init__(self, project: Path, said: str) -> None:
        super().__init__(f"`npm ci` failed in {project}:\n{said}")
