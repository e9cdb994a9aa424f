"""Makes the words of books that were written by a release which knew nothing of them, or folded them in another way."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, Engine, Row, text

from book_db.books.words import words_of
from book_db.tables import WITHOUT_WORDS, words_version_of

_BATCH_ROWS: Final = 1_000

_LACKING: Final = text(
    f"""
    SELECT id, title, author, version FROM books
    WHERE id > :after AND ({WITHOUT_WORDS})
    ORDER BY id LIMIT :at_most
    """  # noqa: S608 - of constants
)
_FILL: Final = text(
    f"""
    UPDATE books SET
        title_words = string_to_array(filled.title_words, ' '),
        author_words = string_to_array(filled.author_words, ' '),
        words_version = {words_version_of("filled.version")}
    FROM unnest(
        CAST(:ids AS bigint[]), CAST(:versions AS bigint[]),
        CAST(:title_words AS text[]), CAST(:author_words AS text[])
    ) AS filled (id, version, title_words, author_words)
    WHERE books.id = filled.id AND books.version = filled.version
    """  # noqa: S608 - as above
)


def index_books(engine: Engine) -> None:
    """Gives words to the books that have none, some at a time, each time in a transaction of its own."""
    # A book that somebody changes in between is left as it is now, and may want words again.
    while _go_through(engine):
        pass


def _go_through(engine: Engine) -> bool:
    """From the first book to the last. False when none wanted words."""
    after = 0
    while books := _index_some(engine, after):
        after = books[-1].id
    return after > 0


def _index_some(engine: Engine, after: int) -> Sequence[Row[*tuple[Any, ...]]]:
    with engine.begin() as connection:
        books = connection.execute(_LACKING, {"after": after, "at_most": _BATCH_ROWS}).all()
        if books:
            _fill(connection, books)
    return books


def _fill(connection: Connection, books: Sequence[Row[*tuple[Any, ...]]]) -> None:
    connection.execute(
        _FILL,
        {
            "ids": [book.id for book in books],
            "versions": [book.version for book in books],
            "title_words": [" ".join(words_of(book.title)) for book in books],
            "author_words": [" ".join(words_of(book.author)) for book in books],
        },
    )
