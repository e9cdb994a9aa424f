"""`make pin-images`, with a stand-in for the docker that would ask a registry."""

import re
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[1]

pin_images = SimpleNamespace(**runpy.run_path(str(ROOT / "tools" / "pin_images.py")))

ONE, OTHER = "sha256:" + "1" * 64, "sha256:" + "2" * 64


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The files of this project that name images, in a folder of their own."""
    for path in pin_images.files(ROOT):
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text())
    return tmp_path


def say(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str) -> None:
    """Puts a docker into the way that does as the script."""
    docker = folder / "bin" / "docker"
    docker.parent.mkdir(exist_ok=True)
    docker.write_text(f"#!/bin/sh\n{script}\n")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{docker.parent}:/usr/bin:/bin")


def text_of(project: Path) -> str:
    return "".join(path.read_text() for path in pin_images.files(project))


def test_every_image_of_others_gets_the_digest_behind_its_tag(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = pin_images.images(text_of(project))
    assert {"postgres:17", "rabbitmq:4", "redis:8", "python:3.13-slim", "debian:trixie-slim"} == named
    say(monkeypatch, project, f'[ "$3" = inspect ] && echo {ONE}')
    pin_images.main(project)
    lines = [line for line in text_of(project).splitlines() if re.match(r"\s*(image:|FROM) \S+:\S", line)]
    assert len(lines) == 8
    assert all(f"@{ONE}" in line for line in lines), lines


def test_a_digest_is_renewed_and_nothing_else_changed(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = text_of(project)
    for digest in (ONE, OTHER):
        say(monkeypatch, project, f"echo {digest}")
        pin_images.main(project)
    assert text_of(project).replace(f"@{OTHER}", "") == re.sub(r"@sha256:[0-9a-f]{64}", "", before)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        pytest.param("echo 'no such manifest' >&2; exit 1", "redis:8 stands for: no such manifest", id="it-fails"),
        pytest.param("echo nonsense", "docker said 'nonsense'", id="it-gives-no-digest"),
    ],
)
def test_where_one_is_not_known_nothing_is_written(
    project: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    before = text_of(project)
    say(monkeypatch, project, f'case "$4" in redis*) {script};; *) echo {ONE};; esac')
    with pytest.raises(SystemExit, match=said):
        pin_images.main(project)
    assert text_of(project) == before


def test_without_docker_it_says_so(project: Path) -> None:
    told = subprocess.run(
        [sys.executable, ROOT / "tools" / "pin_images.py"],
        env={"PATH": "/nowhere"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 1
    assert "there is no docker here" in told.stderr
