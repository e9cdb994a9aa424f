"""Filters, orders and read masks of ListBooks: what they find is what the catalogue finds."""

from collections.abc import Awaitable, Callable
from datetime import date
from typing import TYPE_CHECKING, Any
from uuid import UUID

import grpc
import pytest
from book_db.book import Draft
from book_db.books.selection import Order, Selection
from book_db.store import Store
from books.v1.book_pb2 import Date
from books.v1.book_service_pb2 import BookFilter, GetBookRequest, ListBooksRequest, ListBooksResponse
from google.protobuf.field_mask_pb2 import FieldMask
from google.rpc.error_details_pb2 import BadRequest
from support.rich_errors import detail_of
from support.tokens import SignedIn

if TYPE_CHECKING:
    from books.v1.book_service_pb2_grpc import BookServiceAsyncStub

ACTOR = UUID("018f0e9a-0000-7000-8000-00000000000a")
ListBooks = Callable[..., Awaitable[ListBooksResponse]]

DRAFTS = [
    Draft("Middlemarch", "George Eliot", date(1871, 12, 1)),
    Draft("Romola", "George Eliot", date(1863, 7, 6)),
    Draft("Indiana", "George Sand", date(1832, 5, 19)),
    Draft("Émile et Sophie", "Jean-Jacques Rousseau", date(1780, 1, 1)),
    Draft("Emma", "Jane Austen", date(1815, 12, 23)),
    Draft("Emma", "Charlotte Brontë", date(1860, 4, 1)),
]


@pytest.fixture
def list_books(stub: "BookServiceAsyncStub", caller: SignedIn) -> ListBooks:
    async def list_books(**request: Any) -> ListBooksResponse:
        return await stub.ListBooks(ListBooksRequest(**request), metadata=caller.metadata)

    return list_books


