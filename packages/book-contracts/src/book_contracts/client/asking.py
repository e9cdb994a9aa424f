"""What callers say, as requests."""

from collections.abc import Iterable
from datetime import date
from typing import Any, Literal, TypeAlias, TypedDict, TypeVar, cast

from book_contracts import BookFilter, Date, FieldMask
from book_contracts.client.reading import BookField

Item = TypeVar("Item")

BookOrder: TypeAlias = Literal[
    "id",
    "id desc",
    "title",
    "title desc",
    "author",
    "author desc",
    "publication_date",
    "publication_date desc",
    "version",
    "version desc",
    "create_time",
    "create_time desc",
    "update_time",
    "update_time desc",
]
"""What to sort by, as AIP-132 writes it."""


class Wanted(TypedDict, total=False):
    """Which books are meant: those that meet everything that is said; None and an empty text say nothing.

    books.v1.BookFilter tells what each of them means.
    """

    author: str | None
    author_prefix: str | None
    title: str | None
    title_prefix: str | None
    words: str | None
    published_from: date | None
    published_to: date | None


def mask_of(fields: Iterable[BookField] | None) -> FieldMask | None:
    return None if fields is None else FieldMask(paths=list_of(fields))


def list_of(values: Iterable[Item]) -> list[Item]:
    """The values as a list; what is none, a text among it, stays as it is, for the message to refuse."""
    if isinstance(values, Iterable) and not isinstance(values, str | bytes):
        return list(values)
    return cast("list[Item]", values)


def filter_of(wanted: Wanted) -> BookFilter:
    """An empty one stands for all books. Raises TypeError for a name that says nothing about books."""
    said: dict[str, Any] = {
        name: _date_of(value) if isinstance(value, date) else value
        for name, value in wanted.items()
        if value is not None
    }
    return BookFilter(**said)


def _date_of(day: date) -> Date:
    return Date(year=day.year, month=day.month, day=day.day)
