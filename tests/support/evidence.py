"""What servers and processes have said while a test ran that failed: kept in a folder that the failure names."""

import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

_MAX_SHOWN_LINES = 20
"""Lines of each log that stand in the report itself."""


class Servers(Protocol):
    """All that a run has started."""

    @property
    def logs(self) -> Mapping[int, Path]:
        """Where each writes, by the number of its process."""


class Evidence:
    """What servers log, and what else was started, from the beginning of a test."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._said_before = {log: _size(log) for log in servers.logs.values()}

    def keep(self, folder: Path) -> Iterator[tuple[str, str]]:
        """Copy what was said since to this folder, and give for each log a heading, where it is, and its end."""
        for log in sorted({*self._servers.logs.values()}):
            said = _read(log, self._said_before.get(log, 0))
            if not said:
                continue
            kept = folder / f"{log.parent.name}-{log.name}"
            folder.mkdir(parents=True, exist_ok=True)
            kept.write_bytes(said)
            shown = said.decode(errors="replace").splitlines()[-_MAX_SHOWN_LINES:]
            yield f"what {log.parent.name} said, whole in {kept}", "\n".join(shown)


def folder_of(nodeid: str) -> str:
    """A name for a folder, of a test."""
    return re.sub(r"[^\w.-]+", "-", nodeid)[-200:].strip("-")


def forget(folder: Path) -> None:
    """Remove what an earlier run has kept."""
    shutil.rmtree(folder, ignore_errors=True)


def _size(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


def _read(log: Path, begin: int) -> bytes:
    if not log.exists():
        return b""
    with log.open("rb") as file:
        file.seek(begin)
        return file.read()