async def violations(listing: Awaitable[object]) -> dict[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await listing
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    return {each.field: each.description for each in detail_of(error.value, BadRequest).field_violations}


class TestAFilter:
    @pytest.mark.parametrize(
        ("asked", "selection", "found"),
        [
            pytest.param({}, Selection(), 6, id="empty"),
            pytest.param({"author": " George Eliot "}, Selection(author="George Eliot"), 2, id="author"),
            pytest.param({"author_prefix": "George "}, Selection(author_prefix="George "), 3, id="author-prefix"),
            pytest.param({"title": "Emma"}, Selection(title="Emma"), 2, id="title"),
            pytest.param({"title_prefix": "E\u0301"}, Selection(title_prefix="\u00c9"), 1, id="title-prefix-in-nfd"),
            pytest.param({"words": "GEORGE middle march"}, Selection(words=("george", "march", "middle")), 0, id="no"),
            pytest.param({"words": "GEORGE middle-march"}, Selection(words=("george", "middlemarch")), 1, id="hyphen"),
            pytest.param({"words": "emile sophie"}, Selection(words=("emile", "sophie")), 1, id="words"),
            pytest.param(
                {"published_from": Date(year=1860, month=4, day=1), "published_to": Date(year=1863, month=7, day=6)},
                Selection(published_from=date(1860, 4, 1), published_to=date(1863, 7, 6)),
                2,
                id="days",
            ),
            pytest.param(
                {"title": "Emma", "author_prefix": "J"}, Selection(title="Emma", author_prefix="J"), 1, id="several"
            ),
        ],
    )
    async def test_finds_what_the_catalogue_finds(
        self, store: Store, list_books: ListBooks, asked: dict[str, Any], selection: Selection, found: int
    ) -> None:
        await store.catalogue.add_many(DRAFTS, ACTOR)
        answer = await list_books(filter=BookFilter(**asked))
        same = await store.catalogue.page(50, None, selection)
        assert [book.id for book in answer.books] == [book.id for book in same.books]
        assert len(answer.books) == found

    async def test_is_told_of_every_mistake_at_once(self, list_books: ListBooks) -> None:
        asked = BookFilter(
            author="\u0007",
            author_prefix=" ",
            title="x" * 2_001,
            words="...",
            published_from=Date(year=1871, month=2, day=29),
            published_to=Date(),
        )
        wrong = await violations(list_books(filter=asked, page_size=-1, order_by="price"))
        assert set(wrong) == {
            "page_size",
            "filter.author",
            "filter.author_prefix",
            "filter.title",
            "filter.words",
            "filter.published_from",
            "filter.published_to",
            "order_by",
        }

    async def test_refuses_days_in_the_wrong_order(self, list_books: ListBooks) -> None:
        first, last = Date(year=1872, month=1, day=1), Date(year=1871, month=1, day=1)
        asked = BookFilter(published_from=first, published_to=last)
        wrong = await violations(list_books(filter=asked))
        assert wrong == {"filter.published_to": "must not be before published_from"}


class TestAnOrder:
    @pytest.mark.parametrize("suffix", [pytest.param("", id="up"), pytest.param(" desc", id="down")])
    @pytest.mark.parametrize(
        ("name", "field"),
        [
            ("id", "id"),
            ("title", "title"),
            ("author", "author"),
            ("publication_date", "publication_date"),
            ("version", "version"),
            ("create_time", "created_at"),
            ("update_time", "updated_at"),
        ],
    )
    async def test_is_that_of_the_catalogue_page_after_page(
        self, store: Store, list_books: ListBooks, name: str, field: Any, suffix: str
    ) -> None:
        await store.catalogue.add_many(DRAFTS, ACTOR)
        same = await store.catalogue.page(50, None, Selection(), Order(field, bool(suffix)))
        seen: list[int] = []
        token = ""
        while not seen or token:
            page = await list_books(page_size=4, page_token=token, order_by=f"{name}{suffix}")
            seen += [book.id for book in page.books]
            token = page.next_page_token
        assert seen == [book.id for book in same.books]

    @pytest.mark.parametrize("order_by", ["created_at", "title, author", "title asc", "-title", "title desc desc", "é"])
    async def test_is_refused_where_it_is_none(self, list_books: ListBooks, order_by: str) -> None:
        assert set(await violations(list_books(order_by=order_by))) == {"order_by"}

    async def test_belongs_to_its_page_tokens(self, store: Store, list_books: ListBooks) -> None:
        await store.catalogue.add_many(DRAFTS, ACTOR)
        token = (await list_books(page_size=2, order_by="title")).next_page_token
        assert set(await violations(list_books(page_token=token, order_by="author"))) == {"page_token"}
        asked = BookFilter(author="George Eliot")
        assert set(await violations(list_books(page_token=token, order_by="title", filter=asked))) == {"page_token"}

    async def test_is_kept_where_a_page_is_shortened(self, store: Store, list_books: ListBooks) -> None:
        longest = [Draft("\U0001f4d6" * 2_000, "\U0001d538" * 1_000, date(1900, 1, 1))] * 100
        books = [book for _ in range(4) for book in await store.catalogue.add_many(longest, ACTOR)]
        seen: list[int] = []
        token = ""
        while not seen or token:
            page = await list_books(page_size=1_000, page_token=token, order_by="title desc")
            seen += [book.id for book in page.books]
            token = page.next_page_token
        assert seen == [book.id for book in reversed(books)]


class TestAReadMask:
    @pytest.mark.parametrize(
        ("paths", "fields"),
        [
            pytest.param([], 7, id="none-at-all"),
            pytest.param(["*"], 7, id="star"),
            pytest.param(["id"], 1, id="one"),
            pytest.param(["id", "create_time", "publication_date.year"], 3, id="several"),
        ],
    )
    async def test_gives_the_fields_that_it_names(
        self, store: Store, list_books: ListBooks, paths: list[str], fields: int
    ) -> None:
        await store.catalogue.add_many(DRAFTS[:1], ACTOR)
        [book] = (await list_books(read_mask=FieldMask(paths=paths))).books
        assert len(book.ListFields()) == fields

    @pytest.mark.parametrize("path", ["price", "*", "createTime", "publication_date.hour", "", "title.x"])
    async def test_is_refused_where_a_book_has_no_such_field(
        self, stub: "BookServiceAsyncStub", caller: SignedIn, path: str
    ) -> None:
        request = GetBookRequest(id=1, read_mask=FieldMask(paths=["title", path]))
        assert set(await violations(stub.GetBook(request, metadata=caller.metadata))) == {"read_mask.paths[1]"}
