"""Passwords that are guessed first, because many people have them: 43,940, which are those of the million most common
that are long enough here. NOTICE.md says where they come from.
"""

from bisect import bisect_left
from collections.abc import Sequence
from hashlib import blake2b
from importlib.resources import files
from typing import Final, overload

DIGEST_BYTES: Final = 6
"""Of each password. One in six billion others has the digest of one of them."""


def digest_of(password: str) -> bytes:
    """What is kept of a password, which must be in small letters."""
    return blake2b(password.encode(), digest_size=DIGEST_BYTES).digest()


def is_common(password: str) -> bool:
    """Whether this is one of them. It must be in small letters."""
    digest = digest_of(password)
    place = bisect_left(_ALL, digest)
    return place < len(_ALL) and _ALL[place] == digest


class _Digests(Sequence[bytes]):
    """In ascending order, one behind the other: as objects of Python they would take ten times the memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._places = range(0, len(data), DIGEST_BYTES)

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, place: int) -> bytes: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[bytes]: ...
    def __getitem__(self, place: int | slice) -> bytes | Sequence[bytes]:
        found = self._places[place]
        if isinstance(found, range):
            return [self._at(each) for each in found]
        return self._at(found)

    def _at(self, place: int) -> bytes:
        return self._data[place : place + DIGEST_BYTES]


_ALL: Final = _Digests(files(__name__).joinpath("digests.bin").read_bytes())
