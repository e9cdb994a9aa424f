"""Three real clients read the same catalogue: betterproto2's, a grpc.aio stub, and `buf curl` through reflection."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any

import book_contracts
import grpclib
import pytest
from book_db.book import Book
from books.v1.book_service_pb2 import GetBookRequest, ListBooksRequest
from google.protobuf.json_format import MessageToDict
from grpclib.client import Channel
from support.tokens import SignedIn
from support.waiting import PATIENCE

if TYPE_CHECKING:
    from books.v1.book_service_pb2_grpc import BookServiceAsyncStub

AddBooks = Callable[..., Awaitable[list[Book]]]


class TestTheBetterprotoClient:
    async def test_it_gets_a_book(self, port: int, caller: SignedIn, book: Book) -> None:
        async with Channel("127.0.0.1", port) as channel:
            stub = book_contracts.BookServiceStub(channel, metadata=dict(caller.metadata))
            answer = (await stub.get_book(book_contracts.GetBookRequest(id=book.id))).book
        assert answer == book_contracts.Book(
            id=book.id,
            title="Middlemarch",
            author="George Eliot",
            publication_date=book_contracts.Date(year=1871, month=12, day=1),
            version=1,
            create_time=book.created_at,
            update_time=book.updated_at,
        )
        assert answer.create_time is not None
        assert answer.create_time.tzinfo is UTC

    async def test_it_lists_books_page_after_page(self, port: int, caller: SignedIn, add_books: AddBooks) -> None:
        books = await add_books(5)
        ids, token = [], ""
        async with Channel("127.0.0.1", port) as channel:
            stub = book_contracts.BookServiceStub(channel, metadata=dict(caller.metadata))
            for _ in range(3):
                page = await stub.list_books(book_contracts.ListBooksRequest(page_size=2, page_token=token))
                ids += [book.id for book in page.books]
                token = page.next_page_token
        assert ids == [book.id for book in books]
        assert not token

    async def test_it_is_refused_without_a_token(self, port: int) -> None:
        async with Channel("127.0.0.1", port) as channel:
            with pytest.raises(grpclib.GRPCError) as error:
                await book_contracts.BookServiceStub(channel).get_book(book_contracts.GetBookRequest(id=1))
        assert error.value.status is grpclib.Status.UNAUTHENTICATED


class TestBufCurl:
    async def test_it_gets_a_book_by_what_reflection_tells(
        self, port: int, caller: SignedIn, book: Book, stub: "BookServiceAsyncStub"
    ) -> None:
        answer = await buf_curl(port, "books.v1.BookService/GetBook", {"id": book.id}, caller.token)
        same = await stub.GetBook(GetBookRequest(id=book.id), metadata=caller.metadata)
        assert json.loads(answer.stdout) == MessageToDict(same)

    async def test_it_lists_books(
        self, port: int, caller: SignedIn, add_books: AddBooks, stub: "BookServiceAsyncStub"
    ) -> None:
        await add_books(3)
        answer = await buf_curl(port, "books.v1.BookService/ListBooks", {"pageSize": 2}, caller.token)
        same = await stub.ListBooks(ListBooksRequest(page_size=2), metadata=caller.metadata)
        assert json.loads(answer.stdout) == MessageToDict(same)

    async def test_it_shows_the_details_of_an_error(self, port: int, caller: SignedIn) -> None:
        answer = await buf_curl(port, "books.v1.BookService/GetBook", {"id": 42}, caller.token)
        error = json.loads(answer.stderr)
        assert error["code"] == "not_found"
        assert {detail["type"] for detail in error["details"]} == {"google.rpc.ErrorInfo", "google.rpc.ResourceInfo"}

    async def test_it_asks_for_health_without_a_token(self, port: int) -> None:
        answer = await buf_curl(port, "grpc.health.v1.Health/Check", {"service": "books.v1.BookService"})
        assert json.loads(answer.stdout) == {"status": "SERVING"}

    @pytest.mark.parametrize("reflection", ["grpc-v1", "grpc-v1alpha"])
    async def test_it_lists_the_methods_with_either_version_of_reflection(self, port: int, reflection: str) -> None:
        answer = await buf_curl(port, "--list-methods", options=["--reflect-protocol", reflection])
        assert answer.stdout.split() == [
            "books.v1.BookService/BatchGetBooks",
            "books.v1.BookService/GetBook",
            "books.v1.BookService/ListBooks",
            "books.v1.BookService/WatchBooks",
            "grpc.health.v1.Health/Check",
            "grpc.health.v1.Health/List",
            "grpc.health.v1.Health/Watch",
            "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        ]


async def buf_curl(
    port: int, path: str, data: dict[str, Any] | None = None, token: str | None = None, options: list[str] | None = None
) -> subprocess.CompletedProcess[str]:
    base = f"http://127.0.0.1:{port}"
    command = [
        str(Path(sys.executable).with_name("buf")),
        "curl",
        "--protocol",
        "grpc",
        "--http2-prior-knowledge",
        *(options or []),
    ]
    command += [base, path] if path.startswith("--") else [f"{base}/{path}", "--data", json.dumps(data)]
    if token:
        command += ["--header", f"authorization: Bearer {token}"]
    # In a thread: the server that it asks runs on this loop.
    return await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
