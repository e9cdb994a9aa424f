"""The event log: each event once, in the order of arrival."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from typing import Any
from uuid import uuid4

import pytest
from book_db.errors import PositionSwept
from book_db.events.log import _RECORD, EventFilter, EventLog, LogPage, _json_of
from book_db.events.model import COLUMNS, BookEvent
from book_db.postgres.database import Database
from msgspec.structs import astuple
from psycopg.errors import IntegrityError
from support import data_layer
from support.data_layer import Query
from support.waiting import until


def an_event(**changed: Any) -> BookEvent:
    fields: dict[str, Any] = {"book_id": 42, "kind": "created", "actor": "somebody"}
    return data_layer.an_event(**fields | changed)


@pytest.fixture
async def event_log(database: Database) -> AsyncIterator[EventLog]:
    event_log = EventLog(database)
    yield event_log
    await event_log.close()


POSITIONS = "SELECT event_id FROM event_log ORDER BY position"


class TestRecord:
    async def test_everything_an_event_says_is_kept(self, event_log: EventLog, query: Query) -> None:
        event = an_event()
        assert await event_log.record([event]) == {event.id}
        columns = ", ".join(COLUMNS)
        assert query(f"SELECT {columns} FROM event_log") == [(*event[:-1], *astuple(event.book))]  # noqa: S608 - as written above

    async def test_so_are_the_greatest_values(self, event_log: EventLog) -> None:
        event = an_event(
            book_id=2**63 - 1,
            version=2**63 - 1,
            title='null "{},\\" \u2028 \U0001f4da',
            occurred_at=datetime(1, 1, 1, tzinfo=UTC),
            publication_date=date(9999, 12, 31),
            created_at=None,
            updated_at=None,
        )
        await event_log.record([event])
        assert [each.event for each in await event_log.newer(0)] == [event]

    async def test_an_event_seen_twice_is_logged_once(self, event_log: EventLog, query: Query) -> None:
        event = an_event()
        await event_log.record([event])
        assert await event_log.record([event]) == set()
        assert query(POSITIONS) == [(event.id,)]

    async def test_twice_in_one_batch_too(self, event_log: EventLog, query: Query) -> None:
        event, other = an_event(), an_event()
        assert await event_log.record([event, other, event]) == {event.id, other.id}
        assert query(POSITIONS) == [(event.id,), (other.id,)]

    async def test_of_a_batch_that_was_seen_in_part_the_rest_is_new(self, event_log: EventLog) -> None:
        seen, new = an_event(), an_event()
        await event_log.record([seen])
        assert await event_log.record([seen, new]) == {new.id}

    async def test_the_positions_are_in_the_order_of_the_batch(self, event_log: EventLog, query: Query) -> None:
        events = [an_event(version=version) for version in range(1, 1_201)]
        await event_log.record(events)
        assert query(POSITIONS) == [(event.id,) for event in events]

    async def test_one_that_is_refused_takes_the_batch_with_it(self, event_log: EventLog, query: Query) -> None:
        with pytest.raises(IntegrityError):
            await event_log.record([an_event(), an_event(kind="burnt")])
        assert query(POSITIONS) == []

    async def test_an_empty_batch_is_nothing(self, event_log: EventLog) -> None:
        assert await event_log.record([]) == set()

    async def test_two_consumers_of_the_same_batch_log_each_event_once(self, event_log: EventLog, query: Query) -> None:
        """In opposite orders, which PostgreSQL may find to be a deadlock."""
        events = [an_event() for _ in range(200)]
        batches = [events, events[::-1]] * 3
        recorded = await asyncio.gather(*(event_log.record(batch) for batch in batches))
        assert sum(map(len, recorded)) == len(query(POSITIONS)) == 200
        assert set().union(*recorded) == {event.id for event in events}


class TestTheOrder:
    async def test_a_lower_position_is_never_seen_after_a_higher_one(
        self, event_log: EventLog, database: Database, query: Query
    ) -> None:
        # The slow recorder has drawn its number, and has not committed: the quick one waits for it.
        async with database.transaction() as slow:
            await slow.exec_driver_sql(_RECORD, {"events": _json_of([an_event()])})
            quick = asyncio.create_task(event_log.record([an_event()]))
            await until(lambda: query("SELECT 1 FROM pg_locks WHERE NOT granted"), "the quick one waits")
            assert await event_log.newest() == 0
            assert not quick.done()
        await quick
        assert [each.position for each in (await event_log.after(0, await event_log.newest())).events] == [1, 2]


class TestAfter:
    async def test_gives_everything_in_pages(self, event_log: EventLog) -> None:
        events = [an_event(version=version) for version in range(1, 31)]
        await event_log.record(events)
        seen, position, newest = [], 0, await event_log.newest()
        while position < newest:
            page = await event_log.after(position, newest, at_most=7)
            assert len(page.events) <= 7
            seen += [each.event for each in page.events]
            position = page.position
        assert seen == events

    async def test_gives_long_texts_a_few_at_a_time(self, event_log: EventLog) -> None:
        await event_log.record([an_event(title="ä" * 2_000) for _ in range(100)])
        page = await event_log.after(0, 100)
        assert 0 < len(page.events) < 100
        assert page.position == page.events[-1].position

    async def test_reaches_to_the_end_where_nothing_matches(self, event_log: EventLog) -> None:
        await event_log.record([an_event() for _ in range(5)])
        assert await event_log.after(0, 5, EventFilter(frozenset([7]))) == LogPage([], 5)
        assert await event_log.after(0, 5, EventFilter(author="Ann Radcliffe")) == LogPage([], 5)

    @pytest.mark.parametrize(
        "event_filter",
        [
            pytest.param(EventFilter(author="Jane Austen"), id="author"),
            pytest.param(EventFilter(frozenset([42, 1])), id="books"),
            pytest.param(EventFilter(frozenset([42]), "Jane Austen"), id="both"),
        ],
    )
    async def test_gives_only_matching_events(self, event_log: EventLog, event_filter: EventFilter) -> None:
        other = an_event(book_id=7, author="Ann Radcliffe")
        meant = [an_event(version=version) for version in range(1, 21)]
        await event_log.record([event for each in meant for event in (each, other._replace(id=uuid4()))])
        seen, position = [], 0
        while position < 40:
            page = await event_log.after(position, 40, event_filter, at_most=6)
            seen += [each.event for each in page.events]
            position = page.position
        assert seen == meant


AGED = "UPDATE event_log SET recorded_at = recorded_at - interval '8 days' WHERE position <= {}"


class TestSweep:
    async def test_deletes_what_is_older_and_nothing_else(self, event_log: EventLog, query: Query) -> None:
        events = [an_event(version=version) for version in range(1, 6)]
        await event_log.record(events)
        query(AGED.format(3))
        assert await event_log.sweep(7) == 3
        assert query(POSITIONS) == [(event.id,) for event in events[3:]]
        assert await event_log.sweep(7) == 0

    async def test_all_of_it_however_much_there_is(self, event_log: EventLog, query: Query) -> None:
        await event_log.record([an_event(version=version) for version in range(1, 2_502)])
        query(AGED.format(2_500))
        assert await event_log.sweep(7) == 2_500
        assert query("SELECT position FROM event_log_sweeps") == [(2_500,)]

    async def test_several_sweeps_at_once_do_not_conflict(self, event_log: EventLog, query: Query) -> None:
        await event_log.record([an_event(version=version) for version in range(1, 1_202)])
        query(AGED.format(1_200))
        assert sum(await asyncio.gather(*(event_log.sweep(7) for _ in range(4)))) == 1_200
        assert query("SELECT position FROM event_log") == [(1_201,)]

    async def test_a_reader_that_would_miss_events_is_told_the_swept_position(
        self, event_log: EventLog, query: Query
    ) -> None:
        await event_log.record([an_event(version=version) for version in range(1, 6)])
        query(AGED.format(3))
        await event_log.sweep(7)
        with pytest.raises(PositionSwept, match="up to position 3 are no longer kept") as refused:
            await event_log.after(2, 5)
        assert refused.value.position == 3
        assert [each.position for each in (await event_log.after(3, 5)).events] == [4, 5]

    async def test_one_that_was_swept_to_the_last_goes_on_where_it_was(self, event_log: EventLog, query: Query) -> None:
        await event_log.record([an_event()])
        query(AGED.format(1))
        await event_log.sweep(7)
        await event_log.record([an_event(version=2)])
        with pytest.raises(PositionSwept):
            await event_log.after(0, 2, EventFilter(frozenset((42,))))
        assert [each.position for each in (await event_log.after(1, 2)).events] == [2]

    async def test_a_log_that_nobody_swept_is_whole_from_0_though_its_first_numbers_were_lost(
        self, event_log: EventLog
    ) -> None:
        with pytest.raises(IntegrityError):
            await event_log.record([an_event(kind="burnt")])
        await event_log.record([an_event()])
        page = await event_log.after(0, await event_log.newest())
        assert [each.position for each in page.events] != [1]
        assert len(page.events) == 1

    async def test_what_is_swept_while_a_page_is_read_is_no_gap(
        self, event_log: EventLog, database: Database, query: Query, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The page is read when what follows the position has gone, and before anybody has asked up to where."""
        await event_log.record([an_event(version=version) for version in range(1, 6)])
        query(AGED.format(3))
        read = event_log._read

        async def swept_meanwhile(**values: Any) -> Any:
            await EventLog(database).sweep(7)
            return await read(**values)

        monkeypatch.setattr(event_log, "_read", swept_meanwhile)
        with pytest.raises(PositionSwept):
            await event_log.after(0, 5)
