"""Messages of strangers: any property and header, of any kind and value, that RabbitMQ takes."""

import struct
from functools import partial
from typing import Final

from hypothesis import strategies as st
from support.amqp import RawMessage, header, long_text

AN_EVENT: Final = b"an event"
"""Stands for the body of a good event, which is another one each time."""

_LATER: Final = 2**64 - 1
"""Of a timestamp; seconds since 1970."""

_BEYOND: Final = 253_402_300_800
"""The first second of the year 10000."""

_OURS: Final = (b"x-reason", b"x-exception", b"x-queue", b"x-time", b"x-delivery-count", b"x-acquired-count")
_KNOWN: Final = (
    *_OURS,
    b"traceparent",
    b"tracestate",
    *(b"cloudEvents:" + name for name in (b"id", b"source", b"specversion", b"subject", b"time", b"type")),
)


def _number(code: str, least: int, most: int) -> st.SearchStrategy[bytes]:
    return st.integers(least, most).map(partial(struct.pack, f">{code}"))


def _signed(code: str, bits: int) -> st.SearchStrategy[bytes]:
    return _number(code, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


_text = st.one_of(st.text(max_size=20).map(str.encode), st.binary(max_size=40))
_long = _text.map(long_text)
_time = st.one_of(_number("Q", 0, 2**33), _number("Q", _BEYOND, _LATER))

# RabbitMQ has no number for what is infinite or none: it does not take such a message.
_float = st.floats(width=32, allow_nan=False, allow_infinity=False).map(partial(struct.pack, ">f"))
_double = st.floats(allow_nan=False, allow_infinity=False).map(partial(struct.pack, ">d"))

_PLAIN: Final = {
    b"t": st.sampled_from((b"\0", b"\1")),
    b"b": _signed("b", 8),
    b"B": _number("B", 0, 2**8 - 1),
    b"s": _signed("h", 16),
    b"u": _number("H", 0, 2**16 - 1),
    b"I": _signed("i", 32),
    b"i": _number("I", 0, 2**32 - 1),
    b"l": _signed("q", 64),
    b"f": _float,
    b"d": _double,
    b"D": st.tuples(_number("B", 0, 255), _signed("i", 32)).map(b"".join),
    b"S": _long,
    b"T": _time,
    b"V": st.just(b""),
    b"x": _long,
}

_plain = st.one_of(*(st.tuples(st.just(kind), value) for kind, value in _PLAIN.items()))
_name = st.one_of(st.sampled_from(_KNOWN), st.text(max_size=10).map(str.encode), st.binary(max_size=128))


def _lists(members: st.SearchStrategy[tuple[bytes, bytes]]) -> st.SearchStrategy[tuple[bytes, bytes]]:
    return st.lists(members.map(b"".join), max_size=3).map(lambda encoded: (b"A", long_text(b"".join(encoded))))


def _fields(members: st.SearchStrategy[bytes], most: int) -> st.SearchStrategy[list[bytes]]:
    """Two of one name are not valid: RabbitMQ 4 makes one of them."""
    return st.lists(members, max_size=most, unique_by=lambda encoded: encoded[1 : 1 + encoded[0]])


def _tables(members: st.SearchStrategy[tuple[bytes, bytes]]) -> st.SearchStrategy[tuple[bytes, bytes]]:
    fields = _fields(st.tuples(_name, members).map(lambda each: header(each[0], *each[1])), 3)
    return fields.map(lambda encoded: (b"F", long_text(b"".join(encoded))))


_value = st.recursive(_plain, lambda members: st.one_of(_lists(members), _tables(members)), max_leaves=6)

_death = _tables(_plain).map(lambda table: header(b"x-death", b"A", long_text(b"".join(table))))
_copies = st.lists(_text.map(lambda key: b"S" + long_text(b"book." + key.replace(b".", b"")))).map(
    lambda keys: header(b"CC", b"A", long_text(b"".join(keys)))
)
_field = st.one_of(
    st.tuples(_name, _value).map(lambda each: header(each[0], *each[1])),
    _death,
    _copies,
)

_properties = st.fixed_dictionaries(
    {},
    optional={
        "content_type": _text,
        "content_encoding": _text,
        "delivery_mode": st.sampled_from((b"\1", b"\2")),
        "priority": _number("B", 0, 255),
        "correlation_id": _text,
        "reply_to": _text,
        "expiration": st.integers(600_000, 2**32 - 1).map(lambda number: str(number).encode()),
        "message_id": _text,
        "timestamp": _time,
        "type": _text,
        "user_id": st.just(b"tests"),
        "app_id": _text,
        "cluster_id": _text,
    },
)

_routing_key = _text.map(lambda word: b"book." + word.replace(b".", b""))

_body = st.one_of(
    st.just(AN_EVENT),
    st.binary(max_size=60),
    # In one frame, and in some.
    st.integers(130_000, 300_000).map(lambda size: b"\xff" * size),
)

strange_messages = st.builds(
    RawMessage,
    routing_key=_routing_key,
    properties=_properties,
    fields=st.one_of(st.none(), _fields(_field, 6).map(tuple)),
    body=_body,
)
"""Some are good events but for their properties."""


def _nested(depth: int) -> bytes:
    value = b"V"
    for _ in range(depth):
        value = b"A" + long_text(value)
    return value


HARD_ONES: Final = {
    "microseconds-for-seconds": RawMessage(b"book.created", {"timestamp": (1_795_456_921_000_000).to_bytes(8)}),
    "the-latest-timestamp": RawMessage(b"book.created", {"timestamp": b"\xff" * 8}),
    "a-header-in-the-year-10000": RawMessage(b"book.created", {}, (header(b"when", b"T", _BEYOND.to_bytes(8)),)),
    "a-routing-key-that-is-no-utf-8": RawMessage(b"book.\xff\xfe"),
    "an-id-that-is-no-utf-8": RawMessage(b"book.created", {"message_id": b"\xe9\xff"}),
    "a-type-that-is-no-utf-8": RawMessage(
        b"book.created", {"type": b"caf\xe9", "reply_to": b"\xff", "app_id": b"\xff"}
    ),
    "a-name-that-is-no-utf-8": RawMessage(b"book.created", {}, (header(b"caf\xe9", b"S", long_text(b"au lait")),)),
    "a-text-that-is-no-utf-8": RawMessage(b"book.created", {}, (header(b"drink", b"S", long_text(b"caf\xe9")),)),
    "a-double": RawMessage(b"book.created", {}, (header(b"price", b"d", struct.pack(">d", 0.1)),)),
    "a-great-double": RawMessage(b"book.created", {}, (header(b"mass", b"d", struct.pack(">d", 1e300)),)),
    "no-name": RawMessage(b"book.created", {}, (header(b"", b"l", b"\xff" * 8),)),
    "lists-in-lists": RawMessage(b"book.created", {}, (header(b"deep", b"A", long_text(_nested(400))),)),
    "nothing-at-all": RawMessage(b"book."),
}
"""Those that have been found hard, by what is hard about them."""
