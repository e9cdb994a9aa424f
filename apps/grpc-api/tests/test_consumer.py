"""The handler of events: recorded once in PostgreSQL, printed once, in order."""

import io
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from book_contracts import events
from book_db.book import Book as StoredBook
from book_db.books.cache import Miss, RedisCache
from book_db.events.log import EventLog
from book_db.postgres.database import Database
from book_db.store import Store
from book_runtime.broker.messages import Message
from book_runtime.broker.ports import TryAgainLater, Undeliverable
from book_runtime.logs import _add_trace_id
from books.v1.book_event_pb2 import BOOK_EVENT_KIND_CREATED, BOOK_EVENT_KIND_DELETED, BOOK_EVENT_KIND_UPDATED, BookEvent
from books.v1.book_pb2 import Book, Date
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_api.consumer import EventRecorder
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from sqlalchemy import text
from structlog.testing import capture_logs
from support.ports import free_port
from support.waiting import PATIENCE

ACTOR = "018f0e9a-0000-7000-8000-00000000000a"
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
KINDS = [BOOK_EVENT_KIND_CREATED, BOOK_EVENT_KIND_UPDATED, BOOK_EVENT_KIND_DELETED]


def an_event(version: int = 1, **changed: Any) -> BookEvent:
    fields: dict[str, Any] = {
        "id": str(uuid4()),
        "kind": KINDS[min(version, 3) - 1],
        "time": Timestamp(seconds=1_795_456_921, nanos=123_456_000),
        "actor": ACTOR,
        "book": a_book(version=version),
    }
    return BookEvent(**(fields | changed))


def a_book(**changed: Any) -> Book:
    fields: dict[str, Any] = {
        "id": 42,
        "title": "Middlemarch",
        "author": "George Eliot",
        "publication_date": Date(year=1871, month=12, day=1),
        "version": 1,
        "create_time": Timestamp(seconds=1_795_456_920),
        "update_time": Timestamp(seconds=1_795_456_921, nanos=123_456_000),
    }
    return Book(**(fields | changed))


def a_message(event: BookEvent | bytes) -> Message:
    body = event if isinstance(event, bytes) else event.SerializeToString()
    return Message(
        id=str(uuid4()) if isinstance(event, bytes) else event.id,
        type=events.CREATED,
        routing_key=events.CREATED,
        body=body,
        content_type=events.CONTENT_TYPE,
        timestamp=datetime.now(UTC),
        headers={"traceparent": f"00-{TRACE_ID}-00f067aa0ba902b7-01"},
    )


@pytest.fixture
def console() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def book_log(store: Store, console: io.StringIO) -> EventRecorder:
    return EventRecorder(store.event_log, console)


async def recorded(store: Store) -> list[dict[str, Any]]:
    """The rows of event_log, in the order in which they were recorded."""
    async with store.database.statement() as connection:
        rows = await connection.execute(text("SELECT * FROM event_log ORDER BY position"))
        return [dict(row) for row in rows.mappings()]


def outcomes() -> Callable[[str], float]:
    """How many events had an outcome since this was called."""

    def count(outcome: str) -> float:
        return REGISTRY.get_sample_value("colophon_book_log_events_total", {"outcome": outcome}) or 0

    before = {outcome: count(outcome) for outcome in ("recorded", "repeated", "passed over")}
    return lambda outcome: count(outcome) - before[outcome]


