"""Books, one page after the other."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from typing import TypeAlias

from books.v1.book_service_pb2 import ListBooksResponse

from book_contracts import Book
from book_contracts.client.reading import book_of
from book_contracts.errors import CatalogueError

Page: TypeAlias = ListBooksResponse


async def books_of(page_after: Callable[[str], Awaitable[Page]]) -> AsyncGenerator[Book]:
    """The books of all pages. While those of one page are looked at, the next one is fetched."""
    upcoming: asyncio.Future[Page] | None = asyncio.ensure_future(page_after(""))
    try:
        while upcoming is not None:
            page = await upcoming
            token = page.next_page_token
            upcoming = asyncio.ensure_future(page_after(token)) if token else None
            for book in page.books:
                yield book_of(book)
    finally:
        if upcoming is not None:
            upcoming.cancel()
            # Not awaited itself: to suppress its cancellation would be to suppress one of the caller as well.
            await asyncio.wait([upcoming])
            with suppress(asyncio.CancelledError, CatalogueError):
                upcoming.result()
