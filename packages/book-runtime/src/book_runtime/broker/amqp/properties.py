"""The properties of a message as they stand on the wire: AMQP 0-9-1, sections 4.2.6.1 and 1.8.

pamqp 4.0.1 makes Python objects of them, and raises where it has none (a time after the year 9999, a text that is no
UTF-8); what it has made it cannot always write again, and then not as it was (a double becomes a float).
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final, Self

from book_runtime.broker.amqp.tables import Table, time_of

_TEXT, _TABLE, _OCTET, _TIMESTAMP = 1, 4, -1, -8
"""How long a value is: so many bytes, where negative; else as its first bytes say, so many."""

_KINDS: Final = {
    "content_type": _TEXT,
    "content_encoding": _TEXT,
    "headers": _TABLE,
    "delivery_mode": _OCTET,
    "priority": _OCTET,
    "correlation_id": _TEXT,
    "reply_to": _TEXT,
    "expiration": _TEXT,
    "message_id": _TEXT,
    "timestamp": _TIMESTAMP,
    "type": _TEXT,
    "user_id": _TEXT,
    "app_id": _TEXT,
    "cluster_id": _TEXT,
}
"""In the order of their flags, the first of which is the highest bit, and of their values."""

_FLAGS: Final = {name: 1 << (15 - place) for place, name in enumerate(_KINDS)}
_MORE_FLAGS: Final = 1
_PERSISTENT: Final = b"\x02"


@dataclass(frozen=True, slots=True)
class Properties:
    """What a message has of them."""

    values: Mapping[str, bytes]
    """By name, without their lengths."""

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """From what follows the size of the body in a content header. Never raises: what is cut off is missing."""
        flags, start = int.from_bytes(data[:2]), 2
        while int.from_bytes(data[start - 2 : start]) & _MORE_FLAGS:
            start += 2  # AMQP has no more properties than these
        values = {}
        for name, kind in _present(flags):
            begin = start + max(kind, 0)
            end = begin + int.from_bytes(data[start:begin]) if kind > 0 else begin - kind
            if end > len(data):
                break
            values[name], start = data[begin:end], end
        return cls(values)

    def encode(self) -> bytes:
        present = [name for name in _KINDS if name in self.values]
        flags = sum(_FLAGS[name] for name in present).to_bytes(2)
        return b"".join((flags, *(self._encoded(name) for name in present)))

    def _encoded(self, name: str) -> bytes:
        kind, value = _KINDS[name], self.values[name]
        return value if kind < 0 else len(value).to_bytes(kind) + value

    def text(self, name: str) -> str:
        """Empty where it is missing. A byte that is no UTF-8 is shown as an escape."""
        return self.values.get(name, b"").decode("utf-8", "backslashreplace")

    @property
    def timestamp(self) -> datetime | None:
        """None as well where it is after the year 9999."""
        return time_of(self.values["timestamp"]) if "timestamp" in self.values else None

    @property
    def headers(self) -> Table:
        return Table.parse(self.values.get("headers", b""))

    def to_be_kept(self, headers: Table, *, without: Container[str]) -> "Properties":
        """The same with these headers, on the broker's disk as soon as it is confirmed."""
        values = {name: value for name, value in self.values.items() if name not in without}
        return Properties(values | {"headers": headers.encode(), "delivery_mode": _PERSISTENT})


@lru_cache(maxsize=100)
def _present(flags: int) -> list[tuple[str, int]]:
    """The properties that are there, and their kinds: most messages have the same."""
    return [(name, kind) for name, kind in _KINDS.items() if flags & _FLAGS[name]]