class TestAnEvent:
    async def test_it_is_recorded_with_all_it_says(self, book_log: EventRecorder, store: Store) -> None:
        event = an_event()
        await book_log([a_message(event)])
        [row] = await recorded(store)
        assert row | {"position": 0, "recorded_at": None} == {
            "position": 0,
            "event_id": UUID(event.id),
            "kind": "created",
            "actor": ACTOR,
            "occurred_at": datetime(2026, 11, 23, 18, 2, 1, 123456, tzinfo=UTC),
            "recorded_at": None,
            "book_id": 42,
            "version": 1,
            "title": "Middlemarch",
            "author": "George Eliot",
            "publication_date": datetime(1871, 12, 1, tzinfo=UTC).date(),
            "created_at": datetime(2026, 11, 23, 18, 2, 0, tzinfo=UTC),
            "updated_at": datetime(2026, 11, 23, 18, 2, 1, 123456, tzinfo=UTC),
        }

    async def test_it_is_printed_with_the_trace_of_its_writer(
        self, book_log: EventRecorder, console: io.StringIO
    ) -> None:
        event = an_event()
        await book_log([a_message(event)])
        assert console.getvalue() == (
            '2026-11-23 18:02:01.123456Z  book.created  book 42 v1  "Middlemarch" by "George Eliot"'
            f"  actor {ACTOR}  event {event.id}  trace {TRACE_ID}\n"
        )

    async def test_one_without_a_trace_is_printed_without(self, book_log: EventRecorder, console: io.StringIO) -> None:
        await book_log([replace(a_message(an_event()), headers={})])
        assert "trace" not in console.getvalue()

    async def test_nothing_is_printed_that_is_not_recorded(
        self, book_log: EventRecorder, store: Store, console: io.StringIO
    ) -> None:
        async with store.database.transaction() as connection:
            await connection.execute(text("DROP TABLE event_log"))
        with pytest.raises(TryAgainLater):
            await book_log([a_message(an_event())])
        assert console.getvalue() == ""


class TestABatch:
    async def test_it_keeps_its_order(self, book_log: EventRecorder, store: Store, console: io.StringIO) -> None:
        batch = [an_event(version) for version in range(1, 201)]
        await book_log([a_message(event) for event in batch])
        assert [row["version"] for row in await recorded(store)] == list(range(1, 201))
        assert [line.split("  ")[2] for line in console.getvalue().splitlines()] == [
            f"book 42 v{version}" for version in range(1, 201)
        ]

    async def test_what_arrives_again_is_recorded_and_printed_once(
        self, book_log: EventRecorder, store: Store, console: io.StringIO
    ) -> None:
        one, two, three = (a_message(an_event(version)) for version in (1, 2, 3))
        count = outcomes()
        await book_log([one, two])
        await book_log([one, two, three])
        await book_log([three])
        assert [row["version"] for row in await recorded(store)] == [1, 2, 3]
        assert len(console.getvalue().splitlines()) == 3
        assert (count("recorded"), count("repeated")) == (3, 3)

    async def test_what_stands_twice_in_it_is_recorded_and_printed_once(
        self, book_log: EventRecorder, store: Store, console: io.StringIO
    ) -> None:
        message = a_message(an_event())
        await book_log([message, message])
        assert len(await recorded(store)) == 1
        assert len(console.getvalue().splitlines()) == 1

    async def test_an_empty_one_is_no_trouble(self, book_log: EventRecorder) -> None:
        await book_log([])


class TestAKindFromANewerContract:
    @pytest.mark.parametrize("kind", [0, 4, 2**31 - 1])
    async def test_it_is_passed_over_and_the_others_are_recorded(
        self, book_log: EventRecorder, store: Store, console: io.StringIO, kind: int
    ) -> None:
        newer, known = an_event(kind=kind), an_event()
        count = outcomes()
        with capture_logs([_add_trace_id]) as logs:
            await book_log([a_message(newer), a_message(known)])
        assert [row["event_id"] for row in await recorded(store)] == [UUID(known.id)]
        [line] = [line for line in logs if line["event"].startswith("passed over")]
        assert (line["event_id"], line["trace_id"]) == (newer.id, TRACE_ID)
        assert count("passed over") == 1
        assert newer.id not in console.getvalue()

    async def test_it_may_come_without_a_book(self, book_log: EventRecorder, store: Store) -> None:
        await book_log([a_message(an_event(kind=4, book=None))])
        assert await recorded(store) == []


