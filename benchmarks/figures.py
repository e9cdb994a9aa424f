"""What is measured, and what is wanted of it."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class RunSize:
    """How much is measured."""

    books: int
    """In the catalogue that most is measured with."""
    few_books: int
    many_books: int
    """In the two catalogues that are compared for their size."""
    backlog: int
    imported: int | None
    """Books of the British Library; None for all."""
    pages: int
    """That are asked for in turn."""
    rounds: int
    long_rounds: int
    """Of what takes long each time."""
    seconds: float
    """Of a round."""
    warm_up: float
    """Seconds that are not counted, before the first round."""
    starts: int


WHOLE: Final = RunSize(
    books=100_000,
    few_books=10_000,
    many_books=5_000_000,
    backlog=100_000,
    imported=None,
    pages=1_000,
    rounds=9,
    long_rounds=3,
    seconds=3,
    warm_up=2,
    starts=7,
)
QUICK: Final = RunSize(
    books=10_000,
    few_books=2_000,
    many_books=20_000,
    backlog=2_000,
    imported=1_000,
    pages=100,
    rounds=1,
    long_rounds=1,
    seconds=1,
    warm_up=0,
    starts=1,
)


@dataclass(frozen=True, slots=True)
class Speed:
    """What was measured in one round, or the medians of several."""

    rate: float
    """Answers a second, or whatever else is counted."""
    p99: float | None = None
    """Seconds within which 99 of 100 were answered; None where that means nothing."""
    memory: float | None = None
    """Megabytes of the process that answered, after the round; None for what is no process of one's own."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a figure is to reach, or not to exceed."""

    figure: float
    unit: str = ""
    """Nothing for a ratio, of the speed to that of the baseline."""
    is_most: bool = False

    def is_met_by(self, figure: float) -> bool:
        return figure <= self.figure if self.is_most else figure >= self.figure


@dataclass(frozen=True, slots=True)
class Row:
    """A figure, and what it came from."""

    what: str
    against: str
    """The baseline, or nothing."""
    figure: float
    wanted: Wanted | None
    """None for what is there to be compared with, and no aim."""
    target: Speed | None = None
    baseline: Speed | None = None

    @property
    def is_met(self) -> bool:
        return self.wanted is None or self.wanted.is_met_by(self.figure)


def median_of(speeds: Iterable[Speed]) -> Speed:
    speeds = list(speeds)
    return Speed(
        statistics.median(speed.rate for speed in speeds),
        _median(speeds, lambda speed: speed.p99),
        _median(speeds, lambda speed: speed.memory),
    )


def _median(speeds: Sequence[Speed], figure_of: Callable[[Speed], float | None]) -> float | None:
    known = [figure for speed in speeds if (figure := figure_of(speed)) is not None]
    return statistics.median(known) if known else None


def percentile(sorted_figures: Sequence[float], of_a_hundred: int) -> float:
    """The figure that so many of a hundred do not exceed (the nearest rank)."""
    return sorted_figures[max(0, -(-len(sorted_figures) * of_a_hundred // 100) - 1)]
