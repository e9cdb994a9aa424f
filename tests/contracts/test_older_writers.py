"""Today's programs read what the services of older releases wrote.

packages/book-contracts/releases has messages of each release as they were on the wire, and what is to be read in them.
"""

import io
import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import book_contracts
import psycopg
import pytest
from book_contracts import events
from book_db.events.log import EventLog
from book_db.postgres.database import Database
from book_runtime.broker.messages import Message as BrokerMessage
from books.v1 import book_event_pb2, book_service_pb2
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from grpc_api.consumer import EventRecorder

RELEASES = Path(__file__).parents[2] / "packages/book-contracts/releases"
FOLDERS = sorted(folder for folder in RELEASES.iterdir() if folder.is_dir())
STORED = sorted(RELEASES.glob("*/*.binpb"))
assert [folder.name for folder in FOLDERS] == [image.stem for image in sorted(RELEASES.glob("*.binpb"))]

Fields = Mapping[str, Any]


def to_be_read_in(stored: Path) -> Fields:
    """As it was noted when the message was stored."""
    read: Fields = json.loads((stored.parent / "read.json").read_text())[stored.stem]
    return read


def name_of(stored: Path) -> str:
    """`BookEvent` for `BookEvent.created.binpb`."""
    return stored.stem.partition(".")[0]


def of_today(stored: Path) -> type[Message]:
    name = name_of(stored)
    found: type[Message] = getattr(book_event_pb2, name, None) or getattr(book_service_pb2, name)
    return found


@pytest.mark.parametrize("stored", STORED, ids=lambda stored: f"{stored.parent.name}-{stored.stem}")
class TestTodaysMessages:
    def test_read_what_an_older_release_wrote(self, stored: Path) -> None:
        read = of_today(stored).FromString(stored.read_bytes())
        assert MessageToDict(read, preserving_proto_field_name=True) == to_be_read_in(stored)

    def test_of_betterproto2_do_too(self, stored: Path) -> None:
        read = getattr(book_contracts, name_of(stored)).parse(stored.read_bytes())
        again = of_today(stored).FromString(bytes(read))
        assert MessageToDict(again, preserving_proto_field_name=True) == to_be_read_in(stored)


@pytest.mark.parametrize("release", FOLDERS, ids=lambda folder: f"release-{folder.name}")
class TestTodaysConsumer:
    async def test_records_the_events_of_an_older_release(self, database_url: str, release: Path) -> None:
        stored = [release / f"BookEvent.{kind}.binpb" for kind in ("created", "updated", "deleted")]
        printed = await _consumed(database_url, [path.read_bytes() for path in stored])
        assert _recorded(database_url) == [_as_recorded(to_be_read_in(path)) for path in stored]
        for line, type_ in zip(printed, (events.CREATED, events.UPDATED, events.DELETED), strict=True):
            assert type_ in line


async def _consumed(database_url: str, bodies: list[bytes]) -> list[str]:
    """What the log of grpc-api has printed of these."""
    database, console = Database.open(database_url), io.StringIO()
    log = EventLog(database)
    try:
        await EventRecorder(log, console)([_delivered(body) for body in bodies])
        await log.close()
    finally:
        await database.close()
    return console.getvalue().splitlines()


def _delivered(body: bytes) -> BrokerMessage:
    return BrokerMessage(
        id="of an older relay",
        type="book.changed",
        routing_key="book.changed",
        body=body,
        content_type=events.CONTENT_TYPE,
        timestamp=datetime.now(UTC),
    )


def _recorded(database_url: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(database_url) as connection:
        return connection.execute(
            """
            SELECT event_id::text, kind, actor, occurred_at, book_id, version, title, author, publication_date
            FROM event_log ORDER BY position
            """
        ).fetchall()


def _as_recorded(event: Fields) -> tuple[Any, ...]:
    book = event["book"]
    return (
        event["id"],
        event["kind"].removeprefix("BOOK_EVENT_KIND_").lower(),
        event["actor"],
        datetime.fromisoformat(event["time"]),
        int(book["id"]),
        int(book["version"]),
        book["title"],
        book["author"],
        date(**book["publication_date"]),
    )
