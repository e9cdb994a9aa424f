"""BookCatalogue against the real service."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import date
from typing import Any

import grpc
import pytest
from book_contracts import BookEventKind, Date
from book_contracts.client import BookCatalogue, BookChanged, CatalogueClosed, channel
from book_contracts.errors import (
    BookNotFound,
    CatalogueError,
    DeadlineExceeded,
    InvalidRequest,
    NotSignedIn,
    PositionNotReached,
    Unavailable,
)
from book_db.book import Book
from book_db.store import Store
from book_runtime.broker.local import LocalBroker
from books.v1.book_service_pb2 import GetBookRequest, GetBookResponse
from books.v1.book_service_pb2_grpc import BookServiceServicer, add_BookServiceServicer_to_server
from grpc_api.application import serving
from support.data_layer import an_event
from support.ports import free_port
from support.proxy import Proxy
from support.tokens import SignedIn
from support.waiting import PATIENCE, patiently

AddBooks = Callable[..., Awaitable[list[Book]]]


@pytest.fixture
async def catalogue(port: int, caller: SignedIn) -> AsyncIterator[BookCatalogue]:
    async with BookCatalogue(f"127.0.0.1:{port}", token=caller.token, timeout=PATIENCE) as catalogue:
        yield catalogue


class TestReading:
    async def test_a_book_is_as_it_is(self, catalogue: BookCatalogue, book: Book) -> None:
        read = await catalogue.get(book.id)
        assert (read.id, read.title, read.author, read.version) == (book.id, book.title, book.author, 1)
        assert read.publication_date == Date(year=1871, month=12, day=1)
        assert read.create_time == book.created_at

    async def test_some_fields_come_alone(self, catalogue: BookCatalogue, book: Book) -> None:
        read = await catalogue.get(book.id, fields=["title"])
        assert (read.id, read.title, read.create_time) == (0, "Middlemarch", None)

    async def test_many_come_in_their_order(self, catalogue: BookCatalogue, add_books: AddBooks) -> None:
        ids = [book.id for book in reversed(await add_books(5))]
        assert [book.id for book in await catalogue.get_many(ids)] == ids
        assert await catalogue.get_many([]) == []

    async def test_all_come_page_after_page(self, catalogue: BookCatalogue, add_books: AddBooks) -> None:
        books = await add_books(25)
        assert [book.id async for book in catalogue.list(page_size=10)] == [book.id for book in books]

    async def test_those_that_are_wanted_come_in_the_order_that_is_wanted(
        self, catalogue: BookCatalogue, add_books: AddBooks
    ) -> None:
        await add_books(1, title="Emma", author="Jane Austen")
        romola, *_ = await add_books(1, title="Romola")
        middlemarch, *_ = await add_books(1)
        found = catalogue.list(author="George Eliot", published_from=date(1871, 1, 1), order_by="title")
        assert [book.id async for book in found] == [middlemarch.id, romola.id]


class TestWhatGoesWrong:
    async def test_a_book_that_is_not_there(self, catalogue: BookCatalogue, book: Book) -> None:
        with pytest.raises(BookNotFound) as one:
            await catalogue.get(4_711)
        assert one.value.ids == (4_711,)
        with pytest.raises(BookNotFound) as many:
            await catalogue.get_many([book.id, 4_712, 4_711])
        assert many.value.ids == (4_712, 4_711)

    async def test_a_request_that_is_wrong_in_two_ways(self, catalogue: BookCatalogue) -> None:
        order: Any = "price"
        with pytest.raises(InvalidRequest) as error:
            await anext(catalogue.list(order_by=order, words="..."))
        assert {violation.field for violation in error.value.violations} == {"order_by", "filter.words"}

    async def test_a_token_that_is_not_good(self, port: int) -> None:
        async with BookCatalogue(f"127.0.0.1:{port}", token="garbage", timeout=PATIENCE) as catalogue:
            with pytest.raises(NotSignedIn):
                await catalogue.get(1)

    async def test_a_token_that_a_newer_one_can_replace(self, port: int, caller: SignedIn, book: Book) -> None:
        tokens = iter(["expired", caller.token])
        async with BookCatalogue(f"127.0.0.1:{port}", token=lambda: next(tokens), timeout=PATIENCE) as catalogue:
            assert (await catalogue.get(book.id)).title == "Middlemarch"

    async def test_nobody_there(self) -> None:
        async with BookCatalogue(f"127.0.0.1:{free_port()}", timeout=1) as catalogue:
            with pytest.raises((Unavailable, DeadlineExceeded)):
                await catalogue.get(1)

    async def test_a_catalogue_that_is_not_open(self) -> None:
        with pytest.raises(CatalogueClosed):
            await BookCatalogue("127.0.0.1:1").get(1)

    async def test_a_token_does_not_leave_the_machine_unencrypted(self) -> None:
        with pytest.raises(ValueError, match="unencrypted"):
            BookCatalogue("books.example.org:443", token="secret")
        BookCatalogue("books.example.org:443", token="secret", tls=True)
        BookCatalogue("books.example.org:443", token="secret", insecure=True)


class Stumbling(BookServiceServicer):
    """A service that fails so many times before it answers."""

    def __init__(self, code: grpc.StatusCode, failures: int) -> None:
        self.code = code
        self.failures = failures
        self.calls = 0

    async def GetBook(self, request: GetBookRequest, context: Any) -> GetBookResponse:  # noqa: N802  # the contract's
        self.calls += 1
        if self.calls <= self.failures:
            await context.abort(self.code, "not now")
        return GetBookResponse()

    BatchGetBooks = ListBooks = WatchBooks = GetBook  # type: ignore[assignment]  # nobody asks for them


@asynccontextmanager
async def stumbling(code: grpc.StatusCode, failures: int) -> AsyncIterator[tuple[BookCatalogue, Stumbling]]:
    server, service = grpc.aio.server(), Stumbling(code, failures)
    add_BookServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with BookCatalogue(f"127.0.0.1:{port}", timeout=PATIENCE) as catalogue:
            yield catalogue, service
    finally:
        await server.stop(0)


class TestRepeating:
    @pytest.fixture(autouse=True)
    def _short_pauses(self, monkeypatch: pytest.MonkeyPatch) -> None:
        (name, policy), *others = channel._OPTIONS
        monkeypatch.setattr(channel, "_OPTIONS", ((name, str(policy).replace('"0.2s"', '"0.02s"')), *others))

    async def test_an_unavailable_service_is_asked_again(self) -> None:
        async with stumbling(grpc.StatusCode.UNAVAILABLE, 2) as (catalogue, service):
            await catalogue.get(1)
            assert service.calls == 3

    async def test_not_for_ever(self) -> None:
        async with stumbling(grpc.StatusCode.UNAVAILABLE, 100) as (catalogue, service):
            with pytest.raises(Unavailable):
                await catalogue.get(1)
            assert service.calls == 4

    async def test_what_repeating_does_not_mend_is_asked_once(self) -> None:
        async with stumbling(grpc.StatusCode.FAILED_PRECONDITION, 100) as (catalogue, service):
            with pytest.raises(CatalogueError) as error:
                await catalogue.get(1)
            assert (error.value.code, service.calls) == ("FAILED_PRECONDITION", 1)


class TestWatching:
    async def next_of(self, watch: Any) -> BookChanged:
        change: BookChanged = await patiently(anext(watch), "a change is told")
        return change

    async def test_changes_come_as_they_happen(self, catalogue: BookCatalogue, store: Store) -> None:
        watch = catalogue.watch(after=0, author="Jane Austen")
        await store.event_log.record([an_event(1, 2), an_event(1, 3, author="Ann Radcliffe"), an_event(1, 4)])
        first, second = await self.next_of(watch), await self.next_of(watch)
        assert [(each.book.version, each.kind) for each in (first, second)] == [
            (2, BookEventKind.UPDATED),
            (4, BookEventKind.UPDATED),
        ]
        assert watch.position == first.position, "the second may not be dealt with yet"
        await watch.aclose()

    async def test_a_position_that_nobody_gave(self, catalogue: BookCatalogue) -> None:
        with pytest.raises(PositionNotReached):
            await self.next_of(catalogue.watch(after=10**12))

    async def test_it_goes_on_over_a_restart_and_misses_nothing(self, store: Store, caller: SignedIn) -> None:
        port = free_port()
        async with BookCatalogue(f"127.0.0.1:{port}", token=caller.token, timeout=PATIENCE) as catalogue:
            watch, versions = catalogue.watch(after=0), []
            for round_ in range(3):
                async with serving(store, LocalBroker(), host="127.0.0.1", port=port):
                    await store.event_log.record([an_event(1, round_ * 2 + 1)])
                    versions.append((await self.next_of(watch)).book.version)
                await store.event_log.record([an_event(1, round_ * 2 + 2)])
            async with serving(store, LocalBroker(), host="127.0.0.1", port=port):
                versions.append((await self.next_of(watch)).book.version)
            await watch.aclose()
        assert versions == [1, 2, 3, 4]

    async def test_it_goes_on_over_a_network_that_breaks(self, port: int, store: Store, caller: SignedIn) -> None:
        async with (
            Proxy(port) as network,
            BookCatalogue(f"127.0.0.1:{network.port}", token=caller.token, timeout=PATIENCE) as catalogue,
        ):
            watch, versions = catalogue.watch(after=0), []
            for round_ in range(5):
                await store.event_log.record([an_event(1, round_ * 2 + 1)])
                versions.append((await self.next_of(watch)).book.version)
                network.drop()
                await store.event_log.record([an_event(1, round_ * 2 + 2)])
                versions.append((await self.next_of(watch)).book.version)
            await watch.aclose()
        assert versions == [*range(1, 11)]


class TestReplicas:
    async def test_either_may_be_away_without_a_failed_call(self, store: Store, caller: SignedIn, book: Book) -> None:
        async with (
            serving(store, LocalBroker(), host="127.0.0.1", port=0) as one,
            serving(store, LocalBroker(), host="127.0.0.1", port=0) as other,
            Proxy(one) as to_one,
            Proxy(other) as to_other,
            BookCatalogue(
                f"ipv4:127.0.0.1:{to_one.port},127.0.0.1:{to_other.port}", token=caller.token, timeout=PATIENCE
            ) as catalogue,
        ):
            for network in (to_one, to_other):
                network.refuse()
                network.drop()
                for _ in range(5):
                    assert (await catalogue.get(book.id)).title == "Middlemarch"
                await network.heal()
