"""When a caller's time is over, or the caller is gone, so is the statement; the connection is free for the next.

The statements of these tests would wait for ever: somebody holds a lock on the table.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc
import psycopg
import pytest
from book_db.book import Book
from book_db.store import Store
from books.v1.book_service_pb2 import BatchGetBooksRequest, GetBookRequest, ListBooksRequest
from books.v1.book_service_pb2_grpc import BookServiceStub
from support.data_layer import Query
from support.tokens import SignedIn
from support.waiting import until

if TYPE_CHECKING:
    from books.v1.book_service_pb2_grpc import BookServiceAsyncStub

Call = Callable[..., Any]

CALLS = [
    pytest.param(lambda stub, **more: stub.GetBook(GetBookRequest(id=1), **more), id="GetBook"),
    pytest.param(lambda stub, **more: stub.BatchGetBooks(BatchGetBooksRequest(ids=[1, 2]), **more), id="BatchGetBooks"),
    pytest.param(lambda stub, **more: stub.ListBooks(ListBooksRequest(), **more), id="ListBooks"),
]

WAITING = "SELECT pid FROM pg_stat_activity WHERE application_name = 'tests' AND wait_event_type = 'Lock'"
OURS = "SELECT pid, state FROM pg_stat_activity WHERE application_name = 'tests' AND query NOT LIKE 'LISTEN%'"


@pytest.fixture
def query(database_url: str) -> Iterator[Query]:
    """Asks the database past the service."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield lambda statement: connection.execute(statement.encode()).fetchall()


@pytest.fixture
def locked(database_url: str) -> Callable[[str], AbstractContextManager[None]]:
    """`with locked("books"):` nobody reads that table."""

    @contextmanager
    def locked(table: str) -> Iterator[None]:
        with psycopg.connect(database_url) as connection:
            connection.execute(f"LOCK TABLE {table}".encode())
            yield

    return locked


@pytest.fixture
async def known(stub: "BookServiceAsyncStub", caller: SignedIn) -> "BookServiceAsyncStub":
    """The stub of somebody whom the server remembers: identifying asks for nothing."""
    with pytest.raises(grpc.aio.AioRpcError):
        await stub.GetBook(GetBookRequest(id=9), metadata=caller.metadata)
    return stub


def busy(query: Query) -> int:
    return len([pid for pid, state in query(OURS) if state != "idle"])


def all_connections_are_free(store: Store, query: Query) -> bool:
    pool: Any = store.database.engine.sync_engine.pool
    return pool.checkedout() == store.database.pool.idle and busy(query) == 0


async def all_become_free(store: Store, query: Query) -> None:
    await until(lambda: all_connections_are_free(store, query), "the statement is over and all connections are free")


async def is_asked(query: Query, calling: "asyncio.Future[Any]") -> None:
    """Wait until a statement of the call waits for the lock, or the call is over."""
    await until(lambda: query(WAITING) or calling.done(), "the database is asked")


async def code_of(call: Awaitable[Any]) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code().name


async def code_by_time(query: Query, begin: Callable[..., Any]) -> str:
    """The code of a call that may last so many seconds, as many as it takes to ask the database before."""
    for seconds in (0.25, 1, 4, 16, 64):
        calling = asyncio.ensure_future(code_of(begin(timeout=seconds)))
        await is_asked(query, calling)
        if not calling.done():
            return await calling
    pytest.fail("not even in a minute was the database asked")


class TestADeadline:
    @pytest.mark.parametrize("call", CALLS)
    async def test_ends_the_statement_and_frees_the_connection(
        self,
        call: Call,
        known: "BookServiceAsyncStub",
        caller: SignedIn,
        locked: Callable[[str], AbstractContextManager[None]],
        store: Store,
        query: Query,
    ) -> None:
        with locked("books"):
            begin = partial(call, known, metadata=caller.metadata)
            assert await code_by_time(query, begin) == "DEADLINE_EXCEEDED"
            await all_become_free(store, query)

    async def test_holds_while_the_caller_is_identified_too(
        self,
        stub: "BookServiceAsyncStub",
        caller: SignedIn,
        locked: Callable[[str], AbstractContextManager[None]],
        store: Store,
        query: Query,
    ) -> None:
        with locked("sessions"):
            begin = partial(stub.GetBook, GetBookRequest(id=1), metadata=caller.metadata)
            assert await code_by_time(query, begin) == "DEADLINE_EXCEEDED"
            await all_become_free(store, query)


class TestACallerWhoIsGone:
    @pytest.mark.parametrize("call", CALLS)
    async def test_by_cancelling_leaves_nothing_behind(
        self,
        call: Call,
        known: "BookServiceAsyncStub",
        caller: SignedIn,
        locked: Callable[[str], AbstractContextManager[None]],
        store: Store,
        query: Query,
    ) -> None:
        with locked("books"):
            calling = call(known, metadata=caller.metadata)
            waiting = asyncio.ensure_future(calling)
            await is_asked(query, waiting)
            calling.cancel()
            await all_become_free(store, query)
        await asyncio.wait([waiting])

    async def test_with_the_connection_leaves_nothing_behind(
        self,
        known: "BookServiceAsyncStub",
        port: int,
        caller: SignedIn,
        locked: Callable[[str], AbstractContextManager[None]],
        store: Store,
        query: Query,
    ) -> None:
        async with a_connection_of_its_own(port) as channel:
            with locked("books"):
                call = BookServiceStub(channel).ListBooks(ListBooksRequest(), metadata=caller.metadata)
                waiting = asyncio.ensure_future(call)
                await is_asked(query, waiting)
                await channel.close()
                await all_become_free(store, query)
            await asyncio.wait([waiting])

    @pytest.mark.parametrize("call", CALLS)
    async def test_a_hundred_times_leaves_the_pool_whole(
        self,
        call: Call,
        known: "BookServiceAsyncStub",
        caller: SignedIn,
        locked: Callable[[str], AbstractContextManager[None]],
        store: Store,
        query: Query,
    ) -> None:
        with locked("books"):
            for turn in range(100):
                deadline = 0.002 + 0.002 * (turn % 5)
                await code_of(call(known, metadata=caller.metadata, timeout=deadline))
            await all_become_free(store, query)
        pool: Any = store.database.engine.sync_engine.pool
        assert len(query(OURS)) == pool.checkedin() + store.database.pool.idle <= pool.size()
        await asyncio.gather(*(known.ListBooks(ListBooksRequest(), metadata=caller.metadata) for _ in range(50)))


class TestThoseWhoWaitForTheSame:
    async def test_are_answered_when_one_of_them_gives_up(
        self,
        known: "BookServiceAsyncStub",
        caller: SignedIn,
        book: Book,
        locked: Callable[[str], AbstractContextManager[None]],
        query: Query,
    ) -> None:
        with locked("books"):
            staying, leaving = (
                asyncio.ensure_future(known.GetBook(GetBookRequest(id=book.id), metadata=caller.metadata))
                for _ in range(2)
            )
            await is_asked(query, staying)
            leaving.cancel()
            await asyncio.sleep(0.1)
        assert (await staying).book.title == book.title
        assert leaving.cancelled()


def a_connection_of_its_own(port: int) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)])
