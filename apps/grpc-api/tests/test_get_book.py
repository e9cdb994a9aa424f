"""GetBook, through the real server and a grpc.aio stub."""

from datetime import date
from typing import TYPE_CHECKING
from uuid import UUID

import grpc
import pytest
from book_db.book import Book, BookPatch, Draft
from book_db.settings import StoreSettings
from book_db.store import Store, open_store
from book_runtime.broker.local import LocalBroker
from book_runtime.redis import open_redis
from book_runtime.settings import load
from book_runtime.tokens import TokenVerifier
from books.v1.book_pb2 import Date
from books.v1.book_service_pb2 import GetBookRequest
from books.v1.book_service_pb2_grpc import BookServiceStub
from grpc_api.application import serving
from sqlalchemy import text
from support.tokens import SignedIn, Signer
from support.waiting import PATIENCE

if TYPE_CHECKING:
    from books.v1.book_service_pb2_grpc import BookServiceAsyncStub

ACTOR = UUID("018f0e9a-0000-7000-8000-00000000000a")


class TestTheCache:
    async def test_a_book_that_redis_knows_is_not_looked_up(
        self, database_url: str, redis_url: str, signer: Signer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # A cache that is slow, as on a busy machine, is passed by.
        monkeypatch.setattr("book_db.books.cache.open_redis", lambda url, **_: open_redis(url, timeout=PATIENCE))
        settings = load(StoreSettings, database_url=database_url, redis_url=redis_url)
        async with (
            open_store(settings, TokenVerifier(signer.public_pem), name="tests") as store,
            serving(store, LocalBroker(), host="127.0.0.1", port=0, authenticate=False) as port,
            grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
        ):
            book = await store.catalogue.add(Draft("Emma", "Jane Austen", date(1815, 12, 23)), ACTOR)
            async with store.database.statement() as connection:
                await connection.execute(text("DELETE FROM books"))
            stub: BookServiceAsyncStub = BookServiceStub(channel)
            assert (await stub.GetBook(GetBookRequest(id=book.id))).book.title == "Emma"


class TestGetBook:
    async def test_a_book_comes_with_all_its_fields(
        self, stub: "BookServiceAsyncStub", caller: SignedIn, book: Book
    ) -> None:
        answer = (await stub.GetBook(GetBookRequest(id=book.id), metadata=caller.metadata)).book
        assert (answer.id, answer.title, answer.author, answer.version) == (book.id, book.title, book.author, 1)
        assert answer.publication_date == Date(year=1871, month=12, day=1)
        assert answer.create_time.ToDatetime(tzinfo=book.created_at.tzinfo) == book.created_at
        assert answer.update_time == answer.create_time

    async def test_a_change_is_seen_at_once(
        self, stub: "BookServiceAsyncStub", caller: SignedIn, book: Book, store: Store
    ) -> None:
        changed = await store.catalogue.change(book.id, BookPatch.only(publication_date=date(1, 1, 1)), ACTOR)
        answer = (await stub.GetBook(GetBookRequest(id=book.id), metadata=caller.metadata)).book
        assert answer.version == 2
        assert answer.publication_date == Date(year=1, month=1, day=1)
        assert answer.update_time.ToDatetime(tzinfo=book.created_at.tzinfo) == changed.updated_at

    async def test_a_deleted_book_is_not_found(
        self, stub: "BookServiceAsyncStub", caller: SignedIn, book: Book, store: Store
    ) -> None:
        await store.catalogue.remove(book.id, ACTOR)
        with pytest.raises(grpc.aio.AioRpcError, match=f"No book has the id {book.id}") as error:
            await stub.GetBook(GetBookRequest(id=book.id), metadata=caller.metadata)
        assert error.value.code() is grpc.StatusCode.NOT_FOUND

    @pytest.mark.parametrize(
        ("book_id", "code"),
        [
            pytest.param(0, grpc.StatusCode.INVALID_ARGUMENT, id="left-out"),
            pytest.param(-1, grpc.StatusCode.INVALID_ARGUMENT, id="negative"),
            pytest.param(-(2**63), grpc.StatusCode.INVALID_ARGUMENT, id="the-least-int64"),
            pytest.param(2**63 - 1, grpc.StatusCode.NOT_FOUND, id="the-greatest-int64"),
        ],
    )
    async def test_an_id_that_no_book_can_have_is_refused(
        self, stub: "BookServiceAsyncStub", caller: SignedIn, book_id: int, code: grpc.StatusCode
    ) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await stub.GetBook(GetBookRequest(id=book_id), metadata=caller.metadata)
        assert error.value.code() is code
