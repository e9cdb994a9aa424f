"""What PostgreSQL does by itself: pgbench with a script of ours."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from book_db.tables import WORDS_VERSION_OF_NEW

from benchmarks.figures import Speed, percentile
from benchmarks.load import LoadFailed
from benchmarks.postgres import output_of

_CLIENTS: Final = 8

TWO_INSERTS: Final = f"""
BEGIN;
INSERT INTO books (title, author, publication_date, title_words, author_words, words_version)
VALUES ('Middlemarch', 'George Eliot', '1871-12-01', '{{middlemarch}}', '{{eliot,george}}', {WORDS_VERSION_OF_NEW})
RETURNING id AS book_id, created_at
\\gset
INSERT INTO outbox (
    kind, actor, occurred_at, book_id, title, author, publication_date, version, created_at, updated_at
)
VALUES ('created', '6f8ba3b5-6fd4-4d2e-8c67-1a0a4b3b2c11', :created_at, :book_id, 'Middlemarch', 'George Eliot',
    '1871-12-01', 1, :created_at, :created_at);
COMMIT;
"""  # noqa: S608 - of constants

ONE_STATEMENT: Final = f"""
WITH written AS (
    INSERT INTO books (title, author, publication_date, title_words, author_words, words_version)
    VALUES ('Middlemarch', 'George Eliot', '1871-12-01', '{{middlemarch}}', '{{eliot,george}}', {WORDS_VERSION_OF_NEW})
    RETURNING id, title, author, publication_date, version, created_at, updated_at
)
INSERT INTO outbox (
    kind, actor, occurred_at, book_id, title, author, publication_date, version, created_at, updated_at
)
SELECT 'created', '6f8ba3b5-6fd4-4d2e-8c67-1a0a4b3b2c11', created_at,
    id, title, author, publication_date, version, created_at, updated_at
FROM written;
"""  # noqa: S608 - of constants


@dataclass(frozen=True, slots=True)
class TwoRows:
    """A transaction that inserts a book and its event, by eight clients with prepared statements."""

    database_url: str
    folder: Path
    transaction: str
    """One of the scripts above: as it is written mostly, or as Colophon does it, in one round trip instead of four."""

    def run(self, seconds: float) -> Speed:
        """Raises LoadFailed."""
        script = self.folder / "two-rows.sql"
        script.write_text(self.transaction)
        for old in self.folder.glob("log.*"):
            old.unlink()
        said = output_of(
            "pgbench",
            [
                "--no-vacuum", "--protocol=prepared", f"--client={_CLIENTS}", "--jobs=1", f"--time={seconds:.0f}",
                "--log", f"--log-prefix={self.folder / 'log'}", f"--file={script}", self.database_url,
            ],
        )  # fmt: skip
        times = sorted(time for log in self.folder.glob("log.*") for time in times_of_pgbench(log.read_text()))
        return Speed(rate_of_pgbench(said), percentile(times, 99))


def rate_of_pgbench(output: str) -> float:
    """Transactions a second, none of which may have failed. Raises LoadFailed."""
    rate = re.search(r"tps = ([\d.]+)", output)
    if rate is None or "number of failed transactions: 0 " not in output:
        raise LoadFailed("pgbench", output)
    return float(rate[1])


def times_of_pgbench(log: str) -> Iterable[float]:
    """Seconds that each transaction took: its line has client, number, microseconds and more."""
    return (int(line.split(" ", 3)[2]) / 1_000_000 for line in log.splitlines())
