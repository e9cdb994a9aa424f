"""Reading from the broker what anybody may have written.

A message reaches us as three kinds of frames (AMQP 0-9-1, 4.2.3): the method, which tells the routing key, the content
header, which has the properties, and the body. pamqp 4.0.1 reads the first two in aiormq's reader of the connection,
and what it raises ends the connection: for a routing key or a text that is no UTF-8, a time after the year 9999, lists
in lists in lists. RabbitMQ takes all of these, and would deliver them again with all that was on its way beside them,
until it had set them aside together.

So pamqp is given nothing of these. The reader that aiormq reads from, which is ours to make, puts the routing key and
the properties into one header of bytes, and `content_of` takes them from there.

docs/decisions/0041 gives the reasons.
"""

import asyncio
import struct
from dataclasses import dataclass
from typing import Final, Protocol

from pamqp.commands import Basic
from pamqp.constants import AMQP, FRAME_END_CHAR, FRAME_HEADER, FRAME_METHOD

from book_runtime.broker.amqp.properties import Properties
from book_runtime.broker.amqp.tables import utf8

_FRAME: Final = struct.Struct(">BHI")
"""The beginning of a frame: kind, channel and size."""

_RETURN: Final = Basic.Return.index.to_bytes(4)
_DELIVER: Final = Basic.Deliver.index.to_bytes(4)
_WITH_CONTENT: Final = (_DELIVER, _RETURN)
_REPLY_CODE_BYTES: Final = 2
_TAG_AND_REDELIVERED_BYTES: Final = 9
"""Bytes before exchange and routing key: of a return before its reason, of a delivery after its consumer tag."""

_FACTS_BYTES: Final = 12
"""Class, weight and size of the body: bytes of a content header before the properties."""

_HEADERS: Final = 0x2000
_MESSAGE_ID: Final = 0x0080
"""Flags of these properties."""

NAMELESS: Final = "?"


@dataclass(frozen=True, slots=True)
class Content:
    """A message as it stands on the wire."""

    routing_key: bytes
    properties: Properties
    body: bytes


class _HasHeaders(Protocol):
    @property
    def headers(self) -> object: ...


def content_of(properties: _HasHeaders, body: bytes) -> Content:
    """Of what came through a `ContentReader`: the properties that pamqp, or aio-pika, has made of them."""
    assert isinstance(properties.headers, dict), "it did not come through a ContentReader"
    packed = bytes(properties.headers[""])
    end = 1 + packed[0]
    return Content(packed[1:end], Properties.parse(packed[end:]), body)


def returned_as(properties: Properties) -> str:
    """By which message id aiormq knows a message that is returned: its own, if it has one that is a text."""
    return utf8(properties.values.get("message_id", b"")) or NAMELESS


class ContentReader(asyncio.StreamReader):
    """What aiormq reads from: the frames of the broker, with the contents packed.

    aiormq 7.2 reads the first byte of a frame, the six that follow, and the rest. Here a frame is read when its first
    byte is asked for.
    """

    def __init__(self, *, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._ahead = b""
        self._methods: dict[int, tuple[bytes, bytes]] = {}
        """What the content header is for that comes next on a channel, and its routing key."""

    async def readexactly(self, n: int) -> bytes:
        """As of any reader."""
        if not self._ahead:
            self._ahead = await self._frame()
        data, self._ahead = self._ahead[:n], self._ahead[n:]
        return data

    async def _frame(self) -> bytes:
        beginning = await super().readexactly(_FRAME.size)
        if beginning.startswith(AMQP):
            return beginning  # no frame: a broker that speaks another version says so, and closes
        kind, channel, size = _FRAME.unpack(beginning)
        rest = await super().readexactly(size + 1)
        if kind == FRAME_METHOD and rest.startswith(_WITH_CONTENT):
            payload = self._method(channel, rest[:-1])
        elif kind == FRAME_HEADER:
            payload = self._header(channel, rest[:-1])
        else:
            return beginning + rest
        return b"".join((_FRAME.pack(kind, channel, len(payload)), payload, FRAME_END_CHAR))

    def _method(self, channel: int, payload: bytes) -> bytes:
        """Without exchange and routing key, but for a return of texts: whoever has published is told why it came."""
        method = payload[:4]
        exchange_at = _after_text(payload, 4) + _TAG_AND_REDELIVERED_BYTES
        if method == _RETURN:
            exchange_at = _after_text(payload, 4 + _REPLY_CODE_BYTES)
        self._methods[channel] = method, payload[_after_text(payload, exchange_at) :]
        if method == _RETURN and utf8(payload[exchange_at:]) is not None:
            return payload
        return payload[:exchange_at] + b"\0\0"

    def _header(self, channel: int, payload: bytes) -> bytes:
        # One for which there was no method, of a message that was got and not delivered, is not asked for here.
        method, routing_key = self._methods.pop(channel, (b"", b"\0"))
        packed = routing_key + payload[_FACTS_BYTES:]
        field = b"\0x" + len(packed).to_bytes(4) + packed
        table = len(field).to_bytes(4) + field
        if method != _RETURN:
            return payload[:_FACTS_BYTES] + _HEADERS.to_bytes(2) + table
        name = returned_as(Properties.parse(payload[_FACTS_BYTES:])).encode()
        flags = (_HEADERS | _MESSAGE_ID).to_bytes(2)
        return payload[:_FACTS_BYTES] + flags + table + len(name).to_bytes() + name


def _after_text(payload: bytes, start: int) -> int:
    """Where a short text ends that begins there with its length."""
    return start + 1 + payload[start]
