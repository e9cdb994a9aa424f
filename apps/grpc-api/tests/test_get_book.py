"""GetBook, through the real server and a grpc.aio stub."""

from typing import TYPE_CHECKING

from book_db.books.model import Book
from books.v1.book_service_pb2 import GetBookRequest
from support.tokens import SignedIn

if TYPE_CHECKING:
    from books.v1.book_service_pb2_grpc import BookServiceAsyncStub


class TestGetBook:
    async def test_a_book_comes_with_all_its_fields(
        self, stub: "BookServiceAsyncStub", caller: SignedIn, book: Book
    ) -> None:
        answer = (await stub.GetBook(GetBookRequest(id=book.id), metadata=caller.metadata)).book
        assert (answer.id, answer.title, answer.author, answer.version) == (book.id, book.title, book.author, 1)
