"""The README's first session, run to the letter but for the ports."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.services import Colophon
from support.waiting import PATIENCE
from support.workspace import Workspace

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()

REST = "127.0.0.1:8000"
GRPC_PORT = "50051"

END_OF_COMMAND = "--- end of command ---"

# What differs from run to run: ids, times and durations.
CHANGING = (
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<uuid>"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", "<time>"),
    (r"datetime\.datetime\([^()]*\)", "<time>"),
    (r"in [\d.]+ s \([\d,]+ rows/s\)", "<speed>"),
)


def the_session() -> list[tuple[str, str]]:
    """The commands of the session, each with the output that the README shows."""
    blocks = re.findall(r"<!-- session -->\n```console\n(.*?)```", README, re.DOTALL)
    return [split(step) for block in blocks for step in re.split(r"^\$ ", block, flags=re.MULTILINE) if step.strip()]


def split(step: str) -> tuple[str, str]:
    """A command, to the end of its continuation lines or its here-document, and its output."""
    lines = step.splitlines(keepends=True)
    if "<<'END'\n" in lines[0]:
        length = lines.index("END\n") + 1
    else:
        length = next(number for number, line in enumerate(lines, 1) if not line.rstrip().endswith(("\\", "|")))
    return "".join(lines[:length]), "".join(lines[length:])


def in_general(output: str) -> str:
    for pattern, name in CHANGING:
        output = re.sub(pattern, name, output)
    return output.strip()


@pytest.fixture(scope="module")
def colophon(workspace: Workspace) -> Iterator[Colophon]:
    with Colophon(workspace) as service:
        yield service


def run_as_it_goes(steps: list[tuple[str, str]], colophon: Colophon) -> None:
    """Runs the commands in one shell, and asserts that each prints what the README shows."""
    script = "".join(f"{command}\necho '\n{END_OF_COMMAND}'\n" for command, _ in steps)
    for port, own in ((REST, colophon.url[7:]), (GRPC_PORT, str(colophon.grpc_port))):
        script = script.replace(port, own)
    # The one command that names no address asks where the service is by default.
    script = script.replace("colophon import", f"colophon import --url {colophon.url}")
    run = subprocess.run(
        ["bash", "-eu"], input=script, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    outputs = run.stdout.split(f"\n{END_OF_COMMAND}\n")
    assert outputs.pop() == "", run.stderr
    for (command, shown), printed in zip(steps, outputs, strict=True):
        assert in_general(printed) == in_general(shown), command


class TestTheReadme:
    def test_shows_a_session_as_it_goes(self, colophon: Colophon) -> None:
        *steps, last = the_session()
        assert len(steps) == 5
        assert "colophon import" in last[0]
        assert all(any(port in command for command, _ in steps) for port in (REST, GRPC_PORT))
        run_as_it_goes(steps, colophon)

    @pytest.mark.slow
    def test_shows_an_import_as_it_goes(self, workspace: Workspace) -> None:
        """Its 20,992 rows are the example's, and each is an event as well."""
        register, *_, load = the_session()
        with Colophon(workspace) as service:
            run_as_it_goes([register, load], service)

    def test_names_the_commands_that_there_are(self) -> None:
        makefile = (ROOT / "Makefile").read_text()
        named = set(re.findall(r"`make ([a-z-]+)`|^\$ make ([a-z-]+)", README, re.MULTILINE))
        targets = {one or other for one, other in named}
        assert targets >= {"run", "test", "test-unit"}
        for target in targets:
            assert f"\n{target}:" in makefile

    def test_shows_the_events_as_the_console_prints_them(self, colophon: Colophon) -> None:
        form = re.compile(
            r'^\S+ \S+Z  book\.(created|updated)  book 1 v[12]  ".+" by "George Eliot"  '
            r"actor \S+  event \S+  trace [0-9a-f]{32}$",
            re.MULTILINE,
        )
        assert len(form.findall(README)) == 2
        assert len(form.findall(colophon.output)) == 2