class TestWhatIsNoEvent:
    @pytest.mark.parametrize(
        "body",
        [
            pytest.param(b"", id="nothing"),
            pytest.param(b'{"id": 1}', id="json"),
            pytest.param(b"\xff" * 10, id="garbage"),
            pytest.param(an_event().SerializeToString()[:-3], id="cut"),
            pytest.param(b"\x0a\x02\xc3\x28", id="text-that-is-not-utf-8"),
            pytest.param(an_event(id=""), id="no-id"),
            pytest.param(an_event(id="1"), id="id-that-is-no-uuid"),
            pytest.param(an_event(actor=""), id="no-actor"),
            pytest.param(an_event(actor="root\n"), id="actor-that-is-no-uuid"),
            pytest.param(an_event(time=None), id="no-time"),
            pytest.param(an_event(time=Timestamp(seconds=10**15)), id="time-beyond-the-calendar"),
            pytest.param(an_event(book=None), id="no-book"),
            pytest.param(an_event(book=a_book(id=0)), id="book-without-id"),
            pytest.param(an_event(book=a_book(version=0)), id="book-without-version"),
            pytest.param(an_event(book=a_book(publication_date=None)), id="no-date"),
            pytest.param(
                an_event(book=a_book(publication_date=Date(year=1969, month=2, day=29))), id="not-a-leap-year"
            ),
            pytest.param(an_event(book=a_book(title="a\0b")), id="title-with-nul"),
            pytest.param(an_event(book=a_book(author="a\0b")), id="author-with-nul"),
        ],
    )
    async def test_it_can_never_be_delivered(
        self, book_log: EventRecorder, store: Store, console: io.StringIO, body: BookEvent | bytes
    ) -> None:
        message = a_message(body)
        with pytest.raises(Undeliverable) as error:
            await book_log([message])
        assert error.value.message is message
        assert error.value.reason
        assert await recorded(store) == []
        assert console.getvalue() == ""

    @given(st.binary())
    def test_no_bytes_whatever_raise_anything_else(self, body: bytes) -> None:
        book_log = EventRecorder(EventLog(Database.open("postgresql://nowhere/")))
        handling = book_log([a_message(body)])
        with pytest.raises(Undeliverable):
            handling.send(None)


class TestACacheThatWasNotTold:
    """The writer was killed between the commit and the cache."""

    @pytest.fixture
    async def cache(self, redis_url: str) -> AsyncIterator[RedisCache]:
        cache = RedisCache.open(redis_url, timeout=PATIENCE)
        now = datetime.now(UTC)
        await cache.put(StoredBook(42, "Emma", "Jane Austen", date(1815, 12, 23), 1, created_at=now, updated_at=now))
        yield cache
        await cache.close()

    @pytest.mark.parametrize("versions", [[2], [1, 2], [2, 1]])
    async def test_forgets_what_the_change_has_made_old(
        self, store: Store, console: io.StringIO, cache: RedisCache, versions: list[int]
    ) -> None:
        await EventRecorder(store.event_log, console, cache)([a_message(an_event(version)) for version in versions])
        assert await cache.get([42]) == {42: Miss(cache_available=True)}

    async def test_hears_of_it_when_the_event_comes_again(
        self, store: Store, book_log: EventRecorder, console: io.StringIO, cache: RedisCache
    ) -> None:
        message = a_message(an_event(2))
        await book_log([message])  # and was killed in its turn
        await EventRecorder(store.event_log, console, cache)([message])
        assert await cache.get([42]) == {42: Miss(cache_available=True)}


class TestADatabaseThatIsAway:
    async def test_the_batch_waits(self, console: io.StringIO) -> None:
        database = Database.open(f"postgresql://postgres@127.0.0.1:{free_port()}/postgres")
        with pytest.raises(TryAgainLater):
            await EventRecorder(EventLog(database), console)([a_message(an_event())])
        assert console.getvalue() == ""
        await database.close()
