"""How long tests take: the longest modules come first, and the total is shown beside that of the last release.

`tests/durations.json` has what the last release took, as `tools/record_durations.py` wrote it. What this run took is
left in pytest's cache, where `tools/check_durations.py` finds it.
"""

import json
import os
import time
from collections import defaultdict
from collections.abc import Generator
from pathlib import Path
from typing import Final

import pytest

RECORD: Final = Path(__file__).parents[1] / "durations.json"
"""Of the last release: its number and tests, the seconds of all, of each module, and of the reference work."""

CACHED: Final = "colophon/durations"
"""Of the last run: the same, but for the number, and the seconds of each test that is not slow."""

_SHARED: Final = "seconds until what several tests share was there"


class Durations:
    """A plugin of pytest. To start what several tests share takes no test's time, but that of its module."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._record = json.loads(RECORD.read_text())
        self._began = time.monotonic()
        self._waited = 0.0
        self._depth = 0
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._modules: defaultdict[str, float] = defaultdict(float)
        self._slow: set[str] = set()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Processes take modules from the front. What is not in the record is short."""
        seconds = self._record["modules"]
        items.sort(key=lambda item: -seconds.get(_module_of(item.nodeid), 0.0))

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[object]) -> Generator[None, object, object]:
        if fixturedef.scope == "function":
            return (yield)
        began, self._depth = time.monotonic(), self._depth + 1
        try:
            return (yield)
        finally:
            self._depth -= 1
            if not self._depth:
                self._waited += time.monotonic() - began

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if report.when == "setup":
            report.user_properties.append((_SHARED, self._waited))
            self._waited = 0.0
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[report.nodeid] += report.duration
        self._modules[_module_of(report.nodeid)] += report.duration
        if report.when == "setup":
            self._seconds[report.nodeid] -= float(str(dict(report.user_properties).get(_SHARED, 0.0)))
        if "slow" in report.keywords:
            self._slow.add(report.nodeid)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        took = time.monotonic() - self._began
        if self._config.pluginmanager.hasplugin("cacheprovider"):
            assert self._config.cache is not None
            self._config.cache.set(
                CACHED,
                {
                    "tests": len(self._seconds),
                    "seconds": round(took, 1),
                    "modules": {module: round(seconds, 2) for module, seconds in sorted(self._modules.items())},
                    "quick": {
                        test: round(seconds, 2) for test, seconds in self._seconds.items() if test not in self._slow
                    },
                },
            )
        terminalreporter.write_line(
            f"{len(self._seconds):,} tests in {took:,.0f} s; release {self._record['release']}:"
            f" {self._record['tests']:,} in {self._record['seconds']:,.0f} s"
        )


def reference_seconds() -> float:
    """Seconds for some work that is always the same: what times on two machines, or at two times, are compared by."""
    began = time.perf_counter()
    sum(number * number for number in range(5_000_000))
    return time.perf_counter() - began


def workers() -> int:
    """How many processes are to run tests: one more than there are cores, because tests wait for servers."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, 7) + 1


def _module_of(nodeid: str) -> str:
    return nodeid.partition("::")[0]
