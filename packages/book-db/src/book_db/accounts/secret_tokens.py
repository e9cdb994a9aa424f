"""Opaque tokens: random, and recognised by their digest.

colophon_api_ + 64 random hexadecimal digits + 8 of a checksum

By the prefix, people and scanners for leaked secrets recognise the token. By the checksum, a token that was cut or
mistyped is refused without asking the database, and a scanner knows that it has found a real one.
"""

import re
import secrets
from hashlib import sha256
from typing import Final
from zlib import crc32

API_TOKEN: Final = "colophon_api_"  # noqa: S105  # no secret
REFRESH_TOKEN: Final = "colophon_refresh_"  # noqa: S105  # no secret

LENGTH_MAX: Final = 100
"""Characters; a token has fewer."""

_BITS: Final = 256
_FORM: Final = re.compile(r"(colophon_[a-z]+_[0-9a-f]{64})([0-9a-f]{8})")


def new_token(prefix: str) -> str:
    """One that nobody has seen and nobody guesses."""
    said = prefix + secrets.token_hex(_BITS // 8)
    return said + _checksum(said)


def digest(token: str) -> bytes:
    """What is stored of a token. It needs no salt and no slow hash: nobody tries 2^256 tokens."""
    return sha256(token.encode()).digest()


def is_whole(token: str, prefix: str) -> bool:
    """Whether it is of this kind, and nothing is missing from it."""
    found = _FORM.fullmatch(token)
    return found is not None and token.startswith(prefix) and found[2] == _checksum(found[1])


def _checksum(text: str) -> str:
    return f"{crc32(text.encode()):08x}"
