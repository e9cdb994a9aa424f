"""What is asked for when many books are: which ones, and in which order."""

from dataclasses import dataclass
from datetime import date
from typing import Final, Literal, NamedTuple

Field = Literal["id", "title", "author", "publication_date", "version", "created_at", "updated_at"]


@dataclass(frozen=True, slots=True)
class Selection:
    """The books that meet everything that is said here. What is None, or empty, says nothing.

    Texts are as ``book_db.text`` cleans them and are compared by code point.
    """

    author: str | None = None
    author_prefix: str | None = None
    title: str | None = None
    title_prefix: str | None = None
    words: tuple[str, ...] = ()
    """All of them, each in one of the ways to write it, anywhere in title or author, as
    ``book_db.books.words.words_asked_for`` makes them."""
    published_from: date | None = None
    published_to: date | None = None
    """Both days are included."""


class Order(NamedTuple):
    """By one field; among equals by id, in the same direction. Titles and authors by their first 200 characters."""

    field: Field
    descending: bool = False


EVERYTHING: Final = Selection()
BY_ID: Final = Order("id")
