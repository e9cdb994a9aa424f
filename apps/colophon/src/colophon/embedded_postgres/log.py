"""The log: what the server says, in a file."""

import os
from pathlib import Path
from typing import IO, Final

MAX_LOG_BYTES: Final = 10 * 2**20
"""A larger one is put aside at the next start, in place of the one that was put aside before."""


def open_to_append(log: Path) -> IO[bytes]:
    """The file, which only its owner may read, or a new one where it has become too large."""
    if size_of(log) > MAX_LOG_BYTES:
        log.replace(log.with_name("log.previous"))
    return os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")


def size_of(log: Path) -> int:
    """In bytes; 0 if there is none."""
    return log.stat().st_size if log.exists() else 0


def read_from(log: Path, start: int) -> str:
    """What was written since the log had `start` bytes."""
    with log.open("rb") as file:
        file.seek(start if start <= MAX_LOG_BYTES else 0)
        return file.read().decode(errors="replace")


def line_of_failure(text: str) -> str:
    """The line that names the failure: the last FATAL or error, else the last one."""
    lines = [line for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if "FATAL:" in line or "ERROR:" in line or "error:" in line]
    return (telling or lines or [""])[-1].strip()
