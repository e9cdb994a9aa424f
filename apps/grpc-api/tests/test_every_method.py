"""Every method of the service is called by `buf curl` and by a client in another language, Node's @grpc/grpc-js."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest
from book_db.books.model import Book
from book_db.event_log import Entry
from book_db.store import Store
from books.v1 import book_service_pb2
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from support.node import NodeProject
from support.tokens import SignedIn

Call = Callable[[int, str, dict[str, Any], str], Awaitable[Any]]

METHODS: Final = book_service_pb2.DESCRIPTOR.services_by_name["BookService"].methods_by_name

REQUESTS: Final[dict[str, dict[str, Any]]] = {
    "GetBook": {"id": 1},
    "BatchGetBooks": {"ids": [2, 1], "read_mask": {"paths": ["id", "title"]}},
    "ListBooks": {
        "page_size": 1,
        "filter": {"author_prefix": "George", "published_from": {"year": 1871, "month": 1, "day": 1}},
        "order_by": "title desc",
    },
    "WatchBooks": {"after": 0, "book_ids": [1], "author": "George Eliot"},
}


@pytest.fixture
async def catalogue(store: Store, add_books: Callable[..., Awaitable[list[Book]]]) -> None:
    """Two books, and the event of the first."""
    [book, _] = await add_books(2)
    made = datetime(2026, 11, 24, tzinfo=UTC)
    day = date(1871, 12, 1)
    entry = Entry(uuid4(), "created", str(uuid4()), made, book.id, 1, "Middlemarch", "George Eliot", day, made, made)
    await store.event_log.record([entry])


def titles_in(answer: Any) -> list[str]:
    """Of all books in an answer, or in the answers of a stream."""
    match answer:
        case {"title": title}:
            return [title]
        case dict():
            return [title for value in answer.values() for title in titles_in(value)]
        case list():
            return [title for value in answer for title in titles_in(value)]
    return []


def request_of(method: str) -> Message:
    fields = {name: FieldMask(**value) if name == "read_mask" else value for name, value in REQUESTS[method].items()}
    return GetMessageClass(METHODS[method].input_type)(**fields)


def test_each_has_a_request_here() -> None:
    assert set(REQUESTS) == set(METHODS)


EXPECTED: Final = {"GetBook": 1, "BatchGetBooks": 2, "ListBooks": 1, "WatchBooks": 1}


@pytest.mark.usefixtures("catalogue")
@pytest.mark.parametrize("method", REQUESTS)
class TestEveryMethod:
    async def test_answers_buf_curl(self, port: int, caller: SignedIn, method: str) -> None:
        answers = await buf_curl(port, method, caller.token)
        assert titles_in(answers) == ["Middlemarch"] * EXPECTED[method]

    async def test_answers_node(self, port: int, caller: SignedIn, method: str, node: NodeProject) -> None:
        request, environment = json.dumps(in_camel_case(REQUESTS[method])), {"TOKEN": caller.token}
        address = f"127.0.0.1:{port}"
        # In a thread: the server that it asks runs on this loop.
        done = await asyncio.to_thread(node.run, "client.js", address, method, request, environment=environment)
        assert done.returncode == 0, done.stderr
        assert titles_in(json.loads(done.stdout)) == ["Middlemarch"] * EXPECTED[method]


async def buf_curl(port: int, method: str, token: str) -> list[Any]:
    """What it prints, to its end; of a stream, to the first event."""
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("buf")),
        *("curl", "--protocol", "grpc", "--http2-prior-knowledge", "--header", f"authorization: Bearer {token}"),
        *("--data", as_json(method), f"http://127.0.0.1:{port}/books.v1.BookService/{method}"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    printed = ""
    async with asyncio.timeout(30):
        while data := await process.stdout.read(65_536):
            printed += data.decode()
            if METHODS[method].server_streaming and '"event"' in printed and printed.rstrip().endswith("\n}"):
                break
    with suppress(ProcessLookupError):  # it has ended by itself, unless it reads a stream
        process.terminate()
    await process.wait()
    return documents_in(printed)


def documents_in(text: str) -> list[Any]:
    """The JSON documents that stand one after the other in a text."""
    documents, decoder = [], json.JSONDecoder()
    while text := text.strip():
        document, end = decoder.raw_decode(text)
        documents.append(document)
        text = text[end:]
    return documents


def as_json(method: str) -> str:
    """The request in protobuf's own JSON, in which a mask is one text."""
    return MessageToJson(request_of(method))


def in_camel_case(value: Any) -> Any:
    """With the names of fields as Node's loader spells them."""
    if not isinstance(value, dict):
        return value
    return {camel(name): in_camel_case(each) for name, each in value.items()}


def camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(other.title() for other in others)
