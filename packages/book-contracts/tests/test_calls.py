"""Calls end when they should: at their deadline, when their task is cancelled, with the catalogue.

The service is a real grpc.aio server that holds them.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
import trustme
from book_contracts.client import BookCatalogue, CatalogueClosed
from book_contracts.client.channel import _OPTIONS
from book_contracts.client.listing import books_of
from book_contracts.errors import DeadlineExceeded, Unavailable
from books.v1.book_pb2 import Book
from books.v1.book_service_pb2 import GetBookRequest, GetBookResponse, ListBooksRequest, ListBooksResponse
from books.v1.book_service_pb2_grpc import BookServiceServicer, add_BookServiceServicer_to_server
from support.waiting import PATIENCE, patiently, until

AN_HOUR: Final = 3_600
"""Seconds, in which no test ends by itself."""


class Service(BookServiceServicer):
    """Answers for book 1 at once, for any other never; lists pages of two books, each when it may."""

    def __init__(self) -> None:
        self.was_called = asyncio.Event()
        """And holds the call."""
        self.left = asyncio.Event()
        self.pages_asked: list[str] = []
        self.may_list = asyncio.Event()
        self.may_list.set()

    async def GetBook(self, request: GetBookRequest, context: Any) -> GetBookResponse:  # noqa: N802  # the contract's
        if request.id != 1:
            await self._wait_for(asyncio.Event())
        return GetBookResponse(book=Book(id=request.id))

    async def ListBooks(self, request: ListBooksRequest, context: Any) -> ListBooksResponse:  # noqa: N802  # as above
        self.pages_asked.append(request.page_token)
        await self._wait_for(self.may_list)
        place = int(request.page_token or 0)
        return ListBooksResponse(books=[Book(id=place + 1), Book(id=place + 2)], next_page_token=f"{place + 2}")

    BatchGetBooks = WatchBooks = GetBook  # type: ignore[assignment]  # nobody asks for them

    async def _wait_for(self, event: asyncio.Event) -> None:
        self.was_called.set()
        try:
            await event.wait()
        except asyncio.CancelledError:
            self.left.set()
            raise


@asynccontextmanager
async def serving(service: Service, credentials: grpc.ServerCredentials | None = None) -> AsyncIterator[int]:
    server = grpc.aio.server()
    add_BookServiceServicer_to_server(service, server)
    address = "127.0.0.1:0"
    port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    await server.start()
    try:
        yield port
    finally:
        await server.stop(0)


@pytest.fixture
async def service() -> Service:
    return Service()


@pytest.fixture
async def address(service: Service) -> AsyncIterator[str]:
    async with serving(service) as port:
        yield f"127.0.0.1:{port}"


class TestDeadlines:
    async def test_every_call_has_one(self, address: str, service: Service) -> None:
        async with BookCatalogue(address, timeout=0.3) as catalogue:
            await catalogue.get(1, timeout=PATIENCE)  # so that there is a connection

            async def is_left() -> bool:
                """On a slow machine a call may end before it has come."""
                with pytest.raises(DeadlineExceeded):
                    await catalogue.get(2)
                return service.left.is_set()

            await until(is_left, "the service is left")

    async def test_a_call_may_have_its_own(self, address: str) -> None:
        async with BookCatalogue(address, timeout=AN_HOUR) as catalogue:
            with pytest.raises(DeadlineExceeded):
                await patiently(catalogue.get(2, timeout=0.2), "the call ends")

    async def test_waiting_for_a_token_counts(self, address: str) -> None:
        async def token() -> str:
            await asyncio.Event().wait()
            raise AssertionError

        async with BookCatalogue(address, token=token, timeout=0.2) as catalogue:
            with pytest.raises(DeadlineExceeded):
                await patiently(catalogue.get(1), "the call ends")


class TestEndings:
    async def test_a_task_that_is_cancelled_takes_its_call_along(self, address: str, service: Service) -> None:
        async with BookCatalogue(address, timeout=AN_HOUR) as catalogue:
            calling = asyncio.create_task(catalogue.get(2))
            await patiently(service.was_called.wait(), "the call has come")
            calling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await calling
            await patiently(service.left.wait(), "the service is left")
            assert (await catalogue.get(1)).id == 1, "the connection is as good as before"

    @pytest.mark.parametrize(
        "call",
        [
            pytest.param(lambda catalogue: catalogue.get(2), id="get"),
            pytest.param(lambda catalogue: anext(catalogue.list()), id="list"),
        ],
    )
    async def test_closing_ends_what_runs_with_an_error(
        self, address: str, service: Service, call: Callable[[BookCatalogue], Awaitable[Any]]
    ) -> None:
        service.may_list.clear()
        async with BookCatalogue(address, timeout=AN_HOUR) as catalogue:
            running = asyncio.ensure_future(call(catalogue))
            await patiently(service.was_called.wait(), "the call has come")
        with pytest.raises(CatalogueClosed):
            await patiently(running, "the call ends")

    async def test_a_catalogue_can_be_opened_again(self, address: str) -> None:
        catalogue = BookCatalogue(address)
        for _ in range(2):
            async with catalogue:
                assert (await catalogue.get(1)).id == 1


class TestLists:
    async def test_the_next_page_is_fetched_while_one_is_looked_at_and_no_further(
        self, address: str, service: Service
    ) -> None:
        async with BookCatalogue(address) as catalogue:
            books = catalogue.list(page_size=2)
            assert (await anext(books)).id == 1
            await until(lambda: len(service.pages_asked) == 2, "the next page is asked for")
            await asyncio.sleep(0.1)
            assert service.pages_asked == ["", "2"]
            assert [(await anext(books)).id, (await anext(books)).id] == [2, 3]
            await books.aclose()

    async def test_nothing_is_fetched_before_somebody_looks(self, address: str, service: Service) -> None:
        async with BookCatalogue(address) as catalogue:
            books = catalogue.list()
            await asyncio.sleep(0.1)
            assert service.pages_asked == []
            await books.aclose()

    async def test_leaving_early_ends_the_fetch(self, address: str, service: Service) -> None:
        async with BookCatalogue(address) as catalogue:
            books = catalogue.list(page_size=2)
            await anext(books)
            service.may_list.clear()
            await until(lambda: len(service.pages_asked) == 2, "the next page is asked for")
            await books.aclose()
            await patiently(service.left.wait(), "the service is left")

    @pytest.mark.parametrize("turns", range(16))
    async def test_a_task_that_is_cancelled_while_it_leaves_early_ends(self, turns: int) -> None:
        async def page_after(token: str) -> ListBooksResponse:
            if token:
                await asyncio.Event().wait()
            return ListBooksResponse(books=[Book(id=1)], next_page_token="2")

        async def look_at_one_and_go_on() -> None:
            async with aclosing(books_of(page_after)) as books:
                await anext(books)
                await asyncio.sleep(0)
            await asyncio.Event().wait()

        task = asyncio.create_task(look_at_one_and_go_on())
        # After so many turns of the loop it is somewhere else each time, once where it leaves.
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await patiently(asyncio.wait([task]), "it has ended")
        assert task.cancelled()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def written(folder: Path, name: str, *blobs: trustme.Blob) -> Path:
    path = folder / name
    path.write_bytes(b"".join(blob.bytes() for blob in blobs))
    return path


class TestTls:
    @pytest.fixture(autouse=True)
    def _nothing_is_repeated(self, monkeypatch: pytest.MonkeyPatch) -> None:
        options = [(name, value) for name, value in _OPTIONS if name != "grpc.service_config"]
        monkeypatch.setattr("book_contracts.client.channel._OPTIONS", options)

    @pytest.fixture
    def ca(self, authority: trustme.CA, tmp_path: Path) -> Path:
        return written(tmp_path, "ca.pem", authority.cert_pem)

    def credentials(self, authority: trustme.CA, name: str, *, mutual: bool = False) -> grpc.ServerCredentials:
        own = authority.issue_cert(name)
        pair = own.private_key_pem.bytes(), b"".join(blob.bytes() for blob in own.cert_chain_pems)
        return grpc.ssl_server_credentials(
            [pair], authority.cert_pem.bytes() if mutual else None, require_client_auth=mutual
        )

    async def test_a_service_with_a_certificate_of_the_authority_is_trusted(
        self, service: Service, authority: trustme.CA, ca: Path
    ) -> None:
        async with serving(service, self.credentials(authority, "127.0.0.1")) as port:
            for trusted in (ca, str(ca), authority.cert_pem.bytes()):
                async with BookCatalogue(f"127.0.0.1:{port}", tls=trusted) as catalogue:
                    assert (await catalogue.get(1)).id == 1

    @pytest.mark.parametrize(
        ("name", "knows_the_authority"),
        [
            pytest.param("127.0.0.1", False, id="an-authority-that-nobody-knows"),
            pytest.param("books.example.org", True, id="a-certificate-of-another-host"),
        ],
    )
    async def test_any_other_is_not(
        self, service: Service, authority: trustme.CA, ca: Path, name: str, knows_the_authority: bool
    ) -> None:
        async with (
            serving(service, self.credentials(authority, name)) as port,
            BookCatalogue(f"127.0.0.1:{port}", tls=ca if knows_the_authority else True) as catalogue,
        ):
            with pytest.raises(Unavailable):
                await catalogue.get(1)

    async def test_a_client_shows_its_own_certificate_where_one_is_wanted(
        self, service: Service, authority: trustme.CA, ca: Path, tmp_path: Path
    ) -> None:
        own = authority.issue_cert("reader")
        certificate = (
            written(tmp_path, "chain.pem", *own.cert_chain_pems),
            written(tmp_path, "key.pem", own.private_key_pem),
        )
        async with serving(service, self.credentials(authority, "127.0.0.1", mutual=True)) as port:
            async with BookCatalogue(f"127.0.0.1:{port}", tls=ca, certificate=certificate) as catalogue:
                assert (await catalogue.get(1)).id == 1
            async with BookCatalogue(f"127.0.0.1:{port}", tls=ca) as nobody:
                with pytest.raises(Unavailable):
                    await nobody.get(1)
