"""Where the programs are that tests start: servers on this machine or in Docker, a browser, and clients."""

import functools
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

# Where packages put servers without putting the folder on everyone's PATH.
OUT_OF_THE_WAY = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")

CHROMIUM = "chromium"
NODE = "node"
NPM = "npm"
PGBOUNCER = "pgbouncer"
CURL = "curl"
JAVAC = "javac"
GO = "go"

_NO_SERVERS = (CHROMIUM, NODE, NPM, PGBOUNCER, CURL, JAVAC, GO)
"""What is not run in Docker where it is missing."""

_OTHER_CLIENTS = {
    CURL: ("curl", "curl"),
    JAVAC: ("default-jdk-headless", "openjdk"),
    GO: ("golang-go", "go"),
}
"""The packages that they come with, of Debian and of Homebrew."""

_OTHER_NAMES = {
    CHROMIUM: (
        "chromium-browser",
        "google-chrome",
        "google-chrome-stable",
        "/Applications/Chromium.app/Contents/MacOS/Chromium",
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    ),
    NODE: ("nodejs",),
}


class NotInstalled(Exception):
    """What the tests need is not on this machine; the message says how to get it."""


def find(name: str) -> Path | None:
    """The program of that name or of another one that it goes by, or None."""
    for each in (name, *_OTHER_NAMES.get(name, ())):
        if found := shutil.which(each) or shutil.which(each, path=":".join(OUT_OF_THE_WAY)):
            return Path(found)
    return None


@functools.cache
def docker_answers() -> bool:
    """Whether containers can be started here."""
    if find("docker") is None:
        return False
    asked = subprocess.run(["docker", "version"], check=False, capture_output=True, stdin=subprocess.DEVNULL)
    return asked.returncode == 0


def require(names: Iterable[str]) -> None:
    """Make sure that each of these can be started: servers as programs or as containers, the others as programs.

    Raises:
        NotInstalled: naming all that are missing, and what to do.
    """
    missing = sorted({name for name in names if find(name) is None})
    servers = [name for name in missing if name not in _NO_SERVERS]
    advice = []
    if servers and not docker_answers():
        advice.append(
            f"The selected tests need {' and '.join(servers)}, and there is no Docker to run them in. Install them with"
            " `apt-get install redis-server rabbitmq-server` or `brew install redis rabbitmq`, or start Docker."
        )
    if CHROMIUM in missing:
        advice.append(
            "The selected tests need Chromium, to open the page of the API. Install it with `apt-get install chromium`"
            " or `brew install --cask google-chrome`."
        )
    if NODE in missing or NPM in missing:
        advice.append(
            "The selected tests need Node 18 or newer and npm, for a client in another language and for the parser of"
            " AsyncAPI documents. Install them with `apt-get install nodejs npm` or `brew install node`."
        )
    if PGBOUNCER in missing:
        advice.append(
            "The selected tests need PgBouncer, a pooler of connections to PostgreSQL. Install it with"
            " `apt-get install pgbouncer` or `brew install pgbouncer`."
        )
    if clients := [name for name in missing if name in _OTHER_CLIENTS]:
        debian, brew = (" ".join(packages) for packages in zip(*map(_OTHER_CLIENTS.__getitem__, clients), strict=True))
        advice.append(
            f"The selected tests need {' and '.join(clients)}, to call the API as people do. Install them with `apt-get"
            f" install {debian}` or `brew install {brew}`."
        )
    if advice:
        raise NotInstalled(" ".join([*advice, "`make test-unit` runs the tests that need no server."]))
