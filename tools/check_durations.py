"""Holds tests to their budget: `tools/check_durations.py` after `make test`.

A test without the marker `slow` may take five seconds on a quiet machine. One that took longer, beside others, is run
again alone, and fails this check if it takes longer then, too. A machine that is slower than that of the record, or
busy, is given as much more time as the reference work takes there.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any

from support.durations import CACHED, RECORD, reference_seconds

ROOT = Path(__file__).parents[1]

BUDGET = 5.0
"""Seconds."""

ATTEMPTS = 5


def main() -> int:
    """Returns 1 if a test takes too long."""
    try:
        last = _durations_in(ROOT / ".pytest_cache")
    except FileNotFoundError:
        last = {"quick": {}}
    if not last["quick"]:
        print("Nothing is known of tests without the marker slow: run `make test` first.")
        return 1
    suspects = [test for test, seconds in last["quick"].items() if seconds > BUDGET]
    too_long = list(_too_long(suspects))
    for test, seconds in too_long:
        print(f"{seconds:.1f} s alone, and {BUDGET:.0f} s is what a test without the marker slow may take: {test}")
    print(f"{len(last['quick']):,} tests within {BUDGET:.0f} s each, {len(suspects)} of them measured again alone.")
    return bool(too_long)


def _too_long(tests: list[str]) -> Iterator[tuple[str, float]]:
    for test in tests:
        attempts = (_measured_alone(test) for _ in range(ATTEMPTS))
        alone = list(takewhile(lambda seconds: seconds > BUDGET, attempts))
        if len(alone) == ATTEMPTS:
            yield test, min(alone)


def _measured_alone(test: str) -> float:
    """Seconds that it takes, or would on the machine of the record."""
    with tempfile.TemporaryDirectory() as cache:
        before = reference_seconds()
        subprocess.run([sys.executable, "-m", "pytest", "-q", "-o", f"cache_dir={cache}", test], cwd=ROOT, check=True)
        seconds: float = _durations_in(Path(cache))["quick"][test]
        then: float = json.loads(RECORD.read_text())["reference_seconds"]
        return seconds * then / max(before, reference_seconds())


def _durations_in(cache: Path) -> dict[str, Any]:
    """What support/durations.py left there."""
    durations: dict[str, Any] = json.loads((cache / "v" / CACHED).read_text())
    return durations


if __name__ == "__main__":
    sys.exit(main())
