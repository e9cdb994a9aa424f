"""Ends what a test run has started, however the run itself ended.

A process of its own, in a session of its own. It is told on standard input, a line each, what was started
("+ kind name") and what is gone again ("- kind name"). When its input closes, the run has finished, was interrupted or
was killed: what is left is ended and removed. Only the standard library, because it starts without site-packages to be
there at once.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time

_TERMINATE_SECONDS = 5.0
"""Seconds that processes are given between the signal of their choice and SIGKILL."""


def main() -> None:
    """Listen until the test run is over, then end what is left."""
    for polite in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(polite, signal.SIG_IGN)
    left = _listen()
    _remove_containers([name for kind, name in left if kind == "container"])
    _end_groups([name for kind, name in left if kind == "group"])
    for folder in (name for kind, name in left if kind == "folder"):
        shutil.rmtree(folder, ignore_errors=True)


def _listen() -> list[tuple[str, str]]:
    left: list[tuple[str, str]] = []
    for line in sys.stdin:
        sign, kind, name = line.rstrip("\n").split(" ", 2)
        if sign == "+":
            left.append((kind, name))
        elif (kind, name) in left:
            left.remove((kind, name))
    return left


def _remove_containers(names: list[str]) -> None:
    if names:
        subprocess.run(["docker", "rm", "--force", "--volumes", *names], check=False, stdout=subprocess.DEVNULL)


def _end_groups(names: list[str]) -> None:
    """End process groups, each named as "PGID SIGNAL": that signal first, SIGKILL for those who stay."""
    groups = [tuple(map(int, name.split())) for name in names]
    for group, ending in groups:
        _send(group, ending)
    deadline = time.monotonic() + _TERMINATE_SECONDS
    while time.monotonic() < deadline and any(_send(group, 0) for group, _ in groups):
        time.sleep(0.02)
    for group, _ in groups:
        _send(group, signal.SIGKILL)


def _send(group: int, number: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)
        return True
    return False


if __name__ == "__main__":
    main()
