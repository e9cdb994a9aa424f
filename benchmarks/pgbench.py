"""What PostgreSQL does by itself: pgbench with a script of ours."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from support.postgresql import INSTALLATION

from benchmarks.load import LoadFailed, Speed

_CLIENTS: Final = 8

_TWO_ROWS: Final = """
\\set number random(1, 1000000000)
BEGIN;
INSERT INTO books (title, author, publication_date, title_words, author_words, words_version)
VALUES ('Middlemarch', 'George Eliot', '1871-12-01', '{middlemarch}', '{george,eliot}', 1)
RETURNING id, created_at \\gset
INSERT INTO outbox (
    kind, actor, occurred_at, book_id, title, author, publication_date, version, created_at, updated_at
) VALUES (
    'created', gen_random_uuid(), now(), :id, 'Middlemarch', 'George Eliot', '1871-12-01', 1, now(), now()
);
COMMIT;
"""


@dataclass(frozen=True, slots=True)
class TwoRows:
    """A transaction that inserts a book and its event, by eight clients with prepared statements."""

    database_url: str
    folder: Path

    def run(self, seconds: float) -> Speed:
        script = self.folder / "two-rows.sql"
        script.write_text(_TWO_ROWS)
        command = [
            str(INSTALLATION / "bin" / "pgbench"),
            "-n",
            "-M",
            "prepared",
            f"-c{_CLIENTS}",
            "-j1",
            f"-T{seconds:.0f}",
            "-f",
            str(script),
        ]
        said = subprocess.run([*command, self.database_url], check=True, capture_output=True, text=True).stdout
        rate = re.search(r"tps = ([\d.]+)", said)
        if rate is None or "number of failed transactions: 0 " not in said:
            raise LoadFailed("pgbench", said)
        return Speed(float(rate[1]), None)
