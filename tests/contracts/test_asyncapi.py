"""docs/asyncapi.yaml is AsyncAPI 3, and what really travels keeps to it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from book_contracts import events
from books.v1.book_event_pb2 import BookEvent
from grpc_api.consumer import BOOK_LOG
from jsonschema_rs import Draft7Validator, ValidationError
from ruamel.yaml import YAML
from support.node import NodeProject

from .conftest import Sent

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs/asyncapi.yaml"
TYPES = [events.CREATED, events.UPDATED, events.DELETED]

Document = dict[str, Any]


@pytest.fixture(scope="module")
def document() -> Document:
    loaded: Document = YAML(typ="safe").load(DOCUMENT)
    return loaded


FAULTS = {
    "a-reference": ("$ref: '#/channels/bookCreated'", "$ref: '#/channels/none'"),
    "a-binding": ("deliveryMode: 2", "deliveryMode: 3"),
    "the-protobuf": ("int64 id = 1;", "int46 id = 1;"),
}
"""What is there, and what stands instead of it."""


@pytest.fixture(scope="module")
def readings(node: NodeProject) -> dict[str, Any]:
    """The document without a fault, and with each of them, as AsyncAPI's parser reads it. To load it takes seconds."""
    text = DOCUMENT.read_text()
    texts = {"": text} | {fault: text.replace(there, instead) for fault, (there, instead) in FAULTS.items()}
    done = node.run("validate-asyncapi.js", stdin=json.dumps(list(texts.values())))
    assert done.returncode == 0, done.stderr
    return dict(zip(texts, json.loads(done.stdout), strict=True))


@pytest.fixture
def read(readings: dict[str, Any]) -> dict[str, Any]:
    """The document, as AsyncAPI's parser has read it."""
    read: dict[str, Any] = readings[""]
    return read


def complaints(read: dict[str, Any]) -> list[str]:
    """What the parser has to say, but for advice: that there is a newer version of AsyncAPI, say."""
    return [said for said in read["said"] if not said.startswith("information")]


class TestTheDocument:
    def test_is_valid_to_the_parser_of_asyncapi(self, read: dict[str, Any]) -> None:
        assert complaints(read) == []

    @pytest.mark.parametrize(
        ("fault", "complaint"),
        [
            pytest.param("a-reference", "does not exist", id="a-reference"),
            pytest.param("a-binding", "equal to one of the allowed values", id="a-binding"),
            pytest.param("the-protobuf", "no such Type or Enum 'int46'", id="the-protobuf"),
        ],
    )
    def test_would_not_be_valid_with_a_fault(self, readings: dict[str, Any], fault: str, complaint: str) -> None:
        there, _ = FAULTS[fault]
        assert there in DOCUMENT.read_text()
        said = complaints(readings[fault])
        assert any(complaint in each for each in said), said

    def test_says_where_each_event_is_published_and_what_is_in_it(self, read: dict[str, Any]) -> None:
        operations = read["operations"]
        assert [operation["address"] for operation in operations] == TYPES
        for operation in operations:
            assert operation["action"] == "send"
            assert operation["exchange"] == events.EXCHANGE == BOOK_LOG.exchange
            assert operation["message"] == operation["address"]
            assert operation["fields"] == [field.name for field in BookEvent.DESCRIPTOR.fields]

    def test_gives_examples_that_keep_to_it(self, document: Document) -> None:
        for message in document["components"]["messages"].values():
            [example] = message["examples"]
            check(document, message["headers"], example["headers"])

    def test_is_what_the_contract_generates(self) -> None:
        done = subprocess.run(
            [sys.executable, ROOT / "tools/generate_asyncapi.py", "--check"],
            check=False,
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


class TestAMessageOfTheRelay:
    @pytest.mark.parametrize("type_", TYPES)
    def test_keeps_to_the_document(self, sent: Sent, document: Document, type_: str) -> None:
        channel = only(each for each in document["channels"].values() if each["address"] == type_)
        message = only(each for each in document["components"]["messages"].values() if each["name"] == type_)
        check(document, message["headers"], sent[type_].headers)
        assert sent[type_].exchange == channel["bindings"]["amqp"]["exchange"]["name"]
        assert sent[type_].routing_key == channel["address"]
        assert sent[type_].type == message["bindings"]["amqp"]["messageType"]
        assert sent[type_].content_type == message["contentType"] == document["defaultContentType"]

    @pytest.mark.parametrize("type_", TYPES)
    def test_is_published_as_the_document_says(self, sent: Sent, document: Document, type_: str) -> None:
        for operation in document["operations"].values():
            assert sent[type_].delivery_mode == operation["bindings"]["amqp"]["deliveryMode"]
            assert (sent[type_].timestamp is not None) == operation["bindings"]["amqp"]["timestamp"]

    def test_has_no_header_that_the_document_does_not_know_and_all_that_it_knows(
        self, sent: Sent, document: Document
    ) -> None:
        known = set(document["components"]["schemas"]["CloudEvent"]["properties"])
        assert {name for message in sent.values() for name in message.headers} == known

    @pytest.mark.parametrize(
        ("header", "value"),
        [
            pytest.param("cloudEvents:id", None, id="an-attribute-is-missing"),
            pytest.param("cloudEvents:id", "17", id="the-id-is-no-uuid"),
            pytest.param("cloudEvents:time", "yesterday", id="the-time-is-none"),
            pytest.param("cloudEvents:type", events.DELETED, id="the-type-is-another"),
            pytest.param("cloudEvents:dataschema", "books.v1.BookEvent", id="the-schema-is-a-mere-name"),
            pytest.param("traceparent", "none", id="the-trace-is-none"),
        ],
    )
    def test_would_be_refused_by_the_document_with_a_fault(
        self, sent: Sent, document: Document, header: str, value: str | None
    ) -> None:
        headers = {name: each for name, each in sent[events.CREATED].headers.items() if name != header}
        schema = document["components"]["messages"]["bookCreated"]["headers"]
        with pytest.raises(ValidationError):
            check(document, schema, headers | ({header: value} if value else {}))


def only(found: Any) -> Any:
    [one] = found
    return one


def check(document: Document, schema: Document, headers: object) -> None:
    """Raises ValidationError. The schema's references lead into the document."""
    Draft7Validator({**schema, "components": document["components"]}, validate_formats=True).validate(headers)
