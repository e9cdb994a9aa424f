"""`python -m benchmarks`: measures Colophon and its yardsticks in turn, and prints how they compare."""

import argparse
import statistics
from collections.abc import Sequence
from typing import Final, NamedTuple

from benchmarks.catalogue import a_catalogue
from benchmarks.comparisons import Comparison, comparisons
from benchmarks.load import Speed


class Extent(NamedTuple):
    """How much is measured."""

    books: int
    rounds: int
    seconds: float


_WHOLE: Final = Extent(books=100_000, rounds=5, seconds=5)
_QUICK: Final = Extent(books=10_000, rounds=1, seconds=1)


class Row(NamedTuple):
    """What came of a comparison: medians over the rounds."""

    comparison: Comparison
    target: Speed
    yardstick: Speed

    @property
    def ratio(self) -> float:
        return self.target.rate / self.yardstick.rate


def measure(comparison: Comparison, extent: Extent) -> Row:
    """In turn, so that what else the machine does meets both. A first, short round warms them up."""
    comparison.target.run(1)
    comparison.yardstick.run(1)
    pairs = [
        (comparison.target.run(extent.seconds), comparison.yardstick.run(extent.seconds)) for _ in range(extent.rounds)
    ]
    targets, yardsticks = zip(*pairs, strict=True)
    return Row(comparison, _median(targets), _median(yardsticks))


def _median(speeds: Sequence[Speed]) -> Speed:
    known = [speed.p99 for speed in speeds if speed.p99 is not None]
    return Speed(statistics.median(speed.rate for speed in speeds), statistics.median(known) if known else None)


def line_of(row: Row) -> str:
    """A line of a table in Markdown."""
    wanted, ratio = row.comparison.at_least, row.ratio
    verdict = "" if ratio >= wanted else " (missed)"
    p99 = "" if row.target.p99 is None else f"{row.target.p99 * 1_000:.1f} ms"
    return (
        f"| {row.comparison.what} | {row.comparison.against} | {row.target.rate:,.0f}/s | {p99} "
        f"| {row.yardstick.rate:,.0f}/s | {ratio:.2f} | {wanted:.2f}{verdict} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="see that everything runs; the figures mean nothing")
    parser.add_argument("--only", default="", help="measure what has this in its name")
    options = parser.parse_args()
    extent = _QUICK if options.quick else _WHOLE
    print("| what | against | Colophon | p99 | yardstick | ratio | at least |")
    print("|---|---|---|---|---|---|---|")
    with a_catalogue(extent.books) as catalogue, comparisons(catalogue) as wanted:
        for comparison in wanted:
            if options.only in comparison.what:
                print(line_of(measure(comparison, extent)), flush=True)


if __name__ == "__main__":
    main()
