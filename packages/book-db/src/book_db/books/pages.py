"""Opaque page tokens: where the next page of a list begins, guarded against mistakes.

A token grants nothing that its bearer could not ask for, so it is not signed. Its digest is of the place and of the
list, so a token that was cut, mistyped or tampered with is told from one that this catalogue gave, and so is one that
was given for other filters or another order (AIP-158).
"""

import base64
import binascii
import struct
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import msgspec

from book_db.book import Book
from book_db.books.selection import BY_ID, EVERYTHING, Field, Order, Selection
from book_db.errors import InvalidPageToken
from book_db.tables import SORTED_LENGTH

_HEAD: Final = struct.Struct(">Bq8s")
_FORM: Final = 2

LENGTH_MAX: Final = -(-(_HEAD.size + 4 * SORTED_LENGTH) * 4 // 3)
"""Characters of a token, whose longest place is a title of characters of four bytes."""


class Place(NamedTuple):
    """A book's place in an order: what it is sorted by, and its id. By id alone the key is None."""

    key: str | date | datetime | int | None
    id: int


def encode(book: Book, order: Order = BY_ID, selection: Selection = EVERYTHING) -> str:
    """The token of the page that begins after this book in the list of a selection in an order."""
    return _encode(Place(_key_of(book, order.field), book.id), order, selection)


def decode(token: str, order: Order = BY_ID, selection: Selection = EVERYTHING) -> Place:
    """The place after which the page begins. Raises InvalidPageToken, also when it is a token of another list."""
    try:
        data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        form, book_id, _ = _HEAD.unpack_from(data)
        place = Place(_CODECS[order.field].decode(data[_HEAD.size :]), book_id)
    except (binascii.Error, struct.error, ValueError, OverflowError) as error:
        raise InvalidPageToken from error
    # The comparison with the token made anew refuses other digests, and spare bits, which base64 would pass over.
    if form != _FORM or _encode(place, order, selection) != token:
        raise InvalidPageToken
    return place


def _encode(place: Place, order: Order, selection: Selection) -> str:
    key = _CODECS[order.field].encode(place.key)
    data = _HEAD.pack(_FORM, place.id, _digest(place.id, key, order, selection)) + key
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _digest(book_id: int, key: bytes, order: Order, selection: Selection) -> bytes:
    of = msgspec.json.encode((book_id, order, selection)) + key
    return blake2b(of, digest_size=8, person=b"colophon.page").digest()


def _key_of(book: Book, field: Field) -> Any:
    match field:
        case "id":
            return None
        case "title" | "author":
            return getattr(book, field)[:SORTED_LENGTH]
    return getattr(book, field)


class _Codec(NamedTuple):
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def _int_of(data: bytes) -> int:
    [number] = struct.unpack(">q", data)
    return int(number)


def _text_of(data: bytes) -> str:
    text = data.decode()
    if "\0" in text:
        raise ValueError("PostgreSQL has no text with a NUL")
    return text


_NOTHING: Final = _Codec(lambda _: b"", lambda _: None)
_TEXT: Final = _Codec(str.encode, _text_of)
_INT: Final = _Codec(lambda number: struct.pack(">q", number), _int_of)
_DATE: Final = _Codec(lambda day: _INT.encode(day.toordinal()), lambda data: date.fromordinal(_int_of(data)))
_TIME: Final = _Codec(
    lambda time: _INT.encode((time - _EPOCH) // _MICROSECOND), lambda data: _EPOCH + _int_of(data) * _MICROSECOND
)
_CODECS: Final[dict[Field, _Codec]] = {
    "id": _NOTHING,
    "title": _TEXT,
    "author": _TEXT,
    "publication_date": _DATE,
    "version": _INT,
    "created_at": _TIME,
    "updated_at": _TIME,
}
