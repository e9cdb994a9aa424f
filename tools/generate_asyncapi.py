"""Writes docs/asyncapi.yaml, the AsyncAPI document of the events, from the contract.

`tools/generate_asyncapi.py --check` writes nothing, and fails when the document is not what the contract generates.
"""

import difflib
import io
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from book_contracts import events
from books.v1.book_event_pb2 import BookEvent, BookEventKind
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import LiteralScalarString

ROOT: Final = Path(__file__).parents[1]
DOCUMENT: Final = ROOT / "docs/asyncapi.yaml"
CONTRACTS: Final = ROOT / "packages/book-contracts"
BUF: Final = Path(sys.executable).with_name("buf")

BINDING: Final = {"bindingVersion": "0.3.0"}
"""Of AsyncAPI's bindings for AMQP 0-9-1."""

UUID: Final = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
"""In its canonical form, for those who do not know the format: it came into JSON Schema after AsyncAPI's."""

EXAMPLE: Final = {
    "specversion": events.SPEC_VERSION,
    "id": "268ec843-2731-40f6-b013-244c10925bc9",
    "source": events.SOURCE,
    "subject": "1",
    "time": "2026-11-23T18:54:23.037277Z",
    "dataschema": events.DATA_SCHEMA,
}


def asyncapi() -> dict[str, Any]:
    """The document, as an application that sends the events: who receives them turns its operations round."""
    files = _contract()
    said = dict(_comments_of_kinds(files))
    types = [events.CREATED, events.UPDATED, events.DELETED]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Colophon: events of the catalogue",
            "version": tomllib.loads((CONTRACTS / "pyproject.toml").read_text())["project"]["version"],
            "description": LiteralScalarString(
                "What the outbox relay publishes: each change of a book, as a CloudEvent 1.0 in binary mode.\n"
                f"A queue bound to the exchange `{events.EXCHANGE}` with `{events.ALL_EVENTS}` gets them all, also of"
                " kinds to come.\n"
                "An event may arrive more than once, with the same id each time. docs/events.md tells what holds.\n"
            ),
            "license": {"name": "Apache-2.0"},
            "tags": [{"name": "books"}],
        },
        "defaultContentType": events.CONTENT_TYPE,
        "servers": {"rabbitmq": _server()},
        "channels": {_key(type_): _channel(type_, said[type_]) for type_ in types},
        "operations": {f"publish{_name(type_)}": _operation(type_, said[type_]) for type_ in types},
        "components": {
            "messages": {_key(type_): _message(type_, said[type_]) for type_ in types},
            "schemas": {"CloudEvent": _headers(), "BookEvent": _body(files)},
            "securitySchemes": {"user": {"type": "userPassword", "description": "A user of the broker."}},
        },
    }


def _server() -> dict[str, Any]:
    return {
        "host": "{host}",
        "protocol": "amqp",
        "protocolVersion": "0.9.1",
        "description": "RabbitMQ 3.10 or newer, where AMQP_URL leads.",
        "variables": {"host": {"default": "localhost:5672", "description": "Its host and port."}},
        "security": [{"$ref": "#/components/securitySchemes/user"}],
    }


def _channel(type_: str, said: str) -> dict[str, Any]:
    exchange = {"name": events.EXCHANGE, "type": "topic", "durable": True, "autoDelete": False}
    return {
        "address": type_,
        "title": _name(type_),
        "description": said,
        "messages": {_key(type_): {"$ref": f"#/components/messages/{_key(type_)}"}},
        "bindings": {"amqp": {"is": "routingKey", "exchange": exchange, **BINDING}},
    }


def _operation(type_: str, said: str) -> dict[str, Any]:
    channel = f"#/channels/{_key(type_)}"
    return {
        "action": "send",
        "channel": {"$ref": channel},
        "title": f"Publish {type_}",
        "summary": said,
        "messages": [{"$ref": f"{channel}/messages/{_key(type_)}"}],
        "bindings": {"amqp": {"deliveryMode": 2, "timestamp": True, **BINDING}},
    }


def _message(type_: str, said: str) -> dict[str, Any]:
    of_this_type = {"type": "object", "properties": {f"{events.HEADER_PREFIX}type": {"const": type_}}}
    example = _prefixed(EXAMPLE | {"type": type_})
    return {
        "name": type_,
        "title": _name(type_),
        "summary": said,
        "contentType": events.CONTENT_TYPE,
        "headers": {"type": "object", "allOf": [{"$ref": "#/components/schemas/CloudEvent"}, of_this_type]},
        "payload": {"$ref": "#/components/schemas/BookEvent"},
        "bindings": {"amqp": {"messageType": type_, **BINDING}},
        "examples": [{"name": type_, "summary": "The headers of an event.", "headers": example}],
    }


