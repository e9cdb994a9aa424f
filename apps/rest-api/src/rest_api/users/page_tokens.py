"""Opaque page tokens of the list of users. They grant nothing: the digest finds what was cut or mistyped."""

import base64
import binascii
from hashlib import blake2b
from typing import Final
from uuid import UUID

from book_db.errors import InvalidPageToken

_TOKEN_BYTES: Final = 24


def encode(after: UUID) -> str:
    """The token of the page that begins after the user with this id."""
    return base64.urlsafe_b64encode(after.bytes + _digest(after.bytes)).decode()


def decode(token: str) -> UUID:
    """The id after which the page begins. Raises InvalidPageToken."""
    try:
        data = base64.b64decode(token, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidPageToken from error
    if len(data) != _TOKEN_BYTES or data[16:] != _digest(data[:16]):
        raise InvalidPageToken
    return UUID(bytes=data[:16])


def _digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=8, person=b"colophon.users").digest()
