"""Runs pytest in a process of its own, as a developer would, to see what it says and what it leaves behind."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.waiting import PATIENCE

_ROOT = Path(__file__).parents[2]

# Of all plugins that are installed, those that the settings of this repository name.
_QUICK_START = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "xdist.plugin,pytest_asyncio.plugin"}


@dataclass(frozen=True)
class Run:
    """A pytest process that has not ended yet, on test files of its own."""

    process: subprocess.Popen[str]

    def interrupt(self) -> None:
        """What Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)

    def output(self) -> str:
        """Wait for the end, and return all that was said."""
        return self.process.communicate(timeout=PATIENCE)[0]

    @property
    def status(self) -> int:
        return self.process.wait(timeout=PATIENCE)


class PytestInItsOwnProcess:
    """Writes test files and runs them with the plugin and the settings of this repository."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, content: str) -> None:
        (self.folder / name).write_text(textwrap.dedent(content))

    def start(
        self, *arguments: str, environment: Mapping[str, str] | None = None, started_by: Sequence[str] = ()
    ) -> Run:
        """`started_by` is a command that runs the one which follows it, as nohup does."""
        settings = ["-c", str(_ROOT / "pyproject.toml"), f"--rootdir={self.folder}", "-p", "no:cacheprovider"]
        process = subprocess.Popen(
            [*started_by, sys.executable, "-m", "pytest", "-p", "support.plugin", *settings, self.folder, *arguments],
            cwd=self.folder,
            env={**os.environ, **_QUICK_START, "PYTHONPATH": str(_ROOT / "tests"), **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return Run(process)


@pytest.fixture
def own_pytest(tmp_path: Path) -> PytestInItsOwnProcess:
    folder = tmp_path / "tests of another run"
    folder.mkdir()
    return PytestInItsOwnProcess(folder)
