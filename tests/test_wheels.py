"""Each member leaves the monorepo as a wheel that works with what it declares and nothing else."""

import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import Distribution, distribution, packages_distributions
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
MEMBERS = {folder.name: folder for place in ("packages", "apps") for folder in sorted((ROOT / place).iterdir())}

IMPORT_EVERYTHING = """
import importlib, pkgutil, sys
sys.path[:0] = sys.argv[1:]
for name in {packages}:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, f"{{name}}."):
        # Alembic runs this one, inside of a migration.
        if module.name != "book_db.migrations.env":
            importlib.import_module(module.name)
"""


# What `python -m build` does for each, without a program and a folder of its own for each.
BUILD = """
import os, sys
from poetry.core.masonry import api
for folder in sys.argv[2:]:
    os.chdir(folder)
    api.build_wheel(sys.argv[1])
"""


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel of each member, unpacked into a folder of its own."""
    built = tmp_path_factory.mktemp("wheels")
    subprocess.run([sys.executable, "-c", BUILD, built, *MEMBERS.values()], check=True, capture_output=True)
    unpacked: dict[str, Path] = {}
    for wheel in built.glob("*.whl"):
        name = canonicalize_name(wheel.name.split("-")[0])
        unpacked[name] = tmp_path_factory.mktemp(name)
        with ZipFile(wheel) as archive:
            archive.extractall(unpacked[name])
    return unpacked


class TestAWheel:
    @pytest.mark.parametrize("member", MEMBERS)
    def test_imports_with_what_it_declares_alone(self, member: str, wheels: dict[str, Path], tmp_path: Path) -> None:
        siblings, others = closure(member)
        for dependency in others:
            link(dependency, tmp_path)
        places = [wheels[name] for name in (member, *siblings)]
        # -I and -S: nothing of this environment, only what is on the path here.
        done = subprocess.run(
            [
                sys.executable,
                "-I",
                "-S",
                "-c",
                IMPORT_EVERYTHING.format(packages=packages_of(member)),
                *places,
                tmp_path,
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    @pytest.mark.parametrize("member", MEMBERS)
    def test_tells_type_checkers_that_it_is_typed(self, member: str, wheels: dict[str, Path]) -> None:
        for package in packages_of(member):
            assert (wheels[member] / package / "py.typed").exists()

    def test_of_the_contracts_brings_the_contracts(self, wheels: dict[str, Path]) -> None:
        assert (wheels["book-contracts"] / "books" / "v1" / "book_service_pb2.py").exists()

    def test_of_the_data_layer_brings_the_migrations(self, wheels: dict[str, Path]) -> None:
        in_the_checkout = (MEMBERS["book-db"] / "src/book_db/migrations/versions").glob("*.py")
        in_the_wheel = (wheels["book-db"] / "book_db/migrations/versions").glob("*.py")
        assert {path.name for path in in_the_wheel} == {path.name for path in in_the_checkout}


def packages_of(member: str) -> list[str]:
    """The packages that the member's pyproject.toml names."""
    project = tomllib.loads((MEMBERS[member] / "pyproject.toml").read_text())
    return [package["include"] for package in project["tool"]["poetry"]["packages"]]


def closure(member: str) -> tuple[list[str], list[Distribution]]:
    """Everything a member needs, directly or not: the other members, and the distributions of this environment."""
    project = tomllib.loads((MEMBERS[member] / "pyproject.toml").read_text())["project"]
    siblings: list[str] = []
    others: dict[str, Distribution] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [Requirement(line) for line in project["dependencies"]]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        key = (name, frozenset(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        if name in MEMBERS:
            siblings.append(name)
            lines = tomllib.loads((MEMBERS[name] / "pyproject.toml").read_text())["project"]["dependencies"]
        else:
            others[name] = distribution(name)
            lines = others[name].requires or []
        waiting += applying(lines, requirement.extras)
    return siblings, list(others.values())


def applying(lines: list[str], extras: set[str]) -> Iterator[Requirement]:
    """The requirements that hold on this machine, and with these extras."""
    for line in lines:
        requirement = Requirement(line)
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield requirement


def link(dependency: Distribution, folder: Path) -> None:
    """Puts what was installed for a distribution into the folder, as links: of packages, or of files where it shares
    one with others."""
    inside = [file for file in dependency.files or () if file.parts[0] != ".."]
    for path in {Path(file.parts[0]) if is_of_one(file.parts[0]) else Path(file) for file in inside}:
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists():
            place.symlink_to(Path(str(dependency.locate_file(path))).resolve())


def is_of_one(name: str) -> bool:
    """Whether one distribution has all that is in the folder of this name, beside what others have installed."""
    return name.endswith(".dist-info") or len(set(owners().get(name, ()))) == 1


@cache
def owners() -> Mapping[str, list[str]]:
    return packages_distributions()
