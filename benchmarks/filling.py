"""Books by the million for a catalogue, as quickly as PostgreSQL takes them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg
from book_db.tables import WORDS_VERSION_OF_NEW

_BOOKS: Final = f"""
    INSERT INTO books (title, author, publication_date, title_words, author_words, words_version)
    SELECT title, author, DATE '1800-01-01' + number %% 80000,
        string_to_array(lower(title), ' '), string_to_array(lower(author), ' '), {WORDS_VERSION_OF_NEW}
    FROM generate_series(1, %s) AS number,
        LATERAL (SELECT 'The Book of Number ' || number AS title, 'Author ' || number %% 997 AS author) AS made
"""  # noqa: S608 - of constants

# Nothing of this is in force when it is measured.
_QUICKLY: Final = (
    "SET synchronous_commit = off",
    "SET maintenance_work_mem = '1GB'",
    "SET max_parallel_maintenance_workers = 2",
)
_FEW_CHECKPOINTS: Final = ("ALTER SYSTEM SET max_wal_size = '16GB'", "SELECT pg_reload_conf()")
_AS_BEFORE: Final = ("ALTER SYSTEM RESET max_wal_size", "SELECT pg_reload_conf()", "VACUUM ANALYZE", "CHECKPOINT")

_PRIMARY_KEY: Final = """
    SELECT format('ALTER TABLE books DROP CONSTRAINT %I', conname),
        format('ALTER TABLE books ADD CONSTRAINT %I %s', conname, pg_get_constraintdef(oid))
    FROM pg_constraint WHERE conrelid = 'books'::regclass AND contype = 'p'
"""
_INDEXES: Final = """
    SELECT format('DROP INDEX %I', relname), pg_get_indexdef(indexrelid)
    FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
    WHERE indrelid = 'books'::regclass AND NOT indisprimary
"""


def fill(url: str, books: int) -> None:
    """Puts so many books into a catalogue that has none; nobody is told of them.

    Their indexes are made when the books are there: to keep ten of them up to date book by book takes ten times as
    long. What comes of it is the same table, with each index a little smaller than if it had grown.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        _execute(connection, *_QUICKLY, *_FEW_CHECKPOINTS)
        with _without_indexes(connection):
            connection.execute(_BOOKS, [books])
        _execute(connection, *_AS_BEFORE)


@contextmanager
def _without_indexes(connection: psycopg.Connection) -> Iterator[None]:
    known = [*connection.execute(_PRIMARY_KEY).fetchall(), *connection.execute(_INDEXES).fetchall()]
    _execute(connection, *(drop for drop, _ in known))
    yield
    _execute(connection, *(make for _, make in known))


def _execute(connection: psycopg.Connection, *statements: str) -> None:
    for statement in statements:
        connection.execute(statement.encode())
