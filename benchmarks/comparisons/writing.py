"""POST against what PostgreSQL does by itself."""

from collections.abc import Iterator

from benchmarks.measuring import Comparison, Measurement
from benchmarks.pgbench import TwoRows
from benchmarks.stage import Stage


def posts(stage: Stage) -> Iterator[Measurement]:
    """Both write the same two rows into the same tables, each time durably. The relay does not run: what is measured
    is the way to the answer, and pgbench has no relay either.
    """
    yardstick = TwoRows(stage.catalogue.database_url, stage.workspace.make_folder("pgbench"))
    against = "pgbench, the same two rows, 8 clients"
    yield Comparison("POST with outbox", against, 0.50, stage.adding(stage.rest), yardstick, stage.rest)
