"""What stands on the wire: taken apart and put together, whatever it is."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from aiormq.connection import FrameReceiver
from book_runtime.broker.amqp.envelope import delivery_count, from_amqp, from_dead_letter, to_dead_letter
from book_runtime.broker.amqp.properties import Properties
from book_runtime.broker.amqp.reading import Content, ContentReader, content_of
from book_runtime.broker.amqp.tables import Field, Table
from hypothesis import example, given
from hypothesis import strategies as st
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.frame import marshal
from pamqp.header import ContentHeader
from pamqp.heartbeat import Heartbeat

ROOM = 131_000

AN_ORDINARY_ONE = Basic.Properties(
    content_type="application/protobuf",
    headers={
        "text": "Œuvres",
        "number": -7,
        "large": 2**40,
        "time": datetime(2026, 12, 1, tzinfo=UTC),
        "yes": True,
        "none": None,
        "list": [1, {"a": "b"}],
        "table": {"a": 1.5},
    },
    delivery_mode=2,
    priority=0,
    message_id="event-1",
    timestamp=datetime(2026, 12, 1, tzinfo=UTC),
    message_type="book.created",
    app_id="tests",
)


def content(properties: bytes, routing_key: bytes = b"book.created", body: bytes = b"") -> Content:
    return Content(routing_key, Properties.parse(properties), body)


def with_headers(*fields: bytes) -> Content:
    return Content(b"", Properties({"headers": b"".join(fields)}), b"")


class TestWhatAnybodyMayHaveWritten:
    @given(st.binary(max_size=200))
    @example(b"\x00")
    @example(b"\x05ab")
    @example(b"\x01aS\xff\xff\xff\xff")
    @example(b"\x01aA\x00\x00\x00\x05F\xff\xff\xff\xff")
    def test_of_a_table_is_kept_bit_for_bit_and_never_raises(self, data: bytes) -> None:
        table = Table.parse(data)
        assert table.encode() == data
        for value in table.read().values():
            if isinstance(value, Table):
                value.read()

    @given(st.binary(max_size=200))
    @example(b"\xff\xff")
    @example(b"\x00\x01" * 3)
    def test_of_properties_never_raises(self, data: bytes) -> None:
        properties = Properties.parse(data)
        from_amqp(Content(data[:10], properties, b""))
        assert Properties.parse(properties.encode()) == properties

    @given(st.binary(max_size=200), st.binary(max_size=200))
    def test_can_be_set_aside_and_sent_again(self, data: bytes, headers: bytes) -> None:
        strange = Content(b"", Properties({**Properties.parse(data).values, "headers": headers}), b"")
        letter = to_dead_letter(strange, queue="q", reason="r\udcff", error=ValueError("\udcff"), room=ROOM)
        told = letter.headers.read()
        assert (told["x-queue"], told["x-reason"]) == ("q", r"r\udcff")
        assert "ValueError" in str(told["x-exception"])
        assert from_dead_letter(Content(b"", letter, b"")).values.keys() == letter.values.keys()


class TestAnOrdinaryMessage:
    def test_is_what_pamqp_has_written(self) -> None:
        message = from_amqp(content(AN_ORDINARY_ONE.marshal(), body=b"b"))
        assert (message.id, message.type, message.content_type) == (
            "event-1",
            "book.created",
            "application/protobuf",
        )
        assert (message.routing_key, message.body) == ("book.created", b"b")
        assert message.timestamp == datetime(2026, 12, 1, tzinfo=UTC)
        assert message.headers == {"text": "Œuvres"}

    def test_is_written_as_it_was_read(self) -> None:
        written = AN_ORDINARY_ONE.marshal()
        assert Properties.parse(written).encode() == written

    def test_has_headers_that_can_be_read(self) -> None:
        read = Properties.parse(AN_ORDINARY_ONE.marshal()).headers.read()
        assert read == {
            "text": "Œuvres",
            "number": -7,
            "large": 2**40,
            "time": datetime(2026, 12, 1, tzinfo=UTC),
        }

    def test_has_no_time_of_its_own_after_the_year_9999(self) -> None:
        last = b"\x00\x40" + (253_402_300_799).to_bytes(8)
        assert from_amqp(content(last)).timestamp == datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
        before = datetime.now(UTC)
        for beyond in (253_402_300_800, 2**64 - 1):
            assert before <= from_amqp(content(b"\x00\x40" + beyond.to_bytes(8))).timestamp <= datetime.now(UTC)

    def test_shows_bytes_that_are_no_text_as_escapes(self) -> None:
        message = from_amqp(content(b"\x00\x80\x04caf\xe9", routing_key=b"book.\xff"))
        assert (message.id, message.routing_key) == (r"caf\xe9", r"book.\xff")


class TestACount:
    @pytest.mark.parametrize(
        ("field", "count"),
        [
            pytest.param(b"l" + (7).to_bytes(8), 7, id="as-rabbitmq-writes-it"),
            pytest.param(b"b\xff", -1, id="below-zero"),
            pytest.param(b"t\x01", 0, id="yes-is-no-number"),
            pytest.param(b"S\x00\x00\x00\x011", 0, id="a-digit-is-no-number"),
        ],
    )
    def test_is_a_whole_number(self, field: bytes, count: int) -> None:
        assert delivery_count(with_headers(b"\x10x-delivery-count" + field)) == count


class TestALetter:
    def test_has_the_kinds_of_its_fields(self) -> None:
        fields = [b"\x01f" + b"d" + b"\x3f\xb9\x99\x99\x99\x99\x99\x9a", b"\x01s" + b"S\x00\x00\x00\x01\xff"]
        letter = to_dead_letter(with_headers(*fields), queue="q", reason="r", error=ValueError(), room=ROOM)
        assert [field.encode() for field in letter.headers.fields[-2:]] == fields

    def test_tells_its_own_in_place_of_what_somebody_else_has_told(self) -> None:
        forged = Field.of_text("x-reason", "forged").encode()
        letter = to_dead_letter(with_headers(forged, forged), queue="q", reason="r", error=ValueError(), room=ROOM)
        assert [field.value[4:] for field in letter.headers.fields if field.name == b"x-reason"] == [b"r"]

    def test_goes_without_its_stack_where_room_is_short(self) -> None:
        large = Field(b"large", b"x", (1000).to_bytes(4) + bytes(1000))
        letter = to_dead_letter(
            with_headers(large.encode()), queue="q", reason="r", error=ValueError("e" * 9000), room=2000
        )
        assert large in letter.headers.fields
        assert "x-exception" not in letter.headers.read()
        assert letter.headers.read()["x-reason"] == "r"

    def test_says_which_headers_it_goes_without_where_there_is_no_room_for_them(self) -> None:
        small, large = (
            Field(name, b"x", (size).to_bytes(4) + bytes(size)) for name, size in ((b"s", 9), (b"\xff", 1980))
        )
        letter = to_dead_letter(
            with_headers(small.encode(), large.encode()), queue="q", reason="r", error=ValueError(), room=2000
        )
        assert len(letter.encode()) <= 2000
        assert [field.name for field in letter.headers.fields] == [b"x-queue", b"x-time", b"x-reason", b"s"]
        assert letter.headers.read()["x-reason"] == r"r (left out, as too great for a dead letter: \xff)"

    def test_goes_without_what_cannot_be_read_where_there_is_no_room_for_it(self) -> None:
        unknown = b"\x01u\x00" + bytes(1980)
        letter = to_dead_letter(with_headers(unknown), queue="q", reason="r", error=ValueError(), room=2000)
        assert len(letter.encode()) <= 2000
        assert letter.headers.rest == b""


class TestReading:
    FRAMES = (
        marshal(Basic.QosOk(), 1)
        + marshal(Heartbeat(), 0)
        + marshal(Basic.Deliver("tag", 7, True, "books.events", "book.created"), 1)
        + marshal(ContentHeader(body_size=3, properties=AN_ORDINARY_ONE), 1)
        + marshal(ContentBody(b"abc"), 1)
        + marshal(Basic.Return(312, "NO_ROUTE", "books.events", "book.odd"), 2)
        + marshal(ContentHeader(body_size=0, properties=AN_ORDINARY_ONE), 2)
        + marshal(Basic.Ack(3), 2)
    )

    @staticmethod
    async def frames_of(reader: ContentReader) -> list[tuple[int, Any]]:
        receiver = FrameReceiver(reader)
        return [(channel, frame) async for _, channel, frame in receiver]

    @pytest.mark.parametrize("size", [pytest.param(1, id="byte-by-byte"), pytest.param(10_000, id="all-at-once")])
    async def test_hands_on_all_frames_with_their_contents_packed(self, size: int) -> None:
        reader = ContentReader(loop=asyncio.get_running_loop())
        for start in range(0, len(self.FRAMES), size):
            reader.feed_data(self.FRAMES[start : start + size])
        reader.feed_eof()
        frames = await self.frames_of(reader)
        assert [(channel, frame.name) for channel, frame in frames] == [
            (1, "Basic.QosOk"),
            (0, "Heartbeat"),
            (1, "Basic.Deliver"),
            (1, "ContentHeader"),
            (1, "ContentBody"),
            (2, "Basic.Return"),
            (2, "ContentHeader"),
            (2, "Basic.Ack"),
        ]
        delivery, delivered, returned = frames[2][1], frames[3][1], frames[6][1]
        assert (delivery.delivery_tag, delivery.redelivered, delivery.consumer_tag) == (7, True, "tag")
        assert delivered.body_size == 3
        assert content_of(delivered.properties, b"abc") == content(AN_ORDINARY_ONE.marshal(), body=b"abc")
        assert (delivery.exchange, frames[5][1].routing_key) == ("", "book.odd")
        # By its id aiormq finds whoever waits for what is returned.
        assert (delivered.properties.message_id, returned.properties.message_id) == (None, "event-1")
        assert content_of(returned.properties, b"").routing_key == b"book.odd"

    async def test_hands_on_what_is_returned_for_a_routing_key_that_is_no_text(self) -> None:
        reader = ContentReader(loop=asyncio.get_running_loop())
        returned = marshal(Basic.Return(312, "NO_ROUTE", "books.events", "book.odd"), 2)
        reader.feed_data(returned.replace(b"odd", b"\xff\xfe\xfd") + marshal(ContentHeader(body_size=0), 2))
        reader.feed_eof()
        [(_, method), (_, header)] = await self.frames_of(reader)
        assert (method.reply_text, method.routing_key) == ("NO_ROUTE", "")
        assert content_of(header.properties, b"").routing_key == b"book.\xff\xfe\xfd"
