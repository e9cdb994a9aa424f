"""A book as the catalogue holds it, and what is said to write one."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, NamedTuple

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
class BookPatch:
    """The fields of a book that are to be written; None leaves a field as it is."""

    title: str | None = None
    author: str | None = None
    publication_date: date | None = None


@dataclass(frozen=True, slots=True)
class Precondition:
    """What must hold of a book's version at the moment it is written. Without either, any version will do."""

    versions: frozenset[int] | None = None
    """The version is one of these; of none at all, nothing is ever written."""
    excluded_versions: frozenset[int] = frozenset()
    """The version is none of these."""


ANY_VERSION: Final = Precondition()


class Added(NamedTuple):
    """Books that were put into the catalogue, in the order they were given."""

    books: list[Book]
    replayed: bool
    """Whether an earlier attempt has put them there. They are then as they were at that time."""


class Page(NamedTuple):
    """Some books in order, and the token of the page that follows, None at the end."""

    books: list[Book]
    next_token: str | None
