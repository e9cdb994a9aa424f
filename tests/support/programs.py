"""Where the servers' programs are: on this machine, or in Docker."""

import functools
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

# Where packages put servers without putting the folder on everyone's PATH.
OUT_OF_THE_WAY = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")


class NotInstalled(Exception):
    """What the tests need is not on this machine; the message says how to get it."""


def find(name: str) -> Path | None:
    """The program of that name, or None."""
    found = shutil.which(name) or shutil.which(name, path=":".join(OUT_OF_THE_WAY))
    return Path(found) if found else None


@functools.cache
def docker_answers() -> bool:
    """Whether containers can be started here."""
    if find("docker") is None:
        return False
    asked = subprocess.run(["docker", "version"], check=False, capture_output=True, stdin=subprocess.DEVNULL)
    return asked.returncode == 0


def require(names: Iterable[str]) -> None:
    """Make sure that each of these servers can be started, as a program or as a container.

    Raises:
        NotInstalled: naming all that are missing, and what to do.
    """
    missing = sorted({name for name in names if find(name) is None})
    if missing and not docker_answers():
        raise NotInstalled(
            f"The selected tests need {' and '.join(missing)}, and there is no Docker to run them in. Install them with"
            " `apt-get install redis-server rabbitmq-server` or `brew install redis rabbitmq`, or start Docker."
            " `make test-unit` runs the tests that need no server."
        )
