"""WatchBooks: every change, once, in order, to all who listen."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import grpc
import pytest
from book_db.errors import PositionSwept
from book_db.events.log import EVENTS_RECORDED
from book_db.migrations import upgrade
from book_db.roles import Role
from book_db.settings import StoreSettings
from book_db.store import Store, open_store
from book_runtime.broker.local import LocalBroker
from book_runtime.settings import load
from book_runtime.tokens import TokenVerifier
from books.v1.book_event_pb2 import BOOK_EVENT_KIND_DELETED
from books.v1.book_service_pb2 import WatchBooksRequest, WatchBooksResponse
from books.v1.book_service_pb2_grpc import BookServiceStub
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from grpc_api.application import serving
from grpc_api.streams import ServiceStopping, end_of_this_stream
from prometheus_client import REGISTRY
from structlog.testing import capture_logs
from support.data_layer import an_event, statements_sent_to
from support.postgresql import PostgreSQLServer
from support.rich_errors import detail_of
from support.tokens import SignedIn, Signer
from support.waiting import patience, patiently, until

if TYPE_CHECKING:
    from books.v1.book_service_pb2_grpc import BookServiceAsyncStub

OUT = "outage of PostgreSQL: what needs it waits or is refused"
_MADE = datetime(2026, 11, 24, 9, 30, 0, 123456, UTC)


class Watching:
    """One call of WatchBooks."""

    def __init__(self, stub: "BookServiceAsyncStub", caller: SignedIn, **request: Any) -> None:
        self.call = stub.WatchBooks(WatchBooksRequest(**request), metadata=caller.metadata)
        self.positions: list[int] = []

    async def next(self) -> WatchBooksResponse:
        response = await patiently(self.call.read(), "there is a response")
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
            await patiently(self._to_the_end(), "the stream ends")
        return error.value

    async def _to_the_end(self) -> None:
        while await self.call.read() is not grpc.aio.EOF:
            pass


def calls_that_run() -> int:
    """How many calls grpcio's server has a task for."""
    return sum("_handle_exceptions" in getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks())


Watch = Callable[..., Awaitable[Watching]]
SignIn = Callable[..., Awaitable[SignedIn]]


