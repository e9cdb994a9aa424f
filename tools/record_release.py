"""Keeps a release of the contract for those who come after it: packages/book-contracts/releases/README.md.

`tools/record_release.py 0.2.0` writes the contract as an image of buf, and messages as this release's services write
them with what is to be read in them.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from uuid import UUID

from book_db.book import Book
from book_db.events import model
from book_db.events.outbox import OutboxEvent
from books.v1.book_event_pb2 import BookEvent
from books.v1.book_service_pb2 import GetBookResponse, ListBooksResponse
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from grpc_api.messages import write_book
from msgspec.structs import replace
from rest_api.relay.events import message_of

CONTRACTS = Path(__file__).parents[1] / "packages/book-contracts"
BUF = Path(sys.executable).with_name("buf")

ACTOR = UUID("7c1e1a52-3d5c-4a43-9f69-6e5f4d3c2b1a")
CREATED = datetime(2026, 11, 23, 18, 54, 23, 37277, tzinfo=UTC)
UPDATED = datetime(2026, 11, 24, 7, 0, 0, 1, tzinfo=UTC)
A_BOOK = Book(42, "Война и мир", "Лев Толстой", date(1869, 1, 1), 2, CREATED, UPDATED)
ANOTHER = Book(43, "Middlemarch", "George Eliot", date(1871, 12, 1), 1, CREATED, CREATED)


def messages() -> Mapping[str, Message]:
    """One of each kind, by the name of the message and what tells it from others."""
    answer = GetBookResponse()
    write_book(A_BOOK, answer.book)
    page = ListBooksResponse(next_page_token="the token of the next page")  # noqa: S106  # no secret
    for book in (A_BOOK, ANOTHER):
        write_book(book, page.books.add())
    kinds = enumerate(("created", "updated", "deleted"), 1)
    events = {f"BookEvent.{kind}": _event(kind, version) for version, kind in kinds}
    return {**events, "GetBookResponse": answer, "ListBooksResponse": page}


def _event(kind: str, version: int) -> Message:
    event_id = UUID(int=version)
    time = UPDATED if version > 1 else CREATED
    book = replace(A_BOOK, version=version, updated_at=time)
    event = model.BookEvent(event_id, kind, str(ACTOR), time, book)
    return BookEvent.FromString(message_of(OutboxEvent(version, None, event)).body)


def main(version: str) -> None:
    releases = CONTRACTS / "releases"
    image = releases / f"{version}.binpb"
    if image.exists():
        sys.exit(f"{version} is recorded, and what was released does not change.")
    folder = releases / version
    folder.mkdir(parents=True)
    for name, message in messages().items():
        (folder / f"{name}.binpb").write_bytes(message.SerializeToString())
    read = {name: MessageToDict(message, preserving_proto_field_name=True) for name, message in messages().items()}
    (folder / "read.json").write_text(json.dumps(read, indent=2, ensure_ascii=False) + "\n")
    subprocess.run([BUF, "build", CONTRACTS / "proto", "--exclude-source-info", "-o", image], check=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
