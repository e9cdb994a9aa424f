"""`python -m benchmarks`: measures Colophon and its baselines in turn, and prints how they compare."""

import argparse
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks import documents, results
from benchmarks.bench import Bench
from benchmarks.catalogue import a_catalogue
from benchmarks.figures import QUICK, WHOLE, Row, RunSize
from benchmarks.kinds import GROUPS, KINDS
from benchmarks.measuring import Measurement
from benchmarks.table import HEADER, line_of


class Run:
    """Measures, and keeps the figures of each kind when they are there."""

    def __init__(self, size: RunSize, folder: Path) -> None:
        self._size = size
        self._folder = folder
        self._began = time.monotonic()
        self.failed: list[str] = []

    def take(self, kinds: Sequence[str]) -> None:
        """Prints each row as well."""
        print(HEADER, flush=True)
        self._tell("servers and books")
        with a_catalogue(self._size.books) as catalogue, ExitStack() as stack:
            bench = Bench(catalogue, self._size, stack)
            for kind in kinds:
                self._take_kind(kind, KINDS[kind](bench))

    def _take_kind(self, kind: str, measurements: Iterator[Measurement]) -> None:
        taken: list[Row] = []
        with self._going_on_after(kind):
            for measurement in measurements:
                self._tell(measurement.what)
                with self._going_on_after(measurement.what):
                    rows = measurement.take(self._size)
                    taken += rows
                    print("\n".join(map(line_of, rows)), flush=True)
        if taken:
            results.keep(self._folder, {kind: taken}, list(KINDS))

    @contextmanager
    def _going_on_after(self, what: str) -> Iterator[None]:
        """Lets the other measurements go on when one fails."""
        try:
            yield
        except Exception:  # noqa: BLE001  # whatever it is, it is told, and the run fails in the end
            self.failed.append(what)
            self._tell(f"{what} FAILED\n{traceback.format_exc()}")

    def _tell(self, what: str) -> None:
        print(f"{time.monotonic() - self._began:5.0f} s  {what}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="see that everything runs; the figures mean nothing")
    names = [*KINDS, *GROUPS]
    parser.add_argument("--only", action="append", choices=names, metavar="KIND", help=f"one of {', '.join(names)}")
    parser.add_argument("--docs", action="store_true", help="renew docs/benchmarks.md and its picture")
    options = parser.parse_args()
    if options.quick and options.docs:
        parser.error("the figures of the quick form mean nothing, least of all to readers of the docs")
    folder = results.QUICK if options.quick else results.FOLDER
    run = Run(QUICK if options.quick else WHOLE, folder)
    wanted = {kind for name in options.only or KINDS for kind in GROUPS.get(name, (name,))}
    run.take([kind for kind in KINDS if kind in wanted])
    kept = results.kept(folder)
    documents.draw(kept, folder)
    if options.docs:
        documents.renew(kept)
    if run.failed:
        sys.exit(f"Not measured: {', '.join(run.failed)}")


if __name__ == "__main__":
    main()
