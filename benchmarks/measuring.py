"""How a figure is taken: in rounds, the target and its baseline in turn."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import psutil  # type: ignore[import-untyped]  # psutil ships no types
from support.server import Server

from benchmarks.figures import Row, RunSize, Speed, Wanted, median_of


class Load(Protocol):
    """Something that can be measured for a while."""

    def run(self, seconds: float) -> Speed: ...


class Measurement(Protocol):
    """Something that gives rows of the table."""

    @property
    def what(self) -> str: ...

    def take(self, size: RunSize) -> Sequence[Row]: ...


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two loads that are measured in turn, and how much of the second's speed the first one is to reach.

    In turn, so that what else the machine does meets both. Of each round there is a ratio; the row has their median.
    """

    what: str
    against: str
    at_least: float | None
    target: Load
    baseline: Load
    answering: Server | None = None
    """The process whose memory is of interest."""
    takes_long: bool = False
    """Whether the loads end by themselves, and not after so many seconds."""

    def take(self, size: RunSize) -> Sequence[Row]:
        if size.warm_up and not self.takes_long:
            self.target.run(size.warm_up)
            self.baseline.run(size.warm_up)
        rounds = size.long_rounds if self.takes_long else size.rounds
        pairs = [(self._target(size.seconds), self.baseline.run(size.seconds)) for _ in range(rounds)]
        ratio = statistics.median(target.rate / baseline.rate for target, baseline in pairs)
        targets, baselines = zip(*pairs, strict=True)
        wanted = None if self.at_least is None else Wanted(self.at_least)
        return [Row(self.what, self.against, ratio, wanted, median_of(targets), median_of(baselines))]

    def _target(self, seconds: float) -> Speed:
        speed = self.target.run(seconds)
        return speed if self.answering is None else replace(speed, memory=megabytes(self.answering))


def megabytes(server: Server) -> float:
    """The resident memory of a process, in MB of 1,000,000 bytes."""
    return float(psutil.Process(server.pid).memory_info().rss) / 1_000_000
