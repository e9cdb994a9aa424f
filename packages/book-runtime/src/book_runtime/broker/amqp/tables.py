"""Field tables of AMQP 0-9-1 as they stand on the wire, taken apart without a look at what is in a field.

Section 4.2.5.5 of the specification, with the kinds of fields that RabbitMQ takes, which are those of
https://www.rabbitmq.com/amqp-0-9-1-errata.html. What is put together again is the same bit for bit, and nothing in it
can be too deep, too great or no UTF-8.
"""

from collections.abc import Container, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple, Self

_FIXED: Final = {
    bytes((kind,)): size
    for size, kinds in {0: b"V", 1: b"tbB", 2: b"su", 4: b"Iif", 5: b"D", 8: b"lLdT"}.items()
    for kind in kinds
}
"""The bytes of a value, by its kind."""

_COUNTED: Final = frozenset((b"S", b"x", b"A", b"F"))
"""The kinds whose values begin with their length in four bytes."""

_SIGNED: Final = frozenset((b"b", b"s", b"I", b"l", b"L"))
_UNSIGNED: Final = frozenset((b"B", b"u", b"i"))

_LAST_SECOND: Final = 253_402_300_799
"""Of the year 9999, since 1970; what is later Python has no time for."""


class Field(NamedTuple):
    """One field, as it stands in its table."""

    name: bytes
    kind: bytes
    value: bytes
    """With its length, where the kind has one."""

    @classmethod
    def of_text(cls, name: str, text: str) -> Self:
        """Half a surrogate pair is written as an escape: UTF-8 has no other way."""
        encoded = text.encode("utf-8", "backslashreplace")
        return cls(name.encode(), b"S", len(encoded).to_bytes(4) + encoded)

    @classmethod
    def of_time(cls, name: str, time: datetime) -> Self:
        """In whole seconds."""
        return cls(name.encode(), b"T", int(time.timestamp()).to_bytes(8))

    def encode(self) -> bytes:
        return b"".join((len(self.name).to_bytes(), self.name, self.kind, self.value))

    def read(self) -> object:
        """A text, a whole number, a time, or, of a list, its first member if that is a table.

        None for all else, such as a text that is no UTF-8 and a time after the year 9999.
        """
        if self.kind == b"S":
            return utf8(self.value[4:])
        if self.kind in _SIGNED or self.kind in _UNSIGNED:
            return int.from_bytes(self.value, signed=self.kind in _SIGNED)
        if self.kind == b"T":
            return time_of(self.value)
        if self.kind == b"A" and self.value[4:5] == b"F":
            return Table.parse(_counted(self.value, 5)[4:])
        return None


@dataclass(frozen=True, slots=True)
class Table:
    """The fields of a table, in their order."""

    fields: tuple[Field, ...] = ()

    rest: bytes = b""
    """From the first field on whose kind is not known, and whose end is not either. It is kept, and not read."""

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """From its bytes without their length. Never raises."""
        fields: list[Field] = []
        start, end = 0, len(data)
        while start < end:
            kind_at = start + 1 + data[start]
            value_at = kind_at + 1
            kind = data[kind_at:value_at]
            if kind in _COUNTED:
                value_end = value_at + 4 + int.from_bytes(data[value_at : value_at + 4])
            elif kind in _FIXED:
                value_end = value_at + _FIXED[kind]
            else:
                break
            fields.append(Field(data[start + 1 : kind_at], kind, data[value_at:value_end]))
            start = value_end
        return cls(tuple(fields), data[start:])

    def encode(self) -> bytes:
        return b"".join((*(field.encode() for field in self.fields), self.rest))

    def read(self) -> dict[str, object]:
        """What can be read, by names that are UTF-8. Of fields of one name the last counts that can be."""
        return {
            name: value
            for field in self.fields
            if (name := utf8(field.name)) is not None and (value := field.read()) is not None
        }

    def texts(self) -> dict[str, str]:
        """The same for texts alone."""
        texts = ((utf8(field.name), utf8(field.value[4:])) for field in self.fields if field.kind == b"S")
        return {name: text for name, text in texts if name is not None and text is not None}

    def without(self, names: Container[bytes]) -> "Table":
        return Table(tuple(field for field in self.fields if field.name not in names), self.rest)

    def without_greatest(self, size: int) -> tuple["Table", str]:
        """Without so many of the greatest fields that it is smaller by so many bytes, and the names of those."""
        left_out: dict[Field, str] = {}
        for field in sorted(self.fields, key=lambda field: len(field.value), reverse=True):
            if size <= 0:
                break
            left_out[field] = ascii(field.name)[2:-1]
            size -= len(field.encode())
        fewer = tuple(field for field in self.fields if field not in left_out)
        return Table(fewer, b"" if size > 0 else self.rest), ", ".join(left_out.values())

    def after(self, fields: Iterable[Field]) -> "Table":
        """These fields, and then its own: what cannot be read stands last."""
        return Table((*fields, *self.fields), self.rest)


def utf8(data: bytes) -> str | None:
    """The text, None if these bytes are none."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def time_of(seconds: bytes) -> datetime | None:
    """The time of a timestamp of AMQP, 64 bits of seconds since 1970 (4.2.5.4); None after the year 9999."""
    since_1970 = int.from_bytes(seconds)
    return datetime.fromtimestamp(since_1970, UTC) if since_1970 <= _LAST_SECOND else None


def _counted(data: bytes, start: int) -> bytes:
    return data[start : start + 4 + int.from_bytes(data[start : start + 4])]
