"""Figures as lines of a table in Markdown."""

from typing import Final

from benchmarks.figures import Row, Speed

HEADER: Final = (
    "| What | Against | Colophon | p99 | Memory | Baseline | Figure | Wanted |\n|---|---|--:|--:|--:|--:|--:|---|"
)


def line_of(row: Row) -> str:
    cells = (
        row.what,
        row.against,
        _rate(row.target),
        "" if row.target is None or row.target.p99 is None else f"{row.target.p99 * 1_000:.1f} ms",
        "" if row.target is None or row.target.memory is None else f"{row.target.memory:.0f} MB",
        _rate(row.baseline),
        figure_of(row),
        wanted_of(row),
    )
    return f"| {' | '.join(cells)} |"


def figure_of(row: Row) -> str:
    return _with_unit(row.figure, row.wanted.unit if row.wanted else "")


def wanted_of(row: Row) -> str:
    if row.wanted is None:
        return ""
    direction = "at most" if row.wanted.is_most else "at least"
    verdict = "" if row.is_met else " (missed)"
    return f"{direction} {_with_unit(row.wanted.figure, row.wanted.unit)}{verdict}"


def _with_unit(figure: float, unit: str) -> str:
    if not unit:
        return f"{figure:.2f}"
    digits = 0 if abs(figure) >= 100 else 2 if unit == "s" else 1  # noqa: PLR2004  # three digits are enough
    return f"{figure:,.{digits}f} {unit}"


def _rate(speed: Speed | None) -> str:
    return "" if speed is None else f"{speed.rate:,.0f}/s"
