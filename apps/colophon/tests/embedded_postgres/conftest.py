"""Folders for real servers: every test here runs some."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # psutil ships no types
import pytest
from colophon.embedded_postgres import (
    EmbeddedPostgres,
)
from support.waiting import PATIENCE
from support.workspace import Workspace

from .servers import OWNER, QUICK, servers_of


@pytest.fixture(scope="session")
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
