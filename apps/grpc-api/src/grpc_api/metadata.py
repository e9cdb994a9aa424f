"""What a caller sends beside the request."""

from collections.abc import Iterable
from typing import TypeAlias

Metadata: TypeAlias = Iterable[tuple[str, str | bytes]]


def first(metadata: Metadata, key: str) -> str | None:
    """The first text under the key, which is in lower case as gRPC wants it."""
    for name, value in metadata:
        if name == key and isinstance(value, str):
            return value
    return None
