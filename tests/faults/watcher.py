"""Somebody who watches the catalogue from its beginning, at both replicas, and goes on whatever becomes of them."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Final

import httpx
from book_contracts import BookEventKind
from book_contracts.client import BookCatalogue, BookChanged
from faults.writes import Book, Entry, Kind
from support.people import Person
from support.waiting import PATIENCE

_KINDS: Final[dict[BookEventKind, Kind]] = {
    BookEventKind.CREATED: "created",
    BookEventKind.UPDATED: "updated",
    BookEventKind.DELETED: "deleted",
}


class Watcher:
    """What was seen, in the order of its coming, each with its position."""

    newest = datetime.min.replace(tzinfo=UTC)
    """When the last of it was done."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, Entry]] = []
        self.arrivals: list[float] = []
        """When each of them came, by the monotonic clock."""

    @property
    def position(self) -> int:
        return self.seen[-1][0] if self.seen else 0

    async def watch(self, catalogue: BookCatalogue) -> None:
        async for change in catalogue.watch(after=0):
            self.seen.append((change.position, _entry_of(change)))
            self.arrivals.append(time.monotonic())
            self.newest = change.time


@asynccontextmanager
async def watching(rest_url: str, grpc_address: str) -> AsyncIterator[Watcher]:
    """Watches to the end of the block. Raises CatalogueError there, if watching came to an end before."""
    watcher = Watcher()
    async with BookCatalogue(grpc_address, token=await token_of_somebody(rest_url)) as catalogue:
        task = asyncio.create_task(watcher.watch(catalogue))
        try:
            yield watcher
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def token_of_somebody(url: str) -> str:
    """An access token of a new account."""
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE, trust_env=False) as client:
        return await (await Person.register(client)).sign_in()


def _entry_of(change: BookChanged) -> Entry:
    book, day = change.book, change.book.publication_date
    assert day is not None
    date = f"{day.year:04}-{day.month:02}-{day.day:02}"
    return Entry(_KINDS[change.kind], change.actor, Book(book.id, book.title, book.author, date, book.version))
