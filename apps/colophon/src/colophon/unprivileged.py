"""Ways to run a program that refuses root, when we are root.

PostgreSQL does not run as root, and its initdb wants a user with a name. `colophon run` still has to work as root (a
container, a server's first hour), from a checkout under /root that nobody else may enter, and without touching what
is not its own: no new system user, no changed permission on a folder above the data, no second copy of 38 MB of
programs. So the program runs as a user that it accepts, the first of these that works here:

1. A user namespace in which root itself bears the name of an ordinary user. The program sees an unprivileged user and
   has no capability outside; to the kernel its files are root's, so it may enter /root like root, and nothing on
   disk ever belongs to anyone else.
2. The account "nobody" with one capability kept, to read and search any folder. For places where user namespaces are
   forbidden (a Docker container) or where root's own permissions are not enough (a home directory of somebody else).
   What the program writes belongs to nobody then.
3. The same with the stronger capability to overrule permissions, the only one of the two that Docker leaves to root.

A user without a name (`docker run --user 12345`) gets the first one too. Everyone else runs programs as they are.

As the first and the third of them the program may write what root may write. Whoever uses it keeps that power from
strangers: the services connect as a role that is no superuser of the database, which can reach no file.
"""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from book_runtime.errors import DocumentedError

NOBODY: Final = "nobody"


class NoWayToRunUnprivileged(DocumentedError):
    """PostgreSQL does not run as {who}, and no way around it works on this machine ({tried}).

    Run this as an ordinary user instead.
    """

    def __init__(self, who: str, tried: str) -> None:
        self.who = who
        self.tried = tried


@dataclass(frozen=True)
class ServerUser:
    """The user that a program runs as: `prefix` goes before its arguments, and `uid` and `gid` own its files."""

    name: str
    prefix: tuple[str, ...]
    uid: int
    gid: int

    def make_folder(self, path: Path) -> Path:
        """A folder that nobody else may enter."""
        path.mkdir(mode=0o700, exist_ok=True)
        path.chmod(0o700)
        self.chown(path)
        return path

    def chown(self, path: Path) -> None:
        """Makes a file, or a folder with all in it, belong to this user, if it does not yet."""
        if path.lstat().st_uid == self.uid:
            return
        for entry in (path, *path.rglob("*")):
            os.chown(entry, self.uid, self.gid, follow_symlinks=False)


def current_user() -> ServerUser:
    """The user of this process, and nothing before the arguments."""
    return ServerUser("none", (), os.geteuid(), os.getegid())


def needed() -> bool:
    """Whether the present user is one that PostgreSQL's programs refuse."""
    return os.geteuid() == 0 or not _has_a_name(os.geteuid())


def choose(*, reads: Path, writes: Path) -> ServerUser:
    """The first user as which the program `reads` runs and the folder `writes` can be written.

    Raises NoWayToRunUnprivileged, which names what was tried and why it failed.
    """
    if not needed():
        return current_user()
    failures = []
    for user in candidates():
        failure = _try(user, reads, writes)
        if failure is None:
            return user
        failures.append(f"{user.name}: {failure}")
    raise NoWayToRunUnprivileged(_who(), "; ".join(failures) or f"there is no user {NOBODY}")


def candidates() -> Iterator[ServerUser]:
    """All that might work, the least intrusive first."""
    try:
        nobody = pwd.getpwnam(NOBODY)
    except KeyError:
        return
    yield ServerUser(
        "user namespace",
        ("unshare", "--user", f"--map-user={nobody.pw_uid}", f"--map-group={nobody.pw_gid}", "--"),
        os.geteuid(),
        os.getegid(),
    )
    if os.geteuid() != 0:
        return
    # initdb asks access(2) whether it may run postgres. That call passes over the capabilities of whoever is not root,
    # unless this bit is set; after the exec the one that is named below is still the only one left.
    identity = (
        *("setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"),
        "--securebits=+no_setuid_fixup",
    )
    for capability in ("dac_read_search", "dac_override"):
        yield ServerUser(
            f"nobody with {capability}",
            (*identity, f"--inh-caps=+{capability}", f"--ambient-caps=+{capability}", "--"),
            nobody.pw_uid,
            nobody.pw_gid,
        )


# PostgreSQL looks the folder up by its absolute name, so the trial does as well.
_TRIAL: Final = 'test "$(id -u)" -ne 0 && "$1" --version >/dev/null && touch "$2/trial" && rm "$2/trial"'


def _try(user: ServerUser, program: Path, folder: Path) -> str | None:
    """Why the program cannot run as this user, or None."""
    ground = folder / "trial.d"
    ground.mkdir(mode=0o700, exist_ok=True)
    try:
        user.chown(ground)
        trial = subprocess.run(
            (*user.prefix, "sh", "-c", _TRIAL, "sh", str(program), str(ground)),
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            cwd="/",
        )
    except OSError as error:
        return str(error)
    finally:
        shutil.rmtree(ground)
    if trial.returncode == 0:
        return None
    return " ".join(trial.stderr.split()) or f"exit code {trial.returncode}"


def _has_a_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _who() -> str:
    return "root" if os.geteuid() == 0 else f"user {os.geteuid()}, who has no name"
