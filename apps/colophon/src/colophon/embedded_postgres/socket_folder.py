"""The folder of the socket, which is the only way to the server."""

import os
import shutil
import socket
import tempfile
from pathlib import Path
from typing import Final
from urllib.parse import quote

from colophon.embedded_postgres.cluster import DATABASE, ROLE
from colophon.embedded_postgres.errors import FolderUnusable
from colophon.unprivileged import ServerUser

PORT: Final = 5432
"""In the name of the socket's file; nothing listens on this port of the network."""

MAX_SOCKET_FOLDER_BYTES: Final = 104 - len(f"/.s.PGSQL.{PORT}") - 1
"""Of its path. sun_path holds 104 bytes on macOS and 108 on Linux, with the file's name and a closing NUL."""

TEMPORARY_PREFIX: Final = "colophon-"
"""What socket folders among the temporary files are called."""


def make(folder: Path, user: ServerUser) -> Path:
    """A folder that only the server's user may enter: in `folder`, or where its path is too long for a socket, a fresh
    one among the temporary files. Raises FolderUnusable.
    """
    beside = folder / "socket"
    if _fits_a_socket(beside):
        # A lock file of a server that was killed would keep the next from listening, if its number is taken again.
        for left in beside.glob(".s.PGSQL.*"):
            left.unlink()
        return user.make_folder(beside)
    # mkdtemp makes it 0700 under a name that nobody could have taken before.
    made = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=_place_for_sockets(folder)))
    user.chown(made)
    return made


def remove(socket_folder: Path, folder: Path) -> None:
    """Removes it if it is among the temporary files."""
    if socket_folder.parent == folder or not socket_folder.name.startswith(TEMPORARY_PREFIX):
        return
    shutil.rmtree(socket_folder, ignore_errors=True)


def answers(socket_folder: Path) -> bool:
    """Whether a server listens there."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(socket_folder / f".s.PGSQL.{PORT}"))
        except OSError:
            return False
    return True


def url_of(socket_folder: Path, *, database: str = DATABASE, role: str = ROLE) -> str:
    """As libpq, psycopg and SQLAlchemy read it."""
    return f"postgresql://{role}@:{PORT}/{database}?host={quote(str(socket_folder), safe='/')}"


def in_a_setting(socket_folder: Path) -> str:
    """One path in a setting that takes a list of them."""
    return '"' + str(socket_folder).replace('"', '""') + '"'


def _place_for_sockets(folder: Path) -> Path:
    # TMPDIR may be deep itself. What is made in any of them is private.
    for place in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"):  # noqa: S108  # see above
        if place and os.access(place, os.W_OK) and _fits_a_socket(Path(place) / f"{TEMPORARY_PREFIX}12345678"):
            return Path(place)
    raise FolderUnusable(folder=folder, reason="no folder for temporary files has a path short enough for a socket")


def _fits_a_socket(folder: Path) -> bool:
    # libpq takes what stands before a comma for one host and what follows for another.
    return len(os.fsencode(folder)) <= MAX_SOCKET_FOLDER_BYTES and "," not in str(folder)
