"""Makes the words of books that were written by a release which knew nothing of them."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, Engine, Row, text

from book_db.books.words import words_of

_AT_ONCE: Final = 1_000

# What another writer changes meanwhile, the next round finds again, or that writer has made the words itself.
_LACKING: Final = text(
    """
    SELECT id, title, author, version FROM books
    WHERE id > :after
        AND (words_version IS DISTINCT FROM version OR title_words IS NULL OR author_words IS NULL)
    ORDER BY id LIMIT :at_most
    """
)
_FILL: Final = text(
    """
    UPDATE books SET
        title_words = string_to_array(filled.title_words, ' '),
        author_words = string_to_array(filled.author_words, ' '),
        words_version = filled.version
    FROM unnest(
        CAST(:ids AS bigint[]), CAST(:versions AS bigint[]),
        CAST(:title_words AS text[]), CAST(:author_words AS text[])
    ) AS filled (id, version, title_words, author_words)
    WHERE books.id = filled.id AND books.version = filled.version
    """
)


def index_books(engine: Engine) -> None:
    """Goes through the books once, some at a time, each time in a transaction of its own."""
    after = 0
    while True:
        with engine.begin() as connection:
            books = connection.execute(_LACKING, {"after": after, "at_most": _AT_ONCE}).all()
            if not books:
                return
            _fill(connection, books)
        after = books[-1].id


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
