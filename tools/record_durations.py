"""Keeps what the tests of a release take: `tools/record_durations.py 0.2.0` after `make test` on a quiet machine.

It is shown beside the total of every later run, and decides which modules come first: tests/support/durations.py.
"""

import json
import sys

from support.durations import CACHED, RECORD, reference_seconds

LEAST = 0.5
"""Seconds of a module for which its place matters."""


def main() -> None:
    """Writes tests/durations.json."""
    last = json.loads((RECORD.parents[1] / ".pytest_cache" / "v" / CACHED).read_text())
    modules = {module: round(seconds, 1) for module, seconds in last["modules"].items() if seconds >= LEAST}
    record = {name: last[name] for name in ("tests", "seconds")}
    record |= {"release": sys.argv[1], "reference_seconds": round(reference_seconds(), 3), "modules": modules}
    RECORD.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
