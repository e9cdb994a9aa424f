"""The lock on a folder: its owner has the server."""

import fcntl
import os
import sys
from pathlib import Path
from typing import IO, Final

from colophon.embedded_postgres.errors import FolderInUse, FolderUnusable

MAX_FOLDER_BYTES: Final = 900
"""Of the folder's path. PostgreSQL's MAXPGPATH is 1,024; the rest is room for the names of its files."""


def lock(folder: Path) -> IO[str]:
    """Makes the folder where there is none, and takes its lock, which is held until the file is closed.

    Raises FolderInUse, which names the holder, and FolderUnusable.
    """
    if len(os.fsencode(folder)) > MAX_FOLDER_BYTES:
        raise FolderUnusable(folder=folder, reason=f"its path is longer than {MAX_FOLDER_BYTES} bytes")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.fdopen(os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600), "r+")
    except OSError as error:
        raise FolderUnusable(folder=folder, reason=error.strerror) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = file.read().strip() or "another process"
        file.close()
        raise FolderInUse(folder=folder, holder=holder) from error
    file.truncate()
    file.write(f"process {os.getpid()} ({_command()})")
    file.flush()
    return file


def _command() -> str:
    """What was typed to start this process: `colophon run`."""
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:2]])
