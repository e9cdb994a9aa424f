"""WatchBooks: every change, once, in order, to all who listen."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import grpc
import pytest
from book_db.event_log import Entry
from book_db.store import Store
from book_runtime.broker.local import LocalBroker
from books.v1.book_service_pb2 import WatchBooksRequest, WatchBooksResponse
from books.v1.book_service_pb2_grpc import BookServiceStub
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from grpc_api.application import serving
from prometheus_client import REGISTRY
from support.rich_errors import detail_of
from support.tokens import SignedIn

if TYPE_CHECKING:
    from books.v1.book_service_pb2_grpc import BookServiceAsyncStub

_MADE = datetime(2026, 11, 24, 9, 30, 0, 123456, UTC)


def an_entry(book_id: int = 1, version: int = 1, **changed: Any) -> Entry:
    return Entry(
        event_id=uuid4(),
        kind="created" if version == 1 else "updated",
        actor=str(uuid4()),
        occurred_at=_MADE,
        book_id=book_id,
        version=version,
        title="Emma",
        author="Jane Austen",
        publication_date=date(1815, 12, 23),
        created_at=_MADE,
        updated_at=_MADE,
    )._replace(**changed)


class Watching:
    """One call of WatchBooks."""

    def __init__(self, stub: "BookServiceAsyncStub", caller: SignedIn, **request: Any) -> None:
        self.call = stub.WatchBooks(WatchBooksRequest(**request), metadata=caller.metadata)
        self.positions: list[int] = []

    async def next(self, within: float = 10) -> WatchBooksResponse:
        async with asyncio.timeout(within):
            response = await self.call.read()
        assert isinstance(response, WatchBooksResponse), response
        self.positions.append(response.position)
        return response

    async def events(self, count: int) -> list[tuple[int, int]]:
        """Book and version of the next changes."""
        seen: list[tuple[int, int]] = []
        while len(seen) < count:
            response = await self.next()
            if response.HasField("event"):
                seen.append((response.event.book.id, response.event.book.version))
        return seen

    async def failure(self) -> grpc.aio.AioRpcError:
        """How it ends; what is told before is passed over."""
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await asyncio.wait_for(self._to_the_end(), 20)
        return error.value

    async def _to_the_end(self) -> None:
        while await self.call.read() is not grpc.aio.EOF:
            pass


Watch = Callable[..., Awaitable[Watching]]


@pytest.fixture
def watch(stub: "BookServiceAsyncStub", caller: SignedIn) -> Watch:
    """Begins to watch, and has been told where."""

    async def watch(**request: Any) -> Watching:
        watching = Watching(stub, caller, **request)
        assert not (await watching.next()).HasField("event")
        return watching

    return watch


@pytest.fixture
async def replica(store: Store, caller: SignedIn) -> AsyncIterator["BookServiceAsyncStub"]:
    """A second server on the same database."""
    async with (
        serving(store, LocalBroker(), host="127.0.0.1", port=0) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        yield BookServiceStub(channel)


class TestAWatch:
    async def test_tells_the_whole_change(self, store: Store, watch: Watch) -> None:
        watching, entry = await watch(), an_entry(version=2)
        await store.event_log.record([entry])
        event = (await watching.next()).event
        assert (event.id, event.actor, event.kind) == (str(entry.event_id), entry.actor, 2)
        assert event.time.ToDatetime(tzinfo=UTC) == _MADE
        book = event.book
        assert (book.id, book.version, book.title, book.author) == (1, 2, "Emma", "Jane Austen")
        assert (book.publication_date.year, book.publication_date.month, book.publication_date.day) == (1815, 12, 23)
        assert book.create_time.ToDatetime(tzinfo=UTC) == book.update_time.ToDatetime(tzinfo=UTC) == _MADE

    async def test_leaves_out_what_an_earlier_release_did_not_record(self, store: Store, watch: Watch) -> None:
        watching = await watch()
        await store.event_log.record([an_entry(created_at=None, updated_at=None)])
        book = (await watching.next()).event.book
        assert not book.HasField("create_time")
        assert not book.HasField("update_time")

    async def test_begins_with_what_happens_from_now_on(self, store: Store, watch: Watch) -> None:
        await store.event_log.record([an_entry(1)])
        watching = await watch()
        await store.event_log.record([an_entry(2)])
        assert await watching.events(1) == [(2, 1)]

    async def test_begins_with_the_first_change_of_all_after_0(self, store: Store, watch: Watch) -> None:
        await store.event_log.record([an_entry(book_id) for book_id in range(1, 1_201)])
        watching = await watch(after=0)
        assert await watching.events(1_200) == [(book_id, 1) for book_id in range(1, 1_201)]
        await store.event_log.record([an_entry(1_201)])
        assert await watching.events(1) == [(1_201, 1)]
        assert watching.positions == sorted(watching.positions)

    async def test_goes_on_after_the_position_it_is_given(self, store: Store, watch: Watch) -> None:
        watching = await watch(after=0)
        await store.event_log.record([an_entry(1, version) for version in (1, 2, 3)])
        await watching.events(2)
        watching.call.cancel()
        again = await watch(after=watching.positions[-1])
        assert await again.events(1) == [(1, 3)]

    async def test_means_some_books_alone(self, store: Store, watch: Watch) -> None:
        await store.event_log.record([an_entry(book_id) for book_id in (1, 2, 3)])
        watching = await watch(after=0, book_ids=[1, 3])
        await store.event_log.record([an_entry(book_id, 2) for book_id in (1, 2, 3)])
        assert await watching.events(4) == [(1, 1), (3, 1), (1, 2), (3, 2)]

    async def test_means_one_author_alone(self, store: Store, watch: Watch) -> None:
        eliot: dict[str, Any] = {"author": "George Eliot"}
        await store.event_log.record([an_entry(1), an_entry(2, **eliot)])
        watching = await watch(after=0, **eliot)
        await store.event_log.record([an_entry(1, 2), an_entry(2, 2, **eliot), an_entry(1, 3, **eliot)])
        assert await watching.events(3) == [(2, 1), (2, 2), (1, 3)]

    async def test_is_told_how_far_others_have_come(
        self, store: Store, watch: Watch, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("grpc_api.watching.watch._QUIET", 0.2)
        watching = await watch(book_ids=[7])
        await store.event_log.record([an_entry(1), an_entry(2)])
        newest = await store.event_log.newest()
        while (response := await watching.next()).position < newest:
            pass
        assert not response.HasField("event")
        assert watching.positions == sorted(set(watching.positions))

    async def test_hears_what_another_replica_records(
        self, store: Store, watch: Watch, replica: "BookServiceAsyncStub", caller: SignedIn
    ) -> None:
        here, there = await watch(), Watching(replica, caller)
        await there.next()
        await store.event_log.record([an_entry(5)])
        assert await here.events(1) == await there.events(1) == [(5, 1)]


class TestThatIsRefused:
    async def test_it_names_all_that_is_wrong(self, stub: "BookServiceAsyncStub", caller: SignedIn) -> None:
        error = await Watching(stub, caller, after=-1, book_ids=[1, 0], author="\0").failure()
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        wrong = detail_of(error, BadRequest)
        assert [each.field for each in wrong.field_violations] == ["after", "book_ids[1]", "author"]

    async def test_a_position_that_nobody_gave(self, stub: "BookServiceAsyncStub", caller: SignedIn) -> None:
        error = await Watching(stub, caller, after=1_000_000).failure()
        assert error.code() is grpc.StatusCode.OUT_OF_RANGE
        assert detail_of(error, ErrorInfo).reason == "POSITION_NOT_REACHED"

    async def test_one_watcher_too_many(self, store: Store, caller: SignedIn) -> None:
        async with (
            serving(store, LocalBroker(), host="127.0.0.1", port=0, max_watchers=1) as port,
            grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
        ):
            stub: BookServiceAsyncStub = BookServiceStub(channel)
            first = Watching(stub, caller)
            await first.next()
            error = await Watching(stub, caller).failure()
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert detail_of(error, ErrorInfo).reason == "TOO_MANY_WATCHERS"
            first.call.cancel()
            async with asyncio.timeout(5):
                while REGISTRY.get_sample_value("colophon_watchers"):
                    await asyncio.sleep(0.01)
            await Watching(stub, caller).next()


class TestTheEnd:
    async def test_comes_at_once_when_the_service_stops(self, store: Store, caller: SignedIn) -> None:
        async with serving(store, LocalBroker(), host="127.0.0.1", port=0, drain_seconds=30) as port:
            channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
            watching = Watching(BookServiceStub(channel), caller)
            await watching.next()
            failing = asyncio.create_task(watching.failure())
            stopping = asyncio.get_running_loop().time()
        error = await failing
        assert asyncio.get_running_loop().time() - stopping < 10
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert detail_of(error, ErrorInfo).reason == "STOPPING"
        await channel.close()

    async def test_leaves_nothing_behind(self, store: Store, watch: Watch) -> None:
        watching = await watch()
        assert REGISTRY.get_sample_value("colophon_watchers") == 1
        watching.call.cancel()
        async with asyncio.timeout(5):
            while REGISTRY.get_sample_value("colophon_watchers"):
                await asyncio.sleep(0.01)


class TestAWatcherWhoDoesNotRead:
    async def test_is_cut_off_while_the_others_go_on(
        self, store: Store, stub: "BookServiceAsyncStub", caller: SignedIn, watch: Watch
    ) -> None:
        cut_off = REGISTRY.get_sample_value("colophon_watchers_cut_off_total") or 0
        slow, quick = await watch(), await watch(book_ids=[2])
        long = {"title": "x" * 2_000, "author": "y" * 1_000}
        for version in range(1, 4_001, 250):
            await store.event_log.record([an_entry(1, each, **long) for each in range(version, version + 250)])
        await store.event_log.record([an_entry(2)])
        assert await quick.events(1) == [(2, 1)]
        error = await slow.failure()
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert detail_of(error, ErrorInfo).reason == "WATCHER_TOO_SLOW"
        assert REGISTRY.get_sample_value("colophon_watchers_cut_off_total") == cut_off + 1
        assert REGISTRY.get_sample_value("colophon_watchers") == 1


class TestManyWatchers:
    async def test_a_thousand_are_told_of_every_change(self, store: Store, port: int, caller: SignedIn) -> None:
        channels = [grpc.aio.insecure_channel(f"127.0.0.1:{port}", [("grpc.x", place)]) for place in range(10)]
        watchers = [Watching(BookServiceStub(channels[place % 10]), caller) for place in range(1_000)]
        await asyncio.gather(*(watching.next(30) for watching in watchers))
        began = asyncio.get_running_loop().time()
        await store.event_log.record([an_entry(1, version) for version in range(1, 11)])
        seen = await asyncio.gather(*(watching.events(10) for watching in watchers))
        took = asyncio.get_running_loop().time() - began
        assert seen == [[(1, version) for version in range(1, 11)]] * 1_000
        print(f"1,000 watchers, 10 changes each: {took:.2f} s, clients in the same process")
        for channel in channels:
            await channel.close()
