"""POST against what PostgreSQL does by itself."""

from collections.abc import Iterator

from benchmarks.bench import Bench
from benchmarks.measuring import Comparison, Measurement
from benchmarks.pgbench import ONE_STATEMENT, TWO_INSERTS, TwoRows


def posts(bench: Bench) -> Iterator[Measurement]:
    """Both write the same two rows into the same tables, each time durably. The relay does not run: what is measured
    is the way to the answer, and pgbench has no relay either.
    """
    url, folder = bench.catalogue.database_url, bench.workspace.make_folder("pgbench")
    for against, at_least, transaction in (
        ("pgbench, the same two rows in a transaction, 8 clients", 0.50, TWO_INSERTS),
        ("pgbench, the same two rows by one statement, 8 clients", None, ONE_STATEMENT),
    ):
        baseline = TwoRows(url, folder, transaction)
        yield Comparison("POST with outbox", against, at_least, bench.adding(bench.rest), baseline, bench.rest)
