"""Books by the million: PostgreSQL itself writes the lines, in one statement and so all of one moment.

docs/decisions/0012-streams.md has the measurements.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from datetime import date, datetime
from typing import Any, Final, Literal, get_type_hints
from uuid import UUID

import psycopg
from book_runtime.places import NoPlaceLeft, Places
from psycopg.abc import Buffer, PQGen
from psycopg.errors import error_from_result
from psycopg.generators import fetch_many
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.pq.abc import PGconn
from psycopg.waiting import Wait
from sqlalchemy import text

from book_db.book import Book
from book_db.books.finding import matching
from book_db.books.selection import Selection
from book_db.errors import ConnectionLost, DatabaseUnavailable, NotCommitted, TooManyExports
from book_db.postgres.connector import Connector
from book_db.postgres.database import compile_sql, outage_of, reason_of
from book_db.postgres.failures import translate_errors

Form = Literal["ndjson", "csv"]
"""JSON as of ``Book.to_json``, a book a line; or CSV (RFC 4180) with a header."""

_BLOCK: Final = 2**18
"""Bytes that are handed on together."""

_TO_CANCEL: Final = 5.0
"""Seconds. What PostgreSQL is not told by then it notices by itself, when it next has a line to send."""

# Six decimals or none, as in the JSON of a book.
_TIME: Final = """replace(to_char({0}, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '.000000', '')"""

# Most books are never changed, and a time takes as long to write as everything else but the texts. With OFFSET 0
# PostgreSQL writes it once; without, it would put the expression in each place where it is used.
_BOOKS: Final = f"books CROSS JOIN LATERAL (SELECT {_TIME.format('created_at')} AS created OFFSET 0) AS written"
_UPDATED: Final = f"CASE updated_at WHEN created_at THEN created ELSE {_TIME.format('updated_at')} END"

_EXPRESSIONS: Final = {"created_at": "created", "updated_at": _UPDATED}
"""For the fields that are not written as their column is."""

_QUOTED: Final = """"' || {} || '\""""
_JSON_VALUES: Final = {
    int: "' || {} || '",
    str: "' || to_json({}) || '",
    date: _QUOTED,
    datetime: _QUOTED,
}
"""How a value goes into a text of JSON, by the type of its field."""


def _json_of(field: str, kind: type) -> str:
    return f'"{field}":' + _JSON_VALUES[kind].format(_EXPRESSIONS.get(field, field))


# The same bytes as of `Book.to_json`. Put together piece by piece: row_to_json takes longer.
_JSON: Final = "'{" + ",".join(_json_of(field, kind) for field, kind in get_type_hints(Book).items()) + "}'"
_FIELDS: Final = ", ".join(f"{_EXPRESSIONS.get(field, field)} AS {field}" for field in Book.__struct_fields__)

# JSON holds neither of these two characters, so nothing in a line is quoted or escaped.
_FORMS: Final[dict[Form, tuple[str, str]]] = {
    "ndjson": (_JSON, r"FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02'"),
    "csv": (_FIELDS, "FORMAT csv, HEADER"),
}


class Exports:
    """Gives the books of a selection by ascending id, on connections of its own: an export may take as long as its
    reader does, and must not keep one of the pool from others all that time.
    """

    def __init__(self, url: str, *, at_once: int) -> None:
        self._connector = Connector(url, "colophon-export", settings={"default_transaction_read_only": "on"})
        self._outage = outage_of(url)
        self._places = Places(at_once)

    @asynccontextmanager
    async def open(self, selection: Selection, form: Form, user_id: UUID) -> AsyncIterator[AsyncIterator[bytes]]:
        """The bytes of a user's export in blocks, for the length of the block.

        Raises TooManyExports, and DatabaseUnavailable at any time: what was given until then is not the whole.
        """
        try:
            with self._counted(user_id), translate_errors(on_lost=ConnectionLost):
                with translate_errors(on_lost=NotCommitted):  # nothing was given yet
                    connection = await self._connector.connect(psycopg.AsyncConnection, autocommit=True)
                async with connection, connection.cursor().copy(*_copy(selection, form)):
                    try:
                        yield _blocks(connection)
                    finally:
                        await _end(connection)
        except DatabaseUnavailable as error:
            self._outage.begin(reason_of(error))
            raise

    @contextmanager
    def _counted(self, user_id: UUID) -> Iterator[None]:
        with ExitStack() as place:
            try:
                place.enter_context(self._places.taken_by(user_id))
            except NoPlaceLeft as full:
                raise TooManyExports(full.most, own=full.own) from full
            yield


def _copy(selection: Selection, form: Form) -> tuple[bytes, dict[str, Any]]:
    """The statement, and the values that psycopg quotes for it: COPY itself takes no parameters."""
    expressions, options = _FORMS[form]
    matches = matching(selection)
    statement = f"COPY (SELECT {expressions} FROM {_BOOKS} {matches.text} ORDER BY id) TO STDOUT ({options})"  # noqa: S608 - of constants
    return compile_sql(text(statement)).encode(), dict(matches.values)


async def _end(connection: psycopg.AsyncConnection) -> None:
    """Has PostgreSQL write no more lines where the reader has left before the last one."""
    try:
        if connection.pgconn.transaction_status == TransactionStatus.ACTIVE:
            await connection.cancel_safe(timeout=_TO_CANCEL)
    finally:
        await connection.close()


async def _blocks(connection: psycopg.AsyncConnection) -> AsyncIterator[bytes]:
    is_last = False
    while not is_last:
        with translate_errors(on_lost=ConnectionLost):
            block, is_last = await connection.wait(_next_block(connection.pgconn))
        if block:
            yield block


def _next_block(connection: PGconn) -> PQGen[tuple[bytes, bool]]:
    """So many rows as make a block, and whether they are the last.

    By libpq's own function: ``AsyncCopy`` gives one row at a time, which takes half as much time again.
    """
    rows: list[Buffer] = []
    size = 0
    while size < _BLOCK:
        length, row = connection.get_copy_data(1)
        if length > 0:
            rows.append(row)
            size += length
        elif length == 0:
            yield from _more_to_come(connection)
        else:
            yield from _well_ended(connection)
            return b"".join(rows), True
    return b"".join(rows), False


def _more_to_come(connection: PGconn) -> PQGen[None]:
    while not (yield Wait.R):
        pass
    connection.consume_input()


def _well_ended(connection: PGconn) -> PQGen[None]:
    for result in (yield from fetch_many(connection)):
        if result.status != ExecStatus.COMMAND_OK:
            raise error_from_result(result)
