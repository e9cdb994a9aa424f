"""BookService: speaks gRPC, and asks the catalogue."""

from collections.abc import AsyncGenerator
from typing import Any, Final

from book_db.books import pages
from book_db.books.catalogue import PAGE_SIZE_DEFAULT, Catalogue
from book_db.books.model import Page
from books.v1 import book_service_pb2_grpc
from books.v1.book_service_pb2 import (
    GetBookRequest,
    GetBookResponse,
    ListBooksRequest,
    ListBooksResponse,
    WatchBooksRequest,
)

from grpc_api.checks import Checks
from grpc_api.messages import write_book
from grpc_api.watching.watch import Watches

PAGE_BYTES_MAX: Final = 4 * 2**20 - 1_024
"""grpcio's clients refuse a message over 4 MiB; what is left is for the token of the next page."""

_FRAMING_MAX: Final = 5
"""Bytes that stand before a book in the list: its field number and its length."""


class BookService(book_service_pb2_grpc.BookServiceServicer):
    """Reads the catalogue."""

    def __init__(self, catalogue: Catalogue, watches: Watches) -> None:
        self._catalogue = catalogue
        self._watches = watches

    async def GetBook(self, request: GetBookRequest, context: Any) -> GetBookResponse:
        with Checks() as check:
            check.that(request.id >= 1, "id", "must be 1 or more")
        response = GetBookResponse()
        write_book(await self._catalogue.get(request.id), response.book)
        return response

    async def ListBooks(self, request: ListBooksRequest, context: Any) -> ListBooksResponse:
        with Checks() as check:
            check.that(request.page_size >= 0, "page_size", "must not be negative")
        return _as_much_as_fits(await self._catalogue.page(request.page_size or PAGE_SIZE_DEFAULT, request.page_token))

    def WatchBooks(self, request: WatchBooksRequest, context: Any) -> AsyncGenerator[bytes, None]:  # type: ignore[override]  # bytes of responses
        return self._watches.changes(request)


def _as_much_as_fits(page: Page) -> ListBooksResponse:
    """The page, or the first part of it and a token for the rest."""
    response = ListBooksResponse(next_page_token=page.next_token or "")
    room = PAGE_BYTES_MAX
    for book in page.books:
        message = response.books.add()
        write_book(book, message)
        room -= message.ByteSize() + _FRAMING_MAX
        if room < 0:
            del response.books[-1]
            response.next_page_token = pages.encode(page.books[len(response.books) - 1])
            break
    return response
