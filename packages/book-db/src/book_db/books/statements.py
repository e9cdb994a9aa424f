"""The catalogue's SQL.

Each write is one statement, which changes ``books`` and adds to ``outbox``: PostgreSQL does both or neither. The
outbox row is made when the book's row is locked and changed, so the order of its ids is the order of the changes.
Every statement but ``VERSION`` gives the columns of ``Book``, in the order of its fields. What PostgreSQL gets in the
end stands in tests/books/statements.sql.

docs/decisions/0003 and 0010 give the reasons.
"""

from typing import Final, LiteralString

from sqlalchemy import bindparam, func, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import BigInteger

from book_db.book import Book, Draft
from book_db.postgres.database import compile_sql, with_types
from book_db.tables import (
    BOOK_COLUMNS,
    EVENT_COLUMNS,
    WORDS_VERSION_OF_NEW,
    BookRow,
    OutboxRow,
    words_version_of,
)

KEY_EXPIRED: Final = "created_at <= now() - interval '24 hours'"
"""Of an idempotency key. Such a one counts for nothing, also where it has not been swept away yet."""

_NEW: Final = (*Draft.__struct_fields__, "title_words", "author_words")
"""The columns that a writer fills."""

_BY: Final = ("actor", "traceparent")
"""Those of the event that do."""

_books = BookRow.__table__.c
_book = select(*(_books[field] for field in Book.__struct_fields__))

BY_IDS: Final = compile_sql(_book.where(_books.id == func.any(bindparam("book_ids", type_=ARRAY(BigInteger)))))
VERSION: Final = compile_sql(select(_books.version).where(_books.id == bindparam("book_id", type_=BigInteger)))


def _text(statement: str) -> LiteralString:
    return compile_sql(text(statement))


def _with_event(write: str, *, kind: str, at: str, version: str = "version") -> LiteralString:
    """A write that RETURNs what it wrote, with its row in the outbox."""
    book = ", ".join(version if field == "version" else field for field in Book.__struct_fields__)
    return _text(
        f"""
        WITH written AS ({write} RETURNING {BOOK_COLUMNS}), noted AS (
            INSERT INTO outbox ({EVENT_COLUMNS}) SELECT
                '{kind}', :actor, {at}, :traceparent, {book}
            FROM written ORDER BY id
        )
        SELECT {book} FROM written
        """  # noqa: S608 - put together from constants alone
    )


def _add(*, unless: str = "false", before: str = "", after: str = "") -> LiteralString:
    """Adds books, each with its event: of several users and requests together, in the order they are given.

    PostgreSQL gives ids in that order, which is how each book is found again in ``draft``.
    """
    new = ", ".join(_NEW)
    book = ", ".join(f"written.{field}" for field in Book.__struct_fields__)
    return _text(
        f"""
        WITH {before} draft AS (
            SELECT * FROM ROWS FROM (
                json_to_recordset(CAST(:drafts AS json)) AS (
                    {with_types(BookRow, _NEW)}, {with_types(OutboxRow, _BY)}
                )
            ) WITH ORDINALITY AS draft ({new}, {", ".join(_BY)}, place)
        ), written AS (
            INSERT INTO books ({new}, words_version)
            SELECT {new}, {WORDS_VERSION_OF_NEW}
            FROM draft WHERE NOT {unless} ORDER BY place
            RETURNING {BOOK_COLUMNS}
        ), noted AS (
            INSERT INTO outbox ({EVENT_COLUMNS}) SELECT
                'created', draft.actor, written.created_at, draft.traceparent, {book}
            FROM (SELECT *, row_number() OVER (ORDER BY id) AS place FROM written) AS written JOIN draft USING (place)
            ORDER BY id
        ) {after}
        SELECT {BOOK_COLUMNS} FROM written
        """  # noqa: S608 - as above
    )


ADD: Final = _add()

# Writes nothing when the key is known. Of two that do not know it and write at once, the second waits at the primary
# key of idempotency_keys until the first is committed, and is then undone as a whole.
ADD_ONCE: Final = _add(
    unless="EXISTS (SELECT FROM known)",
    before=f"known AS (SELECT FROM idempotency_keys WHERE user_id = :actor AND key = :key AND NOT {KEY_EXPIRED}),",
    after=""",
        remembered AS (
            INSERT INTO idempotency_keys (user_id, key, fingerprint, book_ids)
            SELECT :actor, :key, :fingerprint, array_agg(id ORDER BY id) FROM written HAVING count(*) > 0
        )
    """,
)

# A writer that waited for another one is judged by what the other one left: PostgreSQL looks at the row again.
_CONDITION: Final = """
    (CAST(:versions AS bigint[]) IS NULL OR version = ANY(CAST(:versions AS bigint[])))
    AND version <> ALL(CAST(:excluded_versions AS bigint[]))
"""

# clock_timestamp(), since now() is when the statement began, which may be before it waited for another writer;
# greatest(), since a clock that is put right must not make a book older than it was.
CHANGE: Final = _with_event(
    f"""
    UPDATE books SET
        {", ".join(f"{column} = coalesce(:{column}, {column})" for column in _NEW)},
        -- Words that another release has left behind, or folds in its own way, are found out by that they stay behind.
        words_version = CASE WHEN words_version = {words_version_of("version")}
            THEN {words_version_of("(version + 1)")} ELSE words_version END,
        version = version + 1,
        updated_at = greatest(clock_timestamp(), updated_at)
    WHERE id = :book_id AND {_CONDITION}
    """,  # noqa: S608 - as above
    kind="updated",
    at="updated_at",
)

# A deletion is a change too and takes the next version.
REMOVE: Final = _with_event(
    f"DELETE FROM books WHERE id = :book_id AND {_CONDITION}",  # noqa: S608 - as above
    kind="deleted",
    at="greatest(clock_timestamp(), updated_at)",
    version="version + 1",
)
