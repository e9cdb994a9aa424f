"""What a book is.

The fields are said here and nowhere else in this package: columns, SQL and JSON follow from these three classes.
CONTRIBUTING.md, "To add a field", lists what does not follow by itself.
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final, NamedTuple

import msgspec

TITLE_MAX: Final = 2_000
AUTHOR_MAX: Final = 1_000
"""Characters, after cleaning."""


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


class Draft(msgspec.Struct, frozen=True):
    """A book that is not in the catalogue yet, or the whole of what is to stand in place of one that is."""

    title: str
    author: str
    publication_date: date

    @classmethod
    def of(cls, source: object) -> "Draft":
        """The draft in an object that has its fields as attributes. Raises AttributeError where one is missing."""
        return cls(*[getattr(source, name) for name in cls.__struct_fields__])

    def to_json(self) -> bytes:
        return _encoder.encode(self)


class BookPatch(msgspec.Struct, frozen=True):
    """The fields of a book that are to be written; None leaves a field as it is.

    No field has a default, so that none is left out by oversight.
    """

    title: str | None
    author: str | None
    publication_date: date | None

    @classmethod
    def of(cls, draft: Draft) -> "BookPatch":
        """Writes every field."""
        return cls(**msgspec.structs.asdict(draft))

    @classmethod
    def only(cls, **fields: Any) -> "BookPatch":
        """Writes these fields and leaves the others. Raises TypeError for a name that no field has."""
        return cls(**dict.fromkeys(cls.__struct_fields__) | fields)


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
