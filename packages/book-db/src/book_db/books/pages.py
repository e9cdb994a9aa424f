"""Opaque page tokens: where the next page begins, guarded against mistakes.

A token grants nothing that its bearer could not ask for, so it is not signed. The digest tells a token that was
cut, mistyped or tampered with from one that this catalogue gave.
"""

import base64
import binascii
import struct
from hashlib import blake2b

from book_db.errors import InvalidPageToken

_LAYOUT = struct.Struct(">Bq8s")
_FORM = 1


def encode(after: int) -> str:
    """The token of the page that begins after the book with this id."""
    token = _LAYOUT.pack(_FORM, after, _digest(after))
    return base64.urlsafe_b64encode(token).rstrip(b"=").decode()


def decode(token: str) -> int:
    """The id after which the page begins. Raises InvalidPageToken."""
    try:
        padded = token + "=" * (-len(token) % 4)
        form, after, digest = _LAYOUT.unpack(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, struct.error, ValueError) as error:
        raise InvalidPageToken from error
    # The comparison with the token made anew refuses spare bits, which base64 would pass over.
    if form != _FORM or digest != _digest(after) or encode(after) != token:
        raise InvalidPageToken
    return int(after)


def _digest(after: int) -> bytes:
    return blake2b(after.to_bytes(8, "big", signed=True), digest_size=8, person=b"colophon.page").digest()
