"""BookService: speaks gRPC, and asks the catalogue."""

from bisect import bisect_right
from collections.abc import AsyncGenerator
from itertools import accumulate
from typing import Any, Final

from book_db.book import Page
from book_db.books import pages
from book_db.books.catalogue import PAGE_SIZE_DEFAULT, Catalogue
from book_db.books.selection import Order, Selection
from book_runtime.batching import IDLE_TURNS, SingleFlight
from books.v1 import book_service_pb2_grpc
from books.v1.book_service_pb2 import (
    BatchGetBooksRequest,
    BatchGetBooksResponse,
    GetBookRequest,
    GetBookResponse,
    ListBooksRequest,
    ListBooksResponse,
    WatchBooksRequest,
)
from google.protobuf.field_mask_pb2 import FieldMask

from grpc_api.checks import Checks
from grpc_api.messages import write_book
from grpc_api.requests import mask_of, order_of, selection_of
from grpc_api.watching.watch import Watches

PAGE_BYTES_MAX: Final = 4 * 2**20 - 1_024
"""grpcio's clients refuse a message over 4 MiB; what is left is for the token of the next page."""

BATCH_MAX: Final = 300
"""Books of the greatest length that fit into one message, and a few to spare."""

_FRAMING_MAX_BYTES: Final = 5
"""Before a book in the list: its field number and its length."""


class BookService(book_service_pb2_grpc.BookServiceServicer):
    """Reads the catalogue."""

    def __init__(self, catalogue: Catalogue, watches: Watches) -> None:
        self._catalogue = catalogue
        self._watches = watches
        self._lists = SingleFlight(self._list, idle_turns=IDLE_TURNS)

    async def GetBook(self, request: GetBookRequest, context: Any) -> GetBookResponse:
        with Checks() as check:
            check.that(request.id >= 1, "id", "must be 1 or more")
            mask = mask_of(request.read_mask, check)
        response = GetBookResponse()
        write_book(await self._catalogue.get(request.id), response.book, mask)
        return response

    async def BatchGetBooks(self, request: BatchGetBooksRequest, context: Any) -> BatchGetBooksResponse:
        with Checks() as check:
            check.that(1 <= len(request.ids) <= BATCH_MAX, "ids", f"must be 1 to {BATCH_MAX}")
            for place, book_id in enumerate(request.ids[:BATCH_MAX]):
                check.that(book_id >= 1, f"ids[{place}]", "must be 1 or more")
            mask = mask_of(request.read_mask, check)
        response = BatchGetBooksResponse()
        for book in await self._catalogue.get_many(request.ids):
            write_book(book, response.books.add(), mask)
        return response

    async def ListBooks(self, request: ListBooksRequest, context: Any) -> bytes:  # type: ignore[override]  # a response
        return await self._lists.load(request.SerializeToString(deterministic=True))

    async def _list(self, asked: bytes) -> bytes:
        request = ListBooksRequest.FromString(asked)
        with Checks() as check:
            check.that(request.page_size >= 0, "page_size", "must not be negative")
            selection = selection_of(request, check)
            order = order_of(request.order_by, check)
            mask = mask_of(request.read_mask, check)
        size = request.page_size or PAGE_SIZE_DEFAULT
        page = await self._catalogue.page(size, request.page_token, selection, order)
        return _as_much_as_fits(page, selection, order, mask).SerializeToString()

    def WatchBooks(self, request: WatchBooksRequest, context: Any) -> AsyncGenerator[bytes, None]:  # type: ignore[override]  # bytes of responses
        return self._watches.changes(request)


def _as_much_as_fits(page: Page, selection: Selection, order: Order, mask: FieldMask | None) -> ListBooksResponse:
    """The page, or the first part of it and a token for the rest."""
    response = ListBooksResponse(next_page_token=page.next_token or "")
    for book in page.books:
        write_book(book, response.books.add(), mask)
    if response.ByteSize() > PAGE_BYTES_MAX:
        sizes = accumulate(message.ByteSize() + _FRAMING_MAX_BYTES for message in response.books)
        fitting = bisect_right(list(sizes), PAGE_BYTES_MAX)
        del response.books[fitting:]
        response.next_page_token = pages.encode(page.books[fitting - 1], order, selection)
    return response
