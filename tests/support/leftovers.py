"""Whoever leaves something open fails, at its own end: files, sockets, connections, and processes.

What is forgotten in a reference cycle is found by garbage collection, which comes at any time, in any later test. So it
comes after each test here. What is still there then is left out of it from then on: to look through a million objects
takes longer than most tests.
"""

import gc
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # psutil ships no types
import pytest

from support.evidence import Servers


class LeftOpen(Exception):
    """This test, or a fixture that ends with it, has left open: {}."""

    def __init__(self, things: list[str]) -> None:
        super().__init__((LeftOpen.__doc__ or "").format("; ".join(things)))


class Leftovers:
    """A plugin of pytest."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._spawned = False
        self._known: set[psutil.Process] = set()
        """Processes of the run, or of a fixture of more than one test."""
        self._known_logs: set[Path] = set()
        """Of servers that are, which a test may start again."""
        # Of what is imported until the first test, a third of the time would go into looking for garbage.
        gc.disable()
        # To list processes takes milliseconds, and most tests start none.
        sys.addaudithook(self._hear)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self) -> None:
        self._known = _children()
        gc.freeze()
        gc.enable()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, None, None]:
        yield
        if isinstance(item, pytest.Function):
            item.funcargs.clear()
        with _unraisable() as things:
            gc.collect()
        gc.freeze()
        things += self._new_processes()
        if things:
            raise LeftOpen(things)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[object]) -> Generator[None, object, object]:
        if fixturedef.scope == "function":
            return (yield)
        children, logs = _children(), {*self._servers.logs.values()}
        try:
            return (yield)
        finally:
            self._known |= _children() - children
            self._known_logs |= {*self._servers.logs.values()} - logs

    def _new_processes(self) -> list[str]:
        if not self._spawned:
            return []
        new = {each for each in _children() - self._known if self._servers.logs.get(each.pid) not in self._known_logs}
        self._known |= new
        self._spawned = bool(new)
        return [_described(process) for process in new]

    def _hear(self, event: str, _: tuple[object, ...]) -> None:
        if event in ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn"):
            self._spawned = True


def _children() -> set[psutil.Process]:
    return set(psutil.Process().children())


def _described(process: psutil.Process) -> str:
    with suppress(psutil.Error):  # of one that has ended and was not waited for, little is known
        return f"process {process.pid}, {' '.join(process.cmdline())}"
    return f"process {process.pid}, which was not waited for"


@contextmanager
def _unraisable() -> Iterator[list[str]]:
    """What is raised in the block where nobody can catch it, as by what is collected."""
    said: list[str] = []
    before = sys.unraisablehook
    sys.unraisablehook = lambda hint: said.append(f"{hint.object!r}: {hint.exc_value}")
    try:
        yield said
    finally:
        sys.unraisablehook = before
