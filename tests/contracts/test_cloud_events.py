"""The events are CloudEvents 1.0 over AMQP in binary mode, says the SDK of CloudEvents."""

from datetime import UTC, datetime, timedelta

import pytest
from aio_pika import DeliveryMode
from aio_pika.abc import AbstractIncomingMessage
from book_contracts import events
from books.v1.book_event_pb2 import (
    BOOK_EVENT_KIND_CREATED,
    BOOK_EVENT_KIND_DELETED,
    BOOK_EVENT_KIND_UPDATED,
    BookEvent,
)
from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.bindings.amqp import AMQPMessage, from_amqp
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from google.protobuf.any_pb2 import Any as AnyMessage
from jsonschema_rs import Draft202012Validator

from .conftest import Sent

KINDS = {
    events.CREATED: BOOK_EVENT_KIND_CREATED,
    events.UPDATED: BOOK_EVENT_KIND_UPDATED,
    events.DELETED: BOOK_EVENT_KIND_DELETED,
}
of_each_type = pytest.mark.parametrize("type_", KINDS)

A_URI = Draft202012Validator({"format": "uri"}, validate_formats=True)
A_URI_REFERENCE = Draft202012Validator({"format": "uri-reference"}, validate_formats=True)


def as_a_cloud_event(message: AbstractIncomingMessage) -> BaseCloudEvent:
    """Read by the SDK's binding to AMQP, which finds out by itself that this is binary mode, and refuses what is wrong.

    RabbitMQ makes a message of AMQP 1.0, which the binding is about, from one of AMQP 0-9-1 in the same way: the
    headers are the application properties.
    """
    properties = {"content-type": message.content_type}
    return from_amqp(AMQPMessage(properties, dict(message.headers), message.body), JSONFormat())


def data_of(event: BaseCloudEvent) -> bytes:
    """The SDK takes bytes that happen to be UTF-8 for text."""
    data = event.get_data()
    assert isinstance(data, str | bytes)
    return data.encode() if isinstance(data, str) else data


@of_each_type
class TestAMessageOfTheRelay:
    def test_is_a_cloud_event_of_version_1(self, sent: Sent, type_: str) -> None:
        event = as_a_cloud_event(sent[type_])
        assert isinstance(event, CloudEvent)
        assert event.get_specversion() == "1.0"
        assert event.get_type() == type_

    def test_says_in_its_attributes_what_its_body_says(self, sent: Sent, type_: str) -> None:
        event = as_a_cloud_event(sent[type_])
        body = BookEvent.FromString(data_of(event))
        assert event.get_id() == body.id == sent[type_].message_id
        assert event.get_subject() == str(body.book.id)
        assert event.get_time() == body.time.ToDatetime(tzinfo=UTC)
        assert body.kind == KINDS[type_]

    def test_keeps_to_the_types_of_the_attributes(self, sent: Sent, type_: str) -> None:
        event = as_a_cloud_event(sent[type_])
        assert A_URI_REFERENCE.is_valid(event.get_source())
        assert A_URI.is_valid(event.get_dataschema()), "absolute, which a mere name is not"
        time = event.get_time()
        assert time is not None
        assert time.utcoffset() == timedelta(0)
        assert datetime.now(UTC) - time < timedelta(minutes=10)

    def test_says_once_what_its_data_are(self, sent: Sent, type_: str) -> None:
        event = as_a_cloud_event(sent[type_])
        assert event.get_datacontenttype() == sent[type_].content_type == "application/protobuf"
        assert "cloudEvents:datacontenttype" not in sent[type_].headers

    def test_has_no_attribute_but_those_of_the_specification(self, sent: Sent, type_: str) -> None:
        attributes = set(as_a_cloud_event(sent[type_]).get_attributes())
        required, optional = (
            {"specversion", "id", "source", "type"},
            {"datacontenttype", "dataschema", "subject", "time"},
        )
        assert attributes == required | optional

    def test_names_its_schema_so_that_protobuf_can_unpack_it(self, sent: Sent, type_: str) -> None:
        event = as_a_cloud_event(sent[type_])
        packed = AnyMessage(type_url=event.get_dataschema() or "", value=data_of(event))
        assert packed.Unpack(BookEvent())

    def test_outlives_a_restart_of_the_broker(self, sent: Sent, type_: str) -> None:
        assert sent[type_].delivery_mode == DeliveryMode.PERSISTENT


class TestTheTrace:
    def test_travels_beside_the_attributes_when_there_is_one(self, sent: Sent) -> None:
        assert sent[events.CREATED].headers["traceparent"] == "00-00000000000000004bf92f3577b34da6-00f067aa0ba902b7-01"
        assert "traceparent" not in sent[events.UPDATED].headers
