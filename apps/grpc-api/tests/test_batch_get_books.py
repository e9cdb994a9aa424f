"""BatchGetBooks (AIP-231): all or none, in the order of the ids."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import grpc
import pytest
from book_db.book import Book
from books.v1.book_service_pb2 import BatchGetBooksRequest, BatchGetBooksResponse
from google.protobuf.field_mask_pb2 import FieldMask
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from support.rich_errors import detail_of
from support.tokens import SignedIn

if TYPE_CHECKING:
    from books.v1.book_service_pb2_grpc import BookServiceAsyncStub

AddBooks = Callable[..., Awaitable[list[Book]]]
GetBooks = Callable[..., Awaitable[BatchGetBooksResponse]]

FOUR_MIB = 4 * 2**20


@pytest.fixture
def get_books(stub: "BookServiceAsyncStub", caller: SignedIn) -> GetBooks:
    async def get_books(ids: Sequence[int], *fields: str) -> BatchGetBooksResponse:
        request = BatchGetBooksRequest(ids=ids, read_mask=FieldMask(paths=fields))
        return await stub.BatchGetBooks(request, metadata=caller.metadata)

    return get_books


class TestBatchGetBooks:
    async def test_the_books_come_in_the_order_of_the_ids(self, get_books: GetBooks, add_books: AddBooks) -> None:
        first, second, third = await add_books(3)
        ids = [third.id, first.id, third.id, second.id]
        assert [book.id for book in (await get_books(ids)).books] == ids

    async def test_300_of_the_longest_fit_into_a_message(self, get_books: GetBooks, add_books: AddBooks) -> None:
        books = await add_books(300, title="\U0001f4d6" * 2_000, author="\U0001d538" * 1_000)
        answer = await get_books([book.id for book in books])
        assert len(answer.books) == 300
        assert FOUR_MIB * 0.85 < answer.ByteSize() < FOUR_MIB

    async def test_only_the_fields_that_are_wanted_come(self, get_books: GetBooks, add_books: AddBooks) -> None:
        [book] = await add_books(1)
        [answer] = (await get_books([book.id], "title", "version")).books
        assert {field.name for field, _ in answer.ListFields()} == {"title", "version"}


class TestThatIsRefused:
    async def test_it_names_every_id_that_no_book_has(self, get_books: GetBooks, book: Book) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await get_books([90, book.id, 70, 90])
        assert error.value.code() is grpc.StatusCode.NOT_FOUND
        info = detail_of(error.value, ErrorInfo)
        assert (info.reason, info.metadata["ids"]) == ("BOOKS_NOT_FOUND", "90,70")

    async def test_300_ids_of_no_book_are_told_in_trailers_that_clients_take(self, get_books: GetBooks) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await get_books(range(2**62, 2**62 + 300))
        assert error.value.code() is grpc.StatusCode.NOT_FOUND

    @pytest.mark.parametrize(
        ("ids", "fields"),
        [
            pytest.param([], ["ids"], id="none"),
            pytest.param([1] * 301, ["ids"], id="too-many"),
            pytest.param([1, 0, 2, -1], ["ids[1]", "ids[3]"], id="not-positive"),
        ],
    )
    async def test_it_names_every_wrong_field(self, get_books: GetBooks, ids: list[int], fields: list[str]) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await get_books(ids)
        wrong = detail_of(error.value, BadRequest)
        assert [each.field for each in wrong.field_violations] == fields
