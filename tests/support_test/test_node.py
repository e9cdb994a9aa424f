"""The Node project of the tests and its packages."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.node import PROJECT, NodeProject, NotInstalledByNpm, install


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "package-lock.json").write_text("{}")
    return tmp_path


@pytest.fixture
def an_npm(tmp_path: Path) -> Callable[[str], Path]:
    """Stands in for npm, so that the test sees when it is called."""

    def write(script: str) -> Path:
        npm = tmp_path / "npm"
        npm.write_text(f"#!/bin/sh\n{script}\n")
        npm.chmod(0o755)
        return npm

    return write


CALL_NOTED = "sleep 0.1; mkdir -p node_modules; echo called >>calls"


class TestTheProject:
    def test_its_programs_find_the_packages_of_the_lock_file(self, node: NodeProject) -> None:
        locked = json.loads((PROJECT / "package-lock.json").read_text())["packages"]["node_modules/@grpc/grpc-js"]
        done = node.run("-p", "require('@grpc/grpc-js/package.json').version")
        assert done.stdout.strip() == locked["version"], done.stderr

    def test_the_lock_file_names_no_registry(self) -> None:
        packages = json.loads((PROJECT / "package-lock.json").read_text())["packages"]
        assert [name for name, package in packages.items() if "resolved" in package] == []

    def test_it_asks_for_exact_versions(self) -> None:
        project = json.loads((PROJECT / "package.json").read_text())
        wanted = {**project["dependencies"], **project["overrides"]}
        assert [version for version in wanted.values() if not version.replace(".", "").isdigit()] == []


class TestInstall:
    def test_of_several_processes_one_installs(self, project: Path, an_npm: Callable[[str], Path]) -> None:
        npm = an_npm(CALL_NOTED)
        with ThreadPoolExecutor() as threads:
            assert set(threads.map(lambda _: install(npm, project), range(4))) == {project / "node_modules"}
        assert (project / "calls").read_text().count("called") == 1

    def test_a_lock_file_that_changed_is_installed_again(self, project: Path, an_npm: Callable[[str], Path]) -> None:
        npm = an_npm(CALL_NOTED)
        install(npm, project)
        (project / "package-lock.json").write_text('{"other": true}')
        install(npm, project)
        assert (project / "calls").read_text().count("called") == 2

    def test_a_failure_is_told_in_the_words_of_npm(self, project: Path, an_npm: Callable[[str], Path]) -> None:
        with pytest.raises(NotInstalledByNpm, match="no such package"):
            install(an_npm("echo no such package; exit 1"), project)
        assert not (project / "node_modules").exists()