def _headers() -> dict[str, Any]:
    """The schema of the headers of every event."""
    attributes = {
        "specversion": {"const": events.SPEC_VERSION, "description": "The version of CloudEvents."},
        "id": {"format": "uuid", "pattern": UUID, "description": "The id of the event, the same on every delivery."},
        "source": {"const": events.SOURCE, "description": "Where events happen."},
        "type": {"pattern": "^book\\.[a-z_]+$", "description": "What happened; the routing key too."},
        "subject": {"pattern": "^[1-9][0-9]*$", "description": "The id of the book."},
        "time": {"format": "date-time", "description": "When it happened, in UTC, to the microsecond."},
        "dataschema": {"const": events.DATA_SCHEMA, "description": "The type URL of the body."},
    }
    trace = {
        "type": "string",
        "pattern": "^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$",
        "description": "The W3C trace of the request that made the change, if it had one.",
    }
    properties = _prefixed({name: {"type": "string"} | schema for name, schema in attributes.items()})
    return {
        "type": "object",
        "description": "The attributes of CloudEvents but datacontenttype, which is the content type of the message.",
        "required": list(properties),
        "properties": properties | {"traceparent": trace},
    }


def _prefixed(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{events.HEADER_PREFIX}{name}": value for name, value in attributes.items()}


def _body(files: Sequence[FileDescriptorProto]) -> dict[str, Any]:
    """The schema of the body. AsyncAPI's schema of protobuf is one text that imports nothing but Google's."""
    package, _, _ = BookEvent.DESCRIPTOR.full_name.rpartition(".")
    theirs = sorted({each for file in files for each in file.dependency if each.startswith("google/")})
    head = ['syntax = "proto3";', "", f"package {package};", "", *(f'import "{each}";' for each in theirs)]
    definitions = (_definitions((CONTRACTS / "proto" / file.name).read_text()) for file in files)
    text = "\n\n".join(["\n".join(head), *definitions]) + "\n"
    return {"schemaFormat": "application/vnd.google.protobuf;version=3", "schema": LiteralScalarString(text)}


def _definitions(proto: str) -> str:
    """What stands behind the head of a file."""
    lines = proto.splitlines()
    last = max(number for number, line in enumerate(lines) if line.startswith(("syntax ", "package ", "import ")))
    return "\n".join(lines[last + 1 :]).strip()


def _contract() -> list[FileDescriptorProto]:
    """The files of ours that an event is made of, each behind those that it imports."""
    command: list[str | Path] = [BUF, "build", CONTRACTS / "proto", "--as-file-descriptor-set", "-o", "-"]
    image = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    files = {file.name: file for file in FileDescriptorSet.FromString(image).file}
    wanted = set(_reachable(BookEvent.DESCRIPTOR.file.name, files))
    return [file for name, file in files.items() if name in wanted and not name.startswith("google/")]


def _reachable(name: str, files: Mapping[str, FileDescriptorProto]) -> Iterator[str]:
    yield name
    for imported in files[name].dependency:
        yield from _reachable(imported, files)


def _comments_of_kinds(files: Iterable[FileDescriptorProto]) -> Iterator[tuple[str, str]]:
    """What the contract says of each kind, under its type on the broker."""
    [file] = [file for file in files if file.name == BookEvent.DESCRIPTOR.file.name]
    [index] = [index for index, enum in enumerate(file.enum_type) if enum.name == BookEventKind.DESCRIPTOR.name]
    paths = {tuple(place.path): place.leading_comments for place in file.source_code_info.location}
    enum_type, value = FileDescriptorProto.ENUM_TYPE_FIELD_NUMBER, 2
    for number, kind in enumerate(file.enum_type[index].value):
        type_ = kind.name.removeprefix("BOOK_EVENT_KIND_").lower()
        yield f"book.{type_}", " ".join(paths[enum_type, index, value, number].split())


def _name(type_: str) -> str:
    """`BookCreated` for `book.created`."""
    return "".join(word.capitalize() for word in type_.split("."))


def _key(type_: str) -> str:
    return _name(type_)[0].lower() + _name(type_)[1:]


def _as_yaml(document: Mapping[str, Any]) -> str:
    yaml = YAML()
    yaml.width = 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.representer.ignore_aliases = lambda _: True
    text = io.StringIO("# Generated from the contract by `make generate`; not edited by hand.\n")
    text.seek(0, io.SEEK_END)
    yaml.dump(document, text)
    return text.getvalue()


def main() -> None:
    fresh = _as_yaml(asyncapi())
    if sys.argv[1:] != ["--check"]:
        DOCUMENT.write_text(fresh)
        return
    there = DOCUMENT.read_text() if DOCUMENT.exists() else ""
    if there != fresh:
        difference = difflib.unified_diff(there.splitlines(), fresh.splitlines(), "there", "generated", lineterm="")
        print(*difference, sep="\n")
        sys.exit(f"{DOCUMENT.relative_to(ROOT)} is not what the contract generates: run `make generate`.")


if __name__ == "__main__":
    main()
