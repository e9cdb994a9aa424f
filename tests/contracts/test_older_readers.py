"""Whoever was built from an older release reads what today's services write.

packages/book-contracts/releases has the contract of each release. Of it a reader of events and a client are made here
that know nothing newer.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import grpc
import httpx
import pytest
from book_db.book import Book
from book_db.events import model
from book_db.events.outbox import OutboxEvent
from books.v1.book_event_pb2 import BookEvent
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from rest_api.relay.events import message_of
from support.people import PASSWORD
from support.services import Colophon
from support.waiting import PATIENCE
from support.workspace import Workspace

RELEASES = Path(__file__).parents[2] / "packages/book-contracts/releases"
IMAGES = sorted(RELEASES.glob("*.binpb"))
assert IMAGES, "there is a release to compare with"

ACTOR = UUID("7c1e1a52-3d5c-4a43-9f69-6e5f4d3c2b1a")
CREATED = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
CHANGED = CREATED + timedelta(days=1, microseconds=1)
BOOK = Book(42, "Война и мир", "Лев Толстой", date(1869, 1, 2), 3, CREATED, CHANGED)

Fields = Mapping[str, Any]


class Contract:
    """A release's messages, as protobuf makes them for someone who has that release and nothing else."""

    def __init__(self, image: Path) -> None:
        self._pool = DescriptorPool()
        for file in FileDescriptorSet.FromString(image.read_bytes()).file:
            self._pool.Add(file)

    def message(self, name: str) -> type[Message]:
        return GetMessageClass(self._pool.FindMessageTypeByName(f"books.v1.{name}"))


@pytest.fixture(params=IMAGES, ids=lambda image: f"release-{image.stem}")
def contract(request: pytest.FixtureRequest) -> Contract:
    return Contract(request.param)


def fields_of(message: Message) -> Fields:
    return MessageToDict(message, preserving_proto_field_name=True)


def names_in(fields: Fields, place: str = "") -> Iterator[str]:
    """`book.title` and all others, also those of the messages inside."""
    for name, value in fields.items():
        yield f"{place}{name}"
        if isinstance(value, Mapping):
            yield from names_in(value, f"{place}{name}.")


def names_known_to(descriptor: Any) -> Iterator[str]:
    """As `names_in`, of all fields that the contract has."""
    for field in descriptor.fields:
        yield field.name
        if field.message_type and field.message_type.full_name.startswith("books.v1."):
            yield from (f"{field.name}.{name}" for name in names_known_to(field.message_type))


class TestAReaderOfEvents:
    @pytest.mark.parametrize("kind", ["created", "updated", "deleted"])
    def test_finds_everything_it_knows_in_the_events_of_today(self, contract: Contract, kind: str) -> None:
        event = model.BookEvent(UUID("1f8d3c7e-9f0a-4d27-8f1b-0a1b2c3d4e5f"), kind, str(ACTOR), CHANGED, BOOK)
        reader = contract.message("BookEvent")
        read = fields_of(reader.FromString(message_of(OutboxEvent(7, None, event)).body))
        assert read == {
            "id": "1f8d3c7e-9f0a-4d27-8f1b-0a1b2c3d4e5f",
            "kind": f"BOOK_EVENT_KIND_{kind.upper()}",
            "time": "2026-11-24T12:00:00.123457Z",
            "actor": "7c1e1a52-3d5c-4a43-9f69-6e5f4d3c2b1a",
            "book": {
                "id": "42",
                "title": "Война и мир",
                "author": "Лев Толстой",
                "publication_date": {"year": 1869, "month": 1, "day": 2},
                "version": "3",
                "create_time": "2026-11-23T12:00:00.123456Z",
                "update_time": "2026-11-24T12:00:00.123457Z",
            },
        }
        assert set(names_in(read)) == set(names_known_to(reader.DESCRIPTOR))

    def test_is_not_disturbed_by_kinds_and_fields_of_the_future(self, contract: Contract) -> None:
        of_the_future = BookEvent(id="x", kind=99).SerializeToString() + b"\xa2\x06\x03new"  # type: ignore[arg-type]  # as it says
        read = contract.message("BookEvent").FromString(of_the_future)
        assert fields_of(read) == {"id": "x", "kind": 99}


class TestAClient:
    @pytest.fixture
    def colophon(self, workspace: Workspace) -> Iterator[Colophon]:
        with Colophon(workspace) as service:
            yield service

    def test_finds_everything_it_knows_in_the_answers_of_today(self, contract: Contract, colophon: Colophon) -> None:
        authorization, book = _add_a_book(colophon.url)
        with grpc.insecure_channel(colophon.address, options=[("grpc.enable_http_proxy", 0)]) as channel:
            got = _call(channel, contract, authorization, "GetBook", {"id": book["id"]})
            page = _call(channel, contract, authorization, "ListBooks", {"page_size": 1})
        assert fields_of(got)["book"] == {
            "id": str(book["id"]),
            "title": "Middlemarch",
            "author": "George Eliot",
            "publication_date": {"year": 1871, "month": 12, "day": 1},
            "version": "1",
            "create_time": book["created_at"],
            "update_time": book["updated_at"],
        }
        assert set(names_in(fields_of(got))) == set(names_known_to(got.DESCRIPTOR))
        assert fields_of(page)["books"] == [fields_of(got)["book"]]


def _add_a_book(url: str) -> tuple[str, dict[str, Any]]:
    """What to send as authorization, and the book as REST shows it."""
    with httpx.Client(base_url=f"{url}/api/v1", timeout=PATIENCE) as client:
        client.post("/auth/register", json={"email": "ann@example.org", "password": PASSWORD}).raise_for_status()
        login = client.post("/auth/login", data={"username": "ann@example.org", "password": PASSWORD})
        authorization = f"Bearer {login.json()['access_token']}"
        draft = {"title": "Middlemarch", "author": "George Eliot", "publication_date": "1871-12-01"}
        added = client.post("/books", json=draft, headers={"authorization": authorization})
        return authorization, added.raise_for_status().json()


def _call(channel: grpc.Channel, contract: Contract, authorization: str, method: str, request: Fields) -> Message:
    call: grpc.UnaryUnaryMultiCallable[Message, Message] = channel.unary_unary(
        f"/books.v1.BookService/{method}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=contract.message(f"{method}Response").FromString,
    )
    asked = contract.message(f"{method}Request")(**request)
    return call(asked, timeout=PATIENCE, metadata=(("authorization", authorization),))
