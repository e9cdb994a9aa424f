"""The data: a cluster with one database in it."""

import shutil
import subprocess
from pathlib import Path
from typing import Final

from colophon.embedded_postgres import log, programs
from colophon.embedded_postgres.errors import DidNotStart, FolderUnusable, OtherVersion
from colophon.unprivileged import ServerUser

DATABASE: Final = "colophon"
ROLE: Final = "colophon"
SUPERUSER: Final = "postgres"


def create(cluster: Path, user: ServerUser, log_file: Path, *, durable: bool) -> None:
    """Makes a cluster with the database in it, all or nothing: it gets its name when it is complete.

    Raises DidNotStart.
    """
    unfinished = cluster.with_name("cluster.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    user.make_folder(unfinished)
    initdb = _run(
        user,
        programs.program("initdb"),
        f"--pgdata={unfinished}",
        f"--username={SUPERUSER}",
        "--auth-local=trust",
        "--auth-host=reject",
        "--encoding=UTF8",
        # Sorting that no upgrade of the operating system changes under an index.
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        *(() if durable else ("--no-sync",)),
    )
    _check(initdb, cluster, log_file)
    # The role is no superuser: what an intruder made the services say in SQL could not read files or run programs.
    statements = f"CREATE ROLE {ROLE} LOGIN;\nCREATE DATABASE {DATABASE} OWNER {ROLE};\n"
    options = ("-D", str(unfinished), f"--fsync={'on' if durable else 'off'}")
    single = _run(user, programs.program("postgres"), "--single", *options, SUPERUSER, stdin=statements)
    _check(single, cluster, log_file)
    unfinished.rename(cluster)


def check_version(cluster: Path) -> None:
    """Raises OtherVersion, or FolderUnusable where there is no cluster."""
    try:
        found = (cluster / "PG_VERSION").read_text().strip()
    except OSError as error:
        raise FolderUnusable(folder=cluster.parent, reason=f"{error.filename}: {error.strerror}") from error
    if found != str(programs.MAJOR_VERSION):
        raise OtherVersion(folder=cluster.parent, found=found, ours=programs.MAJOR_VERSION)


def _run(user: ServerUser, program: Path, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (*user.prefix, str(program), *arguments),
        check=False,
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=programs.environment(),
        cwd="/",
    )


def _check(done: subprocess.CompletedProcess[str], cluster: Path, log_file: Path) -> None:
    if done.returncode == 0 and "ERROR:" not in done.stdout:
        return
    with log.open_to_append(log_file) as file:
        file.write(done.stdout.encode())
    raise DidNotStart(folder=cluster.parent, reason=log.line_of_failure(done.stdout))
