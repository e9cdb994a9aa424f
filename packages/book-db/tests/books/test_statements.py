"""The SQL that PostgreSQL gets. It is put together from the fields of a book, so it stands whole in statements.sql.

``.venv/bin/python packages/book-db/tests/books/test_statements.py`` writes that file anew after a change, and its diff
tells what has become of the statements.
"""

from pathlib import Path
from textwrap import dedent
from typing import Final

from book_db.books import exporting, statements
from book_db.books.finding import listing
from book_db.books.selection import BY_ID, EVERYTHING
from book_db.events import log

FILE: Final = Path(__file__).with_name("statements.sql")


def statements_now() -> str:
    written = {
        "Books by their ids": statements.BY_IDS,
        "The version of a book": statements.VERSION,
        "Add books": statements.ADD,
        "Add books once for each key": statements.ADD_ONCE,
        "Change a book": statements.CHANGE,
        "Remove a book": statements.REMOVE,
        "The first page of all books": listing(EVERYTHING, BY_ID, None, at_most=51).text,
        "Export as CSV": exporting._copy(EVERYTHING, "csv")[0].decode(),
        "Export as NDJSON": exporting._copy(EVERYTHING, "ndjson")[0].decode(),
        "Record events": log._RECORD,
    }
    return "".join(f"-- {title}\n{_plain(sql)}\n" for title, sql in written.items())


def _plain(sql: str) -> str:
    """Without blanks that say nothing."""
    lines = (line.rstrip() for line in dedent(sql).splitlines())
    return "".join(f"{line}\n" for line in lines if line)


class TestStatements:
    def test_are_those_of_the_file(self) -> None:
        assert statements_now() == FILE.read_text("utf-8")


if __name__ == "__main__":
    FILE.write_text(statements_now(), "utf-8")
