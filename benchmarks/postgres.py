"""PostgreSQL's own programs: psql and pgbench, from where the server comes from."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from support.postgresql import INSTALLATION

from benchmarks.load import LoadFailed


def output_of(program: str, arguments: Sequence[str]) -> str:
    """What it said. Raises LoadFailed when it failed."""
    done = subprocess.run(
        [program_path(program), *arguments], check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        raise LoadFailed(program, done.stderr)
    return done.stdout


def program_path(program: str) -> Path:
    return INSTALLATION / "bin" / program
