"""ListBooks, through the real server and a grpc.aio stub."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

import grpc
import pytest
from book_db.book import Book
from books.v1 import book_pb2
from books.v1.book_service_pb2 import ListBooksRequest, ListBooksResponse
from support.tokens import SignedIn

if TYPE_CHECKING:
    from books.v1.book_service_pb2_grpc import BookServiceAsyncStub

AddBooks = Callable[..., Awaitable[list[Book]]]
ListBooks = Callable[..., Awaitable[ListBooksResponse]]

FOUR_MIB = 4 * 2**20


@pytest.fixture
def list_books(stub: "BookServiceAsyncStub", caller: SignedIn) -> ListBooks:
    """Calls ListBooks: `await list_books(page_size=10)`."""

    async def list_books(**request: int | str) -> ListBooksResponse:
        return await stub.ListBooks(ListBooksRequest(**request), metadata=caller.metadata)  # type: ignore[arg-type]  # the request's fields, by name

    return list_books


async def pages(list_books: ListBooks, page_size: int) -> AsyncIterator[ListBooksResponse]:
    token = ""
    while True:
        page = await list_books(page_size=page_size, page_token=token)
        yield page
        token = page.next_page_token
        if not token:
            return


async def ids_of_all(list_books: ListBooks, page_size: int) -> list[int]:
    return [book.id async for page in pages(list_books, page_size) for book in page.books]


class TestListBooks:
    async def test_an_empty_catalogue_is_one_empty_page(self, list_books: ListBooks) -> None:
        assert await list_books() == ListBooksResponse()

    @pytest.mark.parametrize(
        ("size", "expected"),
        [
            pytest.param(0, 50, id="0-stands-for-50"),
            pytest.param(1, 1, id="one"),
            pytest.param(1_000, 1_000, id="the-most"),
            pytest.param(1_001, 1_000, id="one-over-the-most"),
            pytest.param(2**31 - 1, 1_000, id="the-greatest-int32"),
        ],
    )
    async def test_a_page_has_as_many_books_as_asked_for(
        self, list_books: ListBooks, add_books: AddBooks, size: int, expected: int
    ) -> None:
        await add_books(1_001)
        page = await list_books(page_size=size)
        assert len(page.books) == expected
        assert page.next_page_token

    @pytest.mark.parametrize("size", [1, 2, 3, 7, 8])
    async def test_the_pages_together_have_every_book_once_in_order(
        self, list_books: ListBooks, add_books: AddBooks, size: int
    ) -> None:
        books = await add_books(7)
        assert await ids_of_all(list_books, size) == [book.id for book in books]

    async def test_a_page_that_is_just_full_has_no_page_after_it(
        self, list_books: ListBooks, add_books: AddBooks
    ) -> None:
        await add_books(3)
        assert not (await list_books(page_size=3)).next_page_token

    async def test_a_negative_page_size_is_refused(self, list_books: ListBooks) -> None:
        with pytest.raises(grpc.aio.AioRpcError, match="page_size must not be negative") as error:
            await list_books(page_size=-1)
        assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT

    @pytest.mark.parametrize(
        "tamper",
        [
            pytest.param(lambda token: token[:-1], id="cut"),
            pytest.param(lambda token: token + "A", id="longer"),
            pytest.param(lambda token: ("B" if token[5] != "B" else "C").join((token[:5], token[6:])), id="mistyped"),
            pytest.param(lambda token: "garbage", id="invented"),
            pytest.param(lambda token: "Ω" * 20, id="not-ascii"),
            pytest.param(lambda token: token + "\0", id="with-a-nul"),
        ],
    )
    async def test_a_page_token_that_was_tampered_with_is_refused(
        self, list_books: ListBooks, add_books: AddBooks, tamper: Callable[[str], str]
    ) -> None:
        await add_books(2)
        token = (await list_books(page_size=1)).next_page_token
        with pytest.raises(grpc.aio.AioRpcError, match="page token") as error:
            await list_books(page_token=tamper(token))
        assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT


class TestPagesOfLongBooks:
    """1,000 books of the longest titles and authors are 12 MB, and grpcio's clients take 4 MiB."""

    async def test_pages_are_shorter_and_miss_nothing(self, list_books: ListBooks, add_books: AddBooks) -> None:
        books = await add_books(1_000, title="\U0001f4d6" * 2_000, author="\U0001d538" * 1_000)
        found = [page async for page in pages(list_books, 1_000)]
        sizes = [page.ByteSize() for page in found]
        assert len(sizes) == 3
        assert max(sizes) < FOUR_MIB
        assert sizes[0] > FOUR_MIB - 20_000, "a page is filled as far as a book fits"
        assert [book.id for page in found for book in page.books] == [book.id for book in books]

    async def test_a_page_of_ordinary_books_is_not_shortened(self, list_books: ListBooks, add_books: AddBooks) -> None:
        await add_books(1_000, title="x" * 2_000, author="y" * 1_000)
        assert len((await list_books(page_size=1_000)).books) == 1_000


class TestTheBoundOfAPage:
    def test_the_longest_book_alone_is_far_below_it(self) -> None:
        book = book_pb2.Book(title="\U0001f4d6" * 2_000, author="\U0001d538" * 1_000)
        assert book.ByteSize() < FOUR_MIB // 100
