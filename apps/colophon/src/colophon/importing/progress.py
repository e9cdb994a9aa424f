"""Progress of the import: a bar on a terminal, a line every ten seconds elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from colophon.importing.file_report import FileReport
from colophon.importing.rows import Table

SECONDS_BETWEEN_LINES: Final = 10.0
SECONDS_BETWEEN_FRAMES: Final = 0.1


@contextmanager
def shown(console: Console, table: Table, report: FileReport) -> Iterator[Callable[[], None]]:
    """A function to call after each row."""
    if console.is_terminal:
        with _bar(console) as bar:
            task = bar.add_task("", total=table.size or None)
            yield _now_and_then(
                SECONDS_BETWEEN_FRAMES,
                lambda: bar.update(task, completed=table.position, description=_counts(report)),
            )
            bar.update(task, completed=table.position, description=_counts(report))
    else:
        yield _now_and_then(SECONDS_BETWEEN_LINES, lambda: console.print(_counts(report), highlight=False))


def _bar(console: Console) -> Progress:
    return Progress(
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.description}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )


def _counts(report: FileReport) -> str:
    return f"{report.rows:,} rows, {report.accepted:,} books, {report.refused:,} refused"


def _now_and_then(seconds: float, act: Callable[[], None]) -> Callable[[], None]:
    due = time.monotonic() + seconds

    def maybe() -> None:
        nonlocal due
        now = time.monotonic()
        if now >= due:
            due = now + seconds
            act()

    return maybe
