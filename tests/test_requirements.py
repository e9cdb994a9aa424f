"""The requirements files stay in step with poetry.lock, and the lock with the members; checked without Poetry."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

_ROOT = Path(__file__).parents[1]
_MEMBERS = sorted(path.parent for path in _ROOT.glob("*/*/pyproject.toml"))
_TO_RUN = {"main", "rest", "grpc", "colophon"}
_ALL = _TO_RUN | {"dev"}

in_each_file = pytest.mark.parametrize(
    ("file", "groups"),
    [
        pytest.param("requirements.txt", _TO_RUN, id="requirements.txt"),
        pytest.param("requirements-dev.txt", _ALL, id="requirements-dev.txt"),
        pytest.param("apps/rest-api/requirements.txt", {"main", "rest"}, id="the image of rest-api"),
        pytest.param("apps/grpc-api/requirements.txt", {"main", "grpc"}, id="the image of grpc-api"),
    ],
)


class TestRequirements:
    @in_each_file
    def test_all_that_is_locked_is_pinned_and_nothing_else(self, file: str, groups: set[str]) -> None:
        locked = {_key(package): package["version"] for package in _locked() if groups & set(package["groups"])}
        assert _pins(file) == locked, "run `make lock`"

    @in_each_file
    def test_each_has_the_hashes_that_are_locked(self, file: str, groups: set[str]) -> None:
        locked = {
            _key(package): {each["hash"] for each in package["files"]}
            for package in _locked()
            if groups & set(package["groups"])
        }
        assert _hashes(file) == locked, "run `make lock`"
        assert all(locked.values())

    @in_each_file
    def test_the_members_are_installed_from_here(self, file: str, groups: set[str]) -> None:
        assert _members(file) == {f"./{path}" for path in _locked_members(groups)}

    @in_each_file
    def test_it_names_no_address(self, file: str, groups: set[str]) -> None:
        assert not re.search(r"://|@|--(extra-)?index-url|--find-links", _text(file))


class TestLock:
    def test_it_has_every_member(self) -> None:
        assert _locked_members(_ALL) == {str(member.relative_to(_ROOT)) for member in _MEMBERS}

    def test_it_satisfies_every_member(self) -> None:
        versions = {_key(package): package["version"] for package in _locked()}
        wanted = [Requirement(text) for member in _MEMBERS for text in _dependencies_of(member)]
        names = {member.name for member in _MEMBERS}
        outdated = [str(one) for one in wanted if one.name not in names and versions[one.name] not in one.specifier]
        assert outdated == [], "run `make lock`"

    def test_it_has_no_other_index_than_the_public_one(self) -> None:
        sources = {package["source"]["type"] for package in _read("poetry.lock")["package"] if "source" in package}
        assert sources == {"directory"}


def _locked() -> list[dict[str, Any]]:
    """All packages of the lock file but the members."""
    return [package for package in _read("poetry.lock")["package"] if "source" not in package]


def _locked_members(groups: set[str]) -> set[str]:
    """The paths of the members in these groups."""
    members = [package for package in _read("poetry.lock")["package"] if "source" in package]
    return {package["source"]["url"] for package in members if groups & set(package["groups"])}


def _dependencies_of(member: Path) -> list[str]:
    dependencies: list[str] = _read(str(member / "pyproject.toml"))["project"]["dependencies"]
    return dependencies


def _pins(file: str) -> dict[str, str]:
    pins = re.findall(r"^([\w.-]+)(?:\[[\w,-]+\])?==([^\s;]+)", _text(file), re.MULTILINE)
    return {name.lower(): version for name, version in pins}


def _hashes(file: str) -> dict[str, set[str]]:
    """Of each package."""
    requirements = re.split(r"(?<!\\)\n", _text(file))
    pinned = [one for one in requirements if "==" in one]
    return {re.split(r"[\[=]", one)[0].lower(): set(re.findall(r"--hash=(\S+)", one)) for one in pinned}


def _members(file: str) -> set[str]:
    return set(re.findall(r"^-e (\S+)$", _text(file), re.MULTILINE))


def _text(file: str) -> str:
    lines = (_ROOT / file).read_text().splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("#"))


def _read(file: str) -> dict[str, Any]:
    return tomllib.loads((_ROOT / file).read_text())


def _key(package: dict[str, Any]) -> str:
    name: str = package["name"]
    return name.lower()
