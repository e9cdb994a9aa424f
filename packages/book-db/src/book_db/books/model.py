"""A book as the catalogue holds it, and what is said to write one."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple

import msgspec


class Book(msgspec.Struct, frozen=True):
    """A book at one version. Its JSON, ``book.to_json()``, is what REST answers and what the cache holds."""

    id: int
    title: str
    author: str
    publication_date: date
    version: int
    created_at: datetime
    updated_at: datetime

    def to_json(self) -> bytes:
        return _encoder.encode(self)

    @staticmethod
    def from_json(data: bytes) -> "Book":
        return _decoder.decode(data)


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Book)


@dataclass(frozen=True, slots=True)
class Draft:
    """A book that is not in the catalogue yet, or the whole of what is to stand in place of one that is."""

    title: str
    author: str
    publication_date: date


@dataclass(frozen=True, slots=True)
class Change:
    """The fields of a book that are to be written; None leaves a field as it is."""

    title: str | None = None
    author: str | None = None
    publication_date: date | None = None


class Page(NamedTuple):
    """Some books by ascending id, and the token of the page that follows, None at the end."""

    books: list[Book]
    next_token: str | None
