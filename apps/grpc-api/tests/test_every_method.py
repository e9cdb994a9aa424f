"""Every method of the server is called by `buf curl` and by a client in another language, Node's @grpc/grpc-js."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from book_db.book import Book
from book_db.store import Store
from books.v1 import book_service_pb2
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.json_format import MessageToJson
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from support.data_layer import an_event
from support.node import NodeProject
from support.tokens import SignedIn
from support.waiting import patience

FILES: Final[Sequence[Any]] = (book_service_pb2.DESCRIPTOR, health_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR)
METHODS: Final[Mapping[str, Any]] = {
    f"{service.full_name}/{method.name}": method
    for file in FILES
    for service in file.services_by_name.values()
    for method in service.methods
}


class Try(NamedTuple):
    """A request, and a text that stands so many times in what is answered."""

    request: dict[str, Any]
    shown: str
    times: int


BOOKS, HEALTH, REFLECTION = (f"{next(iter(file.services_by_name.values())).full_name}/" for file in FILES)
TRIES: Final = {
    f"{BOOKS}GetBook": Try({"id": 1}, "Middlemarch", 1),
    f"{BOOKS}BatchGetBooks": Try({"ids": [2, 1], "read_mask": {"paths": ["id", "title"]}}, "Middlemarch", 2),
    f"{BOOKS}ListBooks": Try(
        {
            "page_size": 1,
            "filter": {"author_prefix": "George", "published_from": {"year": 1871, "month": 1, "day": 1}},
            "order_by": "title desc",
        },
        "Middlemarch",
        1,
    ),
    f"{BOOKS}WatchBooks": Try({"after": 0, "book_ids": [1], "author": "George Eliot"}, "Middlemarch", 1),
    f"{HEALTH}Check": Try({"service": "books.v1.BookService"}, "SERVING", 1),
    f"{HEALTH}List": Try({}, "SERVING", 2),
    f"{HEALTH}Watch": Try({"service": ""}, "SERVING", 1),
    f"{REFLECTION}ServerReflectionInfo": Try({"list_services": ""}, "books.v1.BookService", 1),
}


@pytest.fixture
async def catalogue(store: Store, add_books: Callable[..., Awaitable[list[Book]]]) -> None:
    """Two books, and the event of the first."""
    [book, _] = await add_books(2)
    event = an_event(book.id, title="Middlemarch", author="George Eliot")
    await store.event_log.record([event])


def texts_in(answer: Any) -> list[str]:
    """All that stand in an answer, or in the answers of a stream."""
    match answer:
        case str():
            return [answer]
        case dict():
            return [text for value in answer.values() for text in texts_in(value)]
        case list():
            return [text for value in answer for text in texts_in(value)]
    return []


def test_each_has_a_try_here() -> None:
    assert set(TRIES) == set(METHODS)


@pytest.fixture(scope="module")
def descriptors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The contracts of all services, compiled: for those that come to us as Python alone."""
    path = tmp_path_factory.mktemp("descriptors") / "set.pb"
    found: dict[str, FileDescriptor] = {}
    for file in FILES:
        collect(file, found)
    path.write_bytes(FileDescriptorSet(file=map(proto_of, found.values())).SerializeToString())
    return path


def collect(file: Any, found: dict[str, FileDescriptor]) -> None:
    """Each file after those that it imports."""
    for imported in file.dependencies:
        collect(imported, found)
    found.setdefault(file.name, file)


def proto_of(file: FileDescriptor) -> FileDescriptorProto:
    proto = FileDescriptorProto()
    file.CopyToProto(proto)
    return proto


@pytest.mark.usefixtures("catalogue")
@pytest.mark.parametrize("method", TRIES)
class TestEveryMethod:
    async def test_answers_buf_curl(self, port: int, caller: SignedIn, method: str) -> None:
        answers = await buf_curl(port, method, caller.token)
        assert texts_in(answers).count(TRIES[method].shown) == TRIES[method].times

    async def test_answers_node(
        self, port: int, caller: SignedIn, method: str, node: NodeProject, descriptors: Path
    ) -> None:
        # The project's own contract is read from its .proto files, as others would, and with names as JavaScript likes.
        is_own = method.startswith(BOOKS)
        request = json.dumps(in_camel_case(TRIES[method].request) if is_own else TRIES[method].request)
        contract = () if is_own else (descriptors,)
        environment = {"TOKEN": caller.token}
        # In a thread: the server that it asks runs on this loop.
        done = await asyncio.to_thread(
            node.run, "client.js", f"127.0.0.1:{port}", method, request, *contract, environment=environment
        )
        assert done.returncode == 0, done.stderr
        assert texts_in(json.loads(done.stdout)).count(TRIES[method].shown) == TRIES[method].times


async def buf_curl(port: int, method: str, token: str) -> list[Any]:
    """What it prints, to its end; of a stream, to the answer that shows what is waited for."""
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("buf")),
        *("curl", "--protocol", "grpc", "--http2-prior-knowledge", "--header", f"authorization: Bearer {token}"),
        *("--data", as_json(method), f"http://127.0.0.1:{port}/{method}"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    printed = ""
    try:
        async with patience("buf has printed what is waited for"):
            while data := await process.stdout.read(65_536):
                printed += data.decode()
                if METHODS[method].server_streaming and TRIES[method].shown in printed and printed.endswith("\n}\n"):
                    break
    finally:
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
    fields = {
        name: FieldMask(**value) if name == "read_mask" else value for name, value in TRIES[method].request.items()
    }
    return MessageToJson(GetMessageClass(METHODS[method].input_type)(**fields))


def in_camel_case(value: Any) -> Any:
    """With the names of fields as Node's loader spells them."""
    if not isinstance(value, dict):
        return value
    return {camel(name): in_camel_case(each) for name, each in value.items()}


def camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(other.title() for other in others)
