"""Two codecs from one proto: betterproto2 and protobuf's own read each other's bytes, whatever is in the messages."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import betterproto2
import book_contracts
import pytest
from books.v1 import book_event_pb2, book_pb2, book_service_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.date_pb2 import Date as GoogleDate  # type: ignore[import-untyped]  # comes without py.typed
from hypothesis import given
from hypothesis import strategies as st

FILES = [book_pb2.DESCRIPTOR, book_event_pb2.DESCRIPTOR, book_service_pb2.DESCRIPTOR]
MESSAGES = [message for file in FILES for message in file.message_types_by_name.values()] + [FieldMask.DESCRIPTOR]

_SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.TYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_STRING: st.text(),
    # Also those that come into the contract one day.
    FieldDescriptor.TYPE_ENUM: st.integers(0, 2**31 - 1) | st.sampled_from([0, 1, 2, 3]),
}


def messages(descriptor: Descriptor) -> st.SearchStrategy[Message]:
    """Messages of a type with anything in any field, in protobuf's own class."""
    if descriptor is Timestamp.DESCRIPTOR:
        return st.datetimes(timezones=st.just(UTC)).map(_timestamp)
    fields = {field.name: _values(field) for field in descriptor.fields}
    return st.fixed_dictionaries({}, optional=fields).map(lambda values: GetMessageClass(descriptor)(**values))


def _values(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    each = _SCALARS[field.type] if field.message_type is None else messages(field.message_type)
    return st.lists(each, max_size=4) if field.is_repeated else each


def _timestamp(time: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(time)
    return timestamp


def better_class(descriptor: Descriptor) -> type[betterproto2.Message]:
    found: type[betterproto2.Message] = getattr(book_contracts, descriptor.name)
    return found


def what_protobuf_says(message: Message) -> Any:
    """The message as plain values."""
    if isinstance(message, Timestamp):
        return message.ToDatetime(tzinfo=UTC)
    return {field.name: _said(message, field) for field in message.DESCRIPTOR.fields}


def _said(message: Message, field: Any) -> Any:
    value = getattr(message, field.name)
    if field.is_repeated:
        return list(value) if field.message_type is None else [what_protobuf_says(each) for each in value]
    if field.has_presence and not message.HasField(field.name):
        return None
    return value if field.message_type is None else what_protobuf_says(value)


def what_betterproto_says(value: Any) -> Any:
    """The same of a message of betterproto2's."""
    match value:
        case betterproto2.Message():
            names = [field.name for field in _descriptor_of(value).fields]
            return {name: what_betterproto_says(getattr(value, name)) for name in names}
        case list():
            return [what_betterproto_says(each) for each in value]
        case betterproto2.Enum():
            return value.value
    return value


def _descriptor_of(message: betterproto2.Message) -> Descriptor:
    return next(descriptor for descriptor in MESSAGES if descriptor.name == type(message).__name__)


@pytest.mark.parametrize("descriptor", MESSAGES, ids=lambda descriptor: descriptor.name)
class TestEveryMessage:
    @given(data=st.data())
    def test_betterproto_reads_what_protobuf_writes(self, descriptor: Descriptor, data: st.DataObject) -> None:
        message = data.draw(messages(descriptor))
        read = better_class(descriptor).parse(message.SerializeToString())
        assert what_betterproto_says(read) == what_protobuf_says(message)

    @given(data=st.data())
    def test_protobuf_reads_what_betterproto_writes(self, descriptor: Descriptor, data: st.DataObject) -> None:
        message = data.draw(messages(descriptor))
        better = better_class(descriptor)
        # Made field by field, so that nothing is written which was only kept as it was read.
        rewritten = _made_anew(better.parse(message.SerializeToString()))
        assert GetMessageClass(descriptor).FromString(bytes(rewritten)) == message

    def test_both_know_the_same_fields(self, descriptor: Descriptor) -> None:
        better: Any = better_class(descriptor)
        fields = better._betterproto.meta_by_field_name
        assert {name: meta.number for name, meta in fields.items()} == {
            field.name: field.number for field in descriptor.fields
        }

    @pytest.mark.parametrize("codec", [pytest.param(GetMessageClass, id="protobuf"), better_class])
    def test_a_field_from_a_newer_contract_is_passed_over_and_kept(
        self, descriptor: Descriptor, codec: Callable[[Descriptor], Any]
    ) -> None:
        newer = b"\xfa\x06\x03new"  # field 111
        kind = codec(descriptor)
        read = kind.parse(newer) if issubclass(kind, betterproto2.Message) else kind.FromString(newer)
        assert (bytes(read) if isinstance(read, betterproto2.Message) else read.SerializeToString()) == newer


def _made_anew(value: Any) -> Any:
    match value:
        case betterproto2.Message():
            fields = [field.name for field in _descriptor_of(value).fields]
            return type(value)(**{name: _made_anew(getattr(value, name)) for name in fields})
        case list():
            return [_made_anew(each) for each in value]
    return value


class TestDate:
    @given(st.dates())
    def test_it_is_the_same_on_the_wire_as_google_type_date(self, day: Any) -> None:
        ours = book_contracts.Date(year=day.year, month=day.month, day=day.day)
        google = GoogleDate(year=day.year, month=day.month, day=day.day)
        assert bytes(ours) == google.SerializeToString()
        assert book_contracts.Date.parse(google.SerializeToString()) == ours

    def test_it_has_the_fields_of_google_type_date(self) -> None:
        def shape(descriptor: Any) -> list[tuple[str, int, int]]:
            return [(field.name, field.number, field.type) for field in descriptor.fields]

        assert shape(book_pb2.Date.DESCRIPTOR) == shape(GoogleDate.DESCRIPTOR)


class TestBookEventKind:
    def test_both_know_the_same_values(self) -> None:
        ours = book_contracts.BookEventKind.betterproto_renamed_proto_names_to_value()
        assert ours == dict(book_event_pb2.BookEventKind.items())

    @pytest.mark.parametrize("number", [4, 2**31 - 1])
    def test_a_value_from_a_newer_contract_comes_through(self, number: int) -> None:
        newer = book_event_pb2.BookEvent(kind=number)  # type: ignore[arg-type]  # unknown on purpose
        read = book_contracts.BookEvent.parse(newer.SerializeToString())
        assert read.kind.value == number
        assert read.kind not in list(book_contracts.BookEventKind)
        assert book_event_pb2.BookEvent.FromString(bytes(read)) == newer


class TestTimes:
    @given(st.datetimes(timezones=st.just(UTC)))
    def test_they_come_through_to_the_microsecond_in_utc(self, time: datetime) -> None:
        book = book_contracts.Book(create_time=time)
        read = book_contracts.Book.parse(bytes(book)).create_time
        assert read == time
        assert read is not None
        assert read.tzinfo is UTC
        assert book_pb2.Book.FromString(bytes(book)).create_time.ToDatetime(tzinfo=UTC) == time