async def _is_whole_from(store: Store, position: int) -> bool:
    with suppress(PositionSwept):
        await store.event_log.after(position - 1, position)
        return False
    return True


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
        recorded = an_event(version=2, occurred_at=_MADE, created_at=_MADE, updated_at=_MADE)
        watching = await watch()
        await store.event_log.record([recorded])
        event = (await watching.next()).event
        assert (event.id, event.actor, event.kind) == (str(recorded.id), recorded.actor, 2)
        assert event.time.ToDatetime(tzinfo=UTC) == _MADE
        book = event.book
        assert (book.id, book.version, book.title, book.author) == (1, 2, "Emma", "Jane Austen")
        assert (book.publication_date.year, book.publication_date.month, book.publication_date.day) == (1815, 12, 23)
        assert book.create_time.ToDatetime(tzinfo=UTC) == book.update_time.ToDatetime(tzinfo=UTC) == _MADE

    async def test_leaves_out_what_an_earlier_release_did_not_record(self, store: Store, watch: Watch) -> None:
        watching = await watch()
        await store.event_log.record([an_event(created_at=None, updated_at=None)])
        book = (await watching.next()).event.book
        assert not book.HasField("create_time")
        assert not book.HasField("update_time")

    async def test_begins_with_what_happens_from_now_on(self, store: Store, watch: Watch) -> None:
        await store.event_log.record([an_event(1)])
        watching = await watch()
        await store.event_log.record([an_event(2)])
        assert await watching.events(1) == [(2, 1)]

    async def test_begins_with_the_first_change_of_all_after_0(self, store: Store, watch: Watch) -> None:
        await store.event_log.record([an_event(book_id) for book_id in range(1, 1_201)])
        watching = await watch(after=0)
        assert await watching.events(1_200) == [(book_id, 1) for book_id in range(1, 1_201)]
        await store.event_log.record([an_event(1_201)])
        assert await watching.events(1) == [(1_201, 1)]
        assert watching.positions == sorted(watching.positions)

    async def test_goes_on_after_the_position_it_is_given(self, store: Store, watch: Watch) -> None:
        watching = await watch(after=0)
        await store.event_log.record([an_event(1, version) for version in (1, 2, 3)])
        await watching.events(2)
        watching.call.cancel()
        again = await watch(after=watching.positions[-1])
        assert await again.events(1) == [(1, 3)]

    async def test_tells_of_a_deletion(self, store: Store, watch: Watch) -> None:
        watching = await watch(author="Jane Austen")
        await store.event_log.record([an_event(1, 3, kind="deleted")])
        event = (await watching.next()).event
        assert event.kind == BOOK_EVENT_KIND_DELETED
        assert (event.book.title, event.book.version) == ("Emma", 3)

    async def test_means_some_books_alone(self, store: Store, watch: Watch) -> None:
        await store.event_log.record([an_event(book_id) for book_id in (1, 2, 3)])
        watching = await watch(after=0, book_ids=[1, 3])
        await store.event_log.record([an_event(book_id, 2) for book_id in (1, 2, 3)])
        assert await watching.events(4) == [(1, 1), (3, 1), (1, 2), (3, 2)]

    async def test_means_one_author_alone(self, store: Store, watch: Watch) -> None:
        eliot: dict[str, Any] = {"author": "George Eliot"}
        await store.event_log.record([an_event(1), an_event(2, **eliot)])
        watching = await watch(after=0, **eliot)
        await store.event_log.record([an_event(1, 2), an_event(2, 2, **eliot), an_event(1, 3, **eliot)])
        assert await watching.events(3) == [(2, 1), (2, 2), (1, 3)]

    async def test_is_told_how_far_others_have_come(
        self, store: Store, watch: Watch, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("grpc_api.watching.watch._QUIET_SECONDS", 0.2)
        watching = await watch(book_ids=[7])
        await store.event_log.record([an_event(1), an_event(2)])
        newest = await store.event_log.newest()
        while (response := await watching.next()).position < newest:
            pass
        assert not response.HasField("event")
        assert watching.positions == sorted(set(watching.positions))

    async def test_sees_what_another_replica_records(
        self, store: Store, watch: Watch, replica: "BookServiceAsyncStub", caller: SignedIn
    ) -> None:
        here, there = await watch(), Watching(replica, caller)
        await there.next()
        await store.event_log.record([an_event(5)])
        assert await here.events(1) == await there.events(1) == [(5, 1)]


class TestWhoMadeAChange:
    @pytest.mark.parametrize("after", [None, 0], ids=["new", "old"])
    async def test_is_told_to_editors_and_admins_and_to_the_actor(
        self, store: Store, stub: "BookServiceAsyncStub", sign_in: SignIn, after: int | None
    ) -> None:
        reader, editor, admin = await sign_in(Role.READER), await sign_in(Role.EDITOR), await sign_in(Role.ADMIN)
        actors = [str(editor.user_id), str(reader.user_id)]
        events = [an_event(book_id, actor=actor) for book_id, actor in enumerate(actors, start=1)]
        if after == 0:
            await store.event_log.record(events)
        told = {}
        for name, caller in {"reader": reader, "editor": editor, "admin": admin}.items():
            told[name] = Watching(stub, caller, after=after)
            await told[name].next()
        if after is None:
            await store.event_log.record(events)
        heard = {name: [(await watching.next()).event.actor for _ in events] for name, watching in told.items()}
        assert heard == {"reader": ["", actors[1]], "editor": actors, "admin": actors}

    async def test_is_told_no_longer_when_the_role_is_taken_away(
        self, store: Store, stub: "BookServiceAsyncStub", sign_in: SignIn
    ) -> None:
        caller = await sign_in(Role.EDITOR)
        watching = Watching(stub, caller)
        await watching.next()
        await store.event_log.record([an_event()])
        assert (await watching.next()).event.actor
        await store.users.change(caller.user_id, Role.READER.columns, decided_on=Role.EDITOR.columns)

        async def is_told_no_longer() -> bool:
            await store.event_log.record([an_event()])
            return not (await watching.next()).event.actor

        await until(is_told_no_longer, "the stream knows of the new role")

    async def test_is_told_to_nobody_where_calls_need_no_token(self, store: Store, caller: SignedIn) -> None:
        async with (
            serving(store, LocalBroker(), host="127.0.0.1", port=0, authenticate=False) as port,
            grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
        ):
            watching = Watching(BookServiceStub(channel), caller)
            await watching.next()
            await store.event_log.record([an_event()])
            assert (await watching.next()).event.actor == ""


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

    async def test_a_position_after_which_changes_are_no_longer_kept(
        self, store: Store, stub: "BookServiceAsyncStub", caller: SignedIn
    ) -> None:
        await store.event_log.record([an_event(), an_event(version=2)])
        async with store.database.transaction() as connection:
            await connection.exec_driver_sql(
                "UPDATE event_log SET recorded_at = recorded_at - interval '8 days' WHERE position = 1"
            )
        async with store.event_log.kept_swept(7, pause=0.01):
            await until(lambda: _is_whole_from(store, 1), "the first is swept")
        error = await Watching(stub, caller, after=0).failure()
        assert error.code() is grpc.StatusCode.OUT_OF_RANGE
        info = detail_of(error, ErrorInfo)
        assert (info.reason, info.metadata["position"]) == ("POSITION_SWEPT", "1")
        assert await Watching(stub, caller, after=1).events(1) == [(1, 2)]

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
            await until(lambda: not REGISTRY.get_sample_value("colophon_watchers"), "nobody watches")
            await Watching(stub, caller).next()

    async def test_more_than_half_of_them_are_not_one_user_s(
        self, store: Store, caller: SignedIn, sign_in: Callable[[], Awaitable[SignedIn]]
    ) -> None:
        other = await sign_in()
        async with (
            serving(store, LocalBroker(), host="127.0.0.1", port=0, max_watchers=2) as port,
            grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
        ):
            stub: BookServiceAsyncStub = BookServiceStub(channel)
            await Watching(stub, caller).next()
            error = await Watching(stub, caller).failure()
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert detail_of(error, ErrorInfo).reason == "TOO_MANY_WATCHERS"
            assert "of yours" in str(error.details())
            await Watching(stub, other).next()


class TestTheEnd:
    async def test_comes_at_once_when_the_service_stops(self, store: Store, caller: SignedIn) -> None:
        async with AsyncExitStack() as stack, patience("the service has stopped"):
            async with serving(store, LocalBroker(), host="127.0.0.1", port=0, drain_seconds=3_600) as port:
                channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}"))
                watching = Watching(BookServiceStub(channel), caller)
                await watching.next()
                failing = asyncio.create_task(watching.failure())
            error = await failing
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert detail_of(error, ErrorInfo).reason == "STOPPING"

    async def test_comes_within_seconds_when_the_caller_is_out(
        self, store: Store, watch: Watch, caller: SignedIn
    ) -> None:
        watching = await watch()
        await store.sessions.end(caller.session_id)
        error = await watching.failure()
        assert error.code() is grpc.StatusCode.UNAUTHENTICATED
        assert detail_of(error, ErrorInfo).reason == "ACCESS_TOKEN_INVALID"

    async def test_is_not_the_end_of_what_can_be_known(self, store: Store, caller: SignedIn) -> None:
        """One service is gone, and another one goes on where the watcher was."""
        position = 0
        for version in (1, 2, 3):
            async with (
                serving(store, LocalBroker(), host="127.0.0.1", port=0) as port,
                grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
            ):
                await store.event_log.record([an_event(1, version)])
                watching = Watching(BookServiceStub(channel), caller, after=position)
                assert await watching.events(1) == [(1, version)]
                position = watching.positions[-1]

    async def test_is_told_properly_when_it_comes_with_the_first_response(
        self, stub: "BookServiceAsyncStub", caller: SignedIn, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """grpcio's server cannot send a status while what begins the answer is on its way."""

        def ending(position: int) -> bytes:
            asyncio.get_running_loop().call_soon(end_of_this_stream(), ServiceStopping())
            return WatchBooksResponse(position=position).SerializeToString()

        monkeypatch.setattr("grpc_api.watching.watch.reached", ending)
        error = await Watching(stub, caller).failure()
        assert error.code() is grpc.StatusCode.UNAVAILABLE

    async def test_leaves_nothing_behind(self, store: Store, watch: Watch) -> None:
        watching = await watch()
        assert REGISTRY.get_sample_value("colophon_watchers") == 1
        assert calls_that_run() == 1
        watching.call.cancel()
        await until(
            lambda: not (REGISTRY.get_sample_value("colophon_watchers") or calls_that_run()), "the watch is forgotten"
        )


class TestAWatcherWhoDoesNotRead:
    @pytest.fixture(autouse=True)
    def _no_patience(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("grpc_api.watching.tail._CATCH_UP_SECONDS", 0.02)

    async def test_is_cut_off_while_the_others_go_on(
        self, store: Store, stub: "BookServiceAsyncStub", caller: SignedIn, watch: Watch
    ) -> None:
        cut_off = REGISTRY.get_sample_value("colophon_watchers_cut_off_total") or 0
        slow, quick = await watch(), await watch(book_ids=[2])
        long = {"title": "x" * 2_000, "author": "y" * 1_000}
        for version in range(1, 4_001, 250):
            await store.event_log.record([an_event(1, each, **long) for each in range(version, version + 250)])
        await store.event_log.record([an_event(2)])
        assert await quick.events(1) == [(2, 1)]
        error = await slow.failure()
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert detail_of(error, ErrorInfo).reason == "WATCHER_TOO_SLOW"
        assert REGISTRY.get_sample_value("colophon_watchers_cut_off_total") == cut_off + 1
        assert REGISTRY.get_sample_value("colophon_watchers") == 1

    async def test_leaves_nothing_behind_though_it_never_reads(
        self, store: Store, watch: Watch, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("grpc_api.sending._STATUS_TIMEOUT_SECONDS", 0.3)
        await watch()
        long = {"title": "x" * 2_000, "author": "y" * 1_000}
        for version in range(1, 4_001, 250):
            await store.event_log.record([an_event(1, each, **long) for each in range(version, version + 250)])
        await until(lambda: not calls_that_run(), "the watch is forgotten")


class TestABurst:
    async def test_cuts_off_nobody_who_reads(self, store: Store, watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
        """More changes than may wait, and faster than they can be sent to so many: the log is read more slowly."""
        monkeypatch.setattr("grpc_api.watching.buffer.WAITING_MAX", 500)
        monkeypatch.setattr("grpc_api.watching.tail._CATCH_UP_SECONDS", 3_600)
        cut_off = REGISTRY.get_sample_value("colophon_watchers_cut_off_total")
        watchers = [await watch() for _ in range(10)]
        seeing = asyncio.gather(*(watching.events(1_500) for watching in watchers))
        for first in range(0, 1_500, 500):
            await store.event_log.record([an_event(each) for each in range(first + 1, first + 501)])
        assert await seeing == [[(each, 1) for each in range(1, 1_501)]] * 10
        assert REGISTRY.get_sample_value("colophon_watchers_cut_off_total") == cut_off


class TestWhoComesBackSoon:
    async def test_asks_nothing_of_the_database(self, store: Store, watch: Watch) -> None:
        staying = await watch()
        position = staying.positions[0]
        await store.event_log.record([an_event(each) for each in range(1, 501)])
        await staying.events(500)
        with statements_sent_to(store.database) as statements:
            again = [await watch(after=position, book_ids=[7, 8]) for _ in range(20)]
            assert [await each.events(2) for each in again] == [[(7, 1), (8, 1)]] * 20
        assert [each for each in statements if "book_id = " in each] == []


class TestAReplicaThatLags:
    @pytest.fixture
    async def deaf(self, database_url: str, signer: Signer, caller: SignedIn) -> AsyncIterator["BookServiceAsyncStub"]:
        """A server that looks by itself alone."""
        settings = load(StoreSettings, database_url=database_url, redis_url=None)
        async with (
            open_store(settings, TokenVerifier(signer.public_pem), name="tests") as store,
            serving(store, LocalBroker(), host="127.0.0.1", port=0) as port,
            grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
        ):
            yield BookServiceStub(channel)

    async def test_takes_a_position_from_another_replica(
        self, store: Store, deaf: "BookServiceAsyncStub", caller: SignedIn
    ) -> None:
        staying = Watching(deaf, caller)
        await staying.next()
        await store.event_log.record([an_event(1), an_event(2)])
        coming = Watching(deaf, caller, after=await store.event_log.newest())
        assert not (await coming.next()).HasField("event")
        await store.event_log.record([an_event(3)])
        assert await coming.events(1) == [(3, 1)]
        assert await staying.events(3) == [(1, 1), (2, 1), (3, 1)]


class TestADatabaseThatIsAway:
    async def test_ends_no_watch(self, own_postgresql: PostgreSQLServer, signer: Signer) -> None:
        upgrade(own_postgresql.url)
        settings = load(StoreSettings, database_url=own_postgresql.url, redis_url=None)
        async with (
            open_store(settings, TokenVerifier(signer.public_pem), name="tests", hears=[EVENTS_RECORDED]) as store,
            serving(store, LocalBroker(), host="127.0.0.1", port=0, authenticate=False) as port,
            grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
        ):
            watching = Watching(BookServiceStub(channel), SignedIn(uuid4(), uuid4(), ""))
            await watching.next()
            with capture_logs() as logs:
                await asyncio.to_thread(own_postgresql.stop)
                await until(lambda: OUT in [each["event"] for each in logs], "it is told")
            await asyncio.to_thread(own_postgresql.start)
            await store.event_log.record([an_event(1)])
            assert await watching.events(1) == [(1, 1)]


class TestManyWatchers:
    async def test_a_thousand_are_told_of_every_change(self, store: Store, port: int, caller: SignedIn) -> None:
        async with AsyncExitStack() as stack:
            channels = [
                await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}", [("grpc.x", place)]))
                for place in range(10)
            ]
            watchers = [Watching(BookServiceStub(channels[place % 10]), caller) for place in range(1_000)]
            await asyncio.gather(*(watching.next() for watching in watchers))
            await store.event_log.record([an_event(1, version) for version in range(1, 11)])
            seen = await asyncio.gather(*(watching.events(10) for watching in watchers))
        assert seen == [[(1, version) for version in range(1, 11)]] * 1_000
