"""How PostgreSQL reads the log for those who come back, on a log of 100,000 events."""

import re
from collections.abc import Iterator
from typing import Any, Final

import psycopg
import pytest
from book_db.events.log import (
    _AFTER,
    _AMONG,
    _OF_FEW_BOOKS,
    _SELECTIVE_MAX_BOOKS,
    _SELECTIVE_WINDOW_POSITIONS,
    _WINDOW_POSITIONS,
)
from sqlalchemy import TextClause
from support.postgresql import PostgreSQLServer

EVENTS: Final = 100_000
AT_MOST: Final = 500

# As in life: a few books are changed all the time, and most of them once.
FILL: Final = f"""
    SELECT setseed(0.5);
    INSERT INTO event_log (event_id, kind, actor, occurred_at, book_id, version, title, author, publication_date)
    SELECT gen_random_uuid(), 'updated', 'somebody', now(), CAST(exp(random() * 10) AS bigint), 1, 'A title',
        'Author ' || CAST(exp(random() * 8) AS bigint), '1871-12-01'
    FROM generate_series(1, {EVENTS}) AS number;
"""  # noqa: S608 - of constants

MOST_READ: Final = {
    "everything": AT_MOST,
    "an author": _WINDOW_POSITIONS,
    "300 books": _WINDOW_POSITIONS,
    "few books": (_SELECTIVE_MAX_BOOKS + 1) * AT_MOST,
}
"""Rows that may be looked at for one page, however long the log is."""


BOOKS: Final = {
    "everything": [],
    "an author": [],
    "300 books": range(1, 301),
    "few books": range(1, _SELECTIVE_MAX_BOOKS + 1),
}


@pytest.fixture(scope="module")
def long_log(postgresql: PostgreSQLServer, migrated_template: str) -> Iterator[psycopg.Connection]:
    name = postgresql.create_database(template=migrated_template)
    with psycopg.connect(postgresql.url_of(name), autocommit=True) as connection:
        connection.execute(FILL.encode())
        connection.execute("VACUUM ANALYZE event_log")
        yield connection
    postgresql.drop_database(name)


def nodes_of(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes_of(below)


class TestAPage:
    @pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
    @pytest.mark.parametrize("after", [pytest.param(0, id="from-the-beginning"), pytest.param(90_000, id="from-late")])
    @pytest.mark.parametrize(
        ("statement", "meant", "window"),
        [
            pytest.param(_AFTER, "everything", EVENTS, id="everything"),
            pytest.param(_AMONG, "an author", _WINDOW_POSITIONS, id="author"),
            pytest.param(_AMONG, "300 books", _WINDOW_POSITIONS, id="books"),
            pytest.param(_OF_FEW_BOOKS, "few books", _SELECTIVE_WINDOW_POSITIONS, id="few-books"),
        ],
    )
    def test_looks_at_few_events_in_indexes_alone(
        self, long_log: psycopg.Connection, statement: TextClause, meant: str, window: int, after: int, mode: str
    ) -> None:
        given = {
            "after": str(after),
            "until": str(after + window),
            "at_most": str(AT_MOST),
            "author": "'Author 2500'" if meant == "an author" else "''",
            "book_ids": "'{" + ",".join(map(str, BOOKS[meant])) + "}'",
        }
        names = list(dict.fromkeys(re.findall(r"(?<!:):(\w+)", statement.text)))
        types = {"author": "text", "book_ids": "bigint[]"}
        prepared = re.sub(r"(?<!:):(\w+)", lambda found: f"${names.index(found[1]) + 1}", statement.text)
        declared = ", ".join(types.get(name, "bigint") for name in names)
        long_log.execute(
            f"SET plan_cache_mode = {mode}; DEALLOCATE ALL; PREPARE page ({declared}) AS {prepared}".encode()
        )
        execute = f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE page ({', '.join(given[name] for name in names)})"
        [[explained]] = long_log.execute(execute.encode()).fetchall()
        nodes = list(nodes_of(explained[0]["Plan"]))
        scans = [node for node in nodes if node.get("Relation Name") == "event_log"]
        assert "Seq Scan" not in {node["Node Type"] for node in nodes}
        looked_at = sum(
            (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"] for node in scans
        )
        print(f"{meant}, after {after:,}, {mode}: {looked_at:,.0f} looked at, {explained[0]['Execution Time']:.1f} ms")
        assert looked_at <= MOST_READ[meant] * 1.01
