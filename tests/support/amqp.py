"""A publisher that writes AMQP 0-9-1 by hand: what is valid on the wire, and no library writes."""

import asyncio
import struct
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit

from support.waiting import patience

_METHOD, _HEADER, _BODY = 1, 2, 3
_FRAME: Final = struct.Struct(">BHI")
_END: Final = b"\xce"
_FRAME_MAX: Final = 131_072

_START, _START_OK, _TUNE, _TUNE_OK = (10, 10), (10, 11), (10, 30), (10, 31)
_OPEN, _OPEN_OK = (10, 40), (10, 41)
_CHANNEL_OPEN, _CHANNEL_OPEN_OK = (20, 10), (20, 11)
_PUBLISH, _ACK = (60, 40), (60, 80)
_SELECT, _SELECT_OK = (85, 10), (85, 11)

_TEXTS: Final = {
    "content_type": 15,
    "content_encoding": 14,
    "correlation_id": 10,
    "reply_to": 9,
    "expiration": 8,
    "message_id": 7,
    "type": 5,
    "user_id": 4,
    "app_id": 3,
    "cluster_id": 2,
}
_OTHERS: Final = {"headers": 13, "delivery_mode": 12, "priority": 11, "timestamp": 6}
_BITS: Final = dict(sorted((_TEXTS | _OTHERS).items(), key=lambda item: -item[1]))
"""The flags of the properties, in the order in which they stand."""

Method = tuple[int, int]


class Refused(Exception):
    """The broker did not take the message, or what was to come before it."""


@dataclass(frozen=True)
class RawMessage:
    """A message as it stands on the wire."""

    routing_key: bytes = b""
    properties: Mapping[str, bytes] = field(default_factory=dict)
    """By name, without their lengths; the headers are in `fields`."""
    fields: tuple[bytes, ...] | None = None
    """The headers one by one: name, kind and value, as `header` writes them."""
    body: bytes = b""

    def encoded(self) -> bytes:
        """Flags and values of all properties."""
        values = {name: _property(name, value) for name, value in self.properties.items()}
        if self.fields is not None:
            values["headers"] = long_text(b"".join(self.fields))
        present = [name for name in _BITS if name in values]
        flags = sum(1 << _BITS[name] for name in present)
        return flags.to_bytes(2) + b"".join(values[name] for name in present)


def header(name: bytes, kind: bytes, value: bytes) -> bytes:
    """A field of a table."""
    return short_text(name) + kind + value


def short_text(data: bytes) -> bytes:
    return len(data).to_bytes(1) + data


def long_text(data: bytes) -> bytes:
    """Also of a table and of a list: their bytes after their length."""
    return len(data).to_bytes(4) + data


def _property(name: str, value: bytes) -> bytes:
    return short_text(value) if name in _TEXTS else value


class RawPublisher:
    """Publishes one message at a time, and hears whether it was taken."""

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)
        self.server: bytes = b""
        """What the broker says of itself, a table."""

    async def open(self) -> None:
        """Raises Refused."""
        address = self._url.hostname, self._url.port
        self._reader, self._writer = await asyncio.open_connection(*address)
        self._writer.write(b"AMQP\x00\x00\x09\x01")
        self.server = await self._expect(_START)
        user, password = (unquote(part or "") for part in (self._url.username, self._url.password))
        response = long_text(f"\0{user}\0{password}".encode())
        self._send(0, _START_OK, long_text(b"") + short_text(b"PLAIN") + response + short_text(b"en_US"))
        await self._expect(_TUNE)
        self._send(0, _TUNE_OK, struct.pack(">HIH", 1, _FRAME_MAX, 0))
        vhost = unquote(self._url.path[1:]) or "/"
        self._send(0, _OPEN, short_text(vhost.encode()) + b"\0\0")
        await self._expect(_OPEN_OK)
        self._send(1, _CHANNEL_OPEN, b"\0")
        await self._expect(_CHANNEL_OPEN_OK)
        self._send(1, _SELECT, b"\0")
        await self._expect(_SELECT_OK)

    async def close(self) -> None:
        """Without a word."""
        self._writer.transport.abort()

    async def publish(self, exchange: str, message: RawMessage) -> None:
        """Returns when the broker has taken it. Raises Refused, and then it must be opened anew."""
        method = b"\0\0" + short_text(exchange.encode()) + short_text(message.routing_key) + b"\0"
        self._send(1, _PUBLISH, method)
        self._write(_HEADER, 1, struct.pack(">HHQ", 60, 0, len(message.body)) + message.encoded())
        most = _FRAME_MAX - _FRAME.size - len(_END)
        for start in range(0, len(message.body), most):
            self._write(_BODY, 1, message.body[start : start + most])
        await self._expect(_ACK)

    def _send(self, channel: int, method: Method, arguments: bytes) -> None:
        self._write(_METHOD, channel, struct.pack(">HH", *method) + arguments)

    def _write(self, kind: int, channel: int, payload: bytes) -> None:
        self._writer.write(_FRAME.pack(kind, channel, len(payload)) + payload + _END)

    async def _expect(self, wanted: Method) -> bytes:
        async with patience(f"the broker answers with {wanted}"):
            try:
                _, _, size = _FRAME.unpack(await self._reader.readexactly(_FRAME.size))
                payload = (await self._reader.readexactly(size + 1))[:-1]
            except (asyncio.IncompleteReadError, ConnectionError) as error:
                raise Refused("the connection was closed") from error
        method = struct.unpack(">HH", payload[:4])
        if method != wanted:
            raise Refused(f"{wanted} was expected, and {payload!r} came")
        return payload[4:]


@asynccontextmanager
async def raw_publisher(url: str) -> AsyncIterator[RawPublisher]:
    """One that is open."""
    publisher = RawPublisher(url)
    await publisher.open()
    try:
        yield publisher
    finally:
        await publisher.close()


async def publish_raw(url: str, exchange: str, messages: Iterable[RawMessage]) -> None:
    """Publishes messages which the broker takes."""
    async with raw_publisher(url) as publisher:
        for message in messages:
            await publisher.publish(exchange, message)
