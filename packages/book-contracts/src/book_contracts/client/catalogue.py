"""The catalogue, for programs in asyncio."""

from collections.abc import AsyncGenerator, Iterable
from types import TracebackType
from typing import Final, Self, TypeAlias, Unpack

from books.v1.book_service_pb2 import ListBooksResponse

from book_contracts import BatchGetBooksRequest, Book, GetBookRequest, ListBooksRequest, WatchBooksRequest
from book_contracts.checking import check, is_unicode
from book_contracts.client.asking import BookOrder, Wanted, filter_of, list_of, mask_of
from book_contracts.client.channel import Certificate, Tls, credentials_of, is_address, leaves_the_machine
from book_contracts.client.connection import BATCH_GET, GET, LIST, Connection
from book_contracts.client.listing import books_of
from book_contracts.client.reading import BookField, book_of
from book_contracts.client.tokens import Token, source_of
from book_contracts.client.watching import Watch

_PAGE_SIZE: Final = 200

_Books: TypeAlias = list[Book]
"""In a class with a method of that name, `list` alone is the method."""


class BookCatalogue:
    """Reads the catalogue and watches it: ``async with BookCatalogue("127.0.0.1:50051", token=...) as catalogue``.

    One connection to each replica, for any number of calls at once: open it once for the life of a program. A call that
    finds the service unavailable is repeated up to three times within its deadline. Every method raises CatalogueError:
    for an argument that no request can hold InvalidRequest, as `list` and `watch` do when they are iterated over, and
    nothing is sent then.
    """

    def __init__(
        self,
        address: str,
        *,
        token: Token | None = None,
        timeout: float = 5,
        tls: Tls = False,
        certificate: Certificate | None = None,
        insecure: bool = False,
    ) -> None:
        """`address` is host and port, or anything else that gRPC takes: ``ipv4:10.0.0.1:50051,10.0.0.2:50051``.

        Calls go to all its replicas in turn. `timeout` is the seconds that a call may take which says nothing else,
        waiting for a token included. `tls` is True, or where the certificate of the authority is, or that certificate
        itself; `certificate` is the client's own with its key, for mutual TLS; both are read once, here.

        Raises ValueError for an address that is none, and when the token would leave the machine unencrypted, unless
        `insecure` says that it may.
        """
        if not is_unicode(address) or not is_address(address):
            raise ValueError(f"{address!r} is no address like books.example.org:50051")
        credentials = credentials_of(tls, certificate)
        if token is not None and credentials is None and not insecure and leaves_the_machine(address):
            raise ValueError(
                f"The token would go to {address} unencrypted, for everyone on the way to read. Use tls=True, or say"
                " insecure=True where the network is trusted."
            )
        self._connection = Connection(address, credentials, None if token is None else source_of(token), timeout)

    async def __aenter__(self) -> Self:
        self._connection.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Breaks off the calls that are running: they raise CatalogueClosed."""
        await self._connection.close()

    async def get(
        self, book_id: int, *, fields: Iterable[BookField] | None = None, timeout: float | None = None
    ) -> Book:
        """One book, or some of its fields; the others are empty then. Raises BookNotFound."""
        request = GetBookRequest(id=book_id, read_mask=mask_of(fields))
        return book_of((await self._connection.ask(GET, request, timeout)).book)

    async def get_many(
        self, book_ids: Iterable[int], *, fields: Iterable[BookField] | None = None, timeout: float | None = None
    ) -> _Books:
        """As many books as ids, at most 300, in the same order. Raises BookNotFound with the ids that no book has."""
        request = BatchGetBooksRequest(ids=list_of(book_ids), read_mask=mask_of(fields))
        if request.ids == []:
            check(request)
            return []
        return [book_of(book) for book in (await self._connection.ask(BATCH_GET, request, timeout)).books]

    def list(
        self,
        *,
        order_by: BookOrder = "id",
        fields: Iterable[BookField] | None = None,
        page_size: int = _PAGE_SIZE,
        timeout: float | None = None,
        **wanted: Unpack[Wanted],
    ) -> AsyncGenerator[Book]:
        """All books, or those that meet everything that is said of them: ``list(author="George Eliot", words="mill")``.

        They are fetched `page_size` at a time, each page within `timeout`, while those of the page before are looked
        at. A book that is added or moved meanwhile comes if its place is still ahead.
        """
        request = ListBooksRequest(
            page_size=page_size, filter=filter_of(wanted), order_by=order_by, read_mask=mask_of(fields)
        )

        async def page_after(token: str) -> ListBooksResponse:
            request.page_token = token
            return await self._connection.ask(LIST, request, timeout)

        return books_of(page_after)

    def watch(self, *, after: int | None = None, book_ids: Iterable[int] = (), author: str = "") -> Watch:
        """The changes of all books or of some, as they happen: ``async for change in catalogue.watch(after=position)``.

        `after` is the position after which to begin: that of the last change that was dealt with, 0 for the beginning
        of the catalogue, None for now. `book_ids` are 300 at most. Raises PositionNotReached for one never given, and
        PositionSwept for one after which changes are no longer kept.
        """
        return Watch(self._connection, WatchBooksRequest(after=after, book_ids=list_of(book_ids), author=author))
