"""The event log: each event once, in the order of arrival."""

import asyncio
from datetime import UTC, date, datetime
from uuid import UUID, uuid4

import pytest
from book_db.database import Database
from book_db.event_log import Entry, EventLog
from sqlalchemy.exc import IntegrityError
from support.data_layer import Query


def an_entry(event_id: UUID | None = None, kind: str = "created", version: int = 1, title: str = "Emma") -> Entry:
    return Entry(
        event_id=event_id or uuid4(),
        kind=kind,
        actor="somebody",
        occurred_at=datetime(2026, 11, 23, 12, 0, 0, 123456, UTC),
        book_id=42,
        version=version,
        title=title,
        author="Jane Austen",
        publication_date=date(1815, 12, 23),
    )


@pytest.fixture
def event_log(database: Database) -> EventLog:
    return EventLog(database)


POSITIONS = "SELECT event_id FROM event_log ORDER BY position"


class TestRecord:
    async def test_everything_an_event_says_is_kept(self, event_log: EventLog, query: Query) -> None:
        entry = an_entry()
        assert await event_log.record([entry]) == {entry.event_id}
        columns = "event_id, kind, actor, occurred_at, book_id, version, title, author, publication_date"
        assert query(f"SELECT {columns} FROM event_log") == [tuple(entry)]  # noqa: S608 - as written above

    async def test_an_event_seen_twice_is_logged_once(self, event_log: EventLog, query: Query) -> None:
        entry = an_entry()
        await event_log.record([entry])
        assert await event_log.record([entry]) == set()
        assert query(POSITIONS) == [(entry.event_id,)]

    async def test_twice_in_one_batch_too(self, event_log: EventLog, query: Query) -> None:
        entry, other = an_entry(), an_entry()
        assert await event_log.record([entry, other, entry]) == {entry.event_id, other.event_id}
        assert query(POSITIONS) == [(entry.event_id,), (other.event_id,)]

    async def test_of_a_batch_that_was_seen_in_part_the_rest_is_new(self, event_log: EventLog) -> None:
        seen, new = an_entry(), an_entry()
        await event_log.record([seen])
        assert await event_log.record([seen, new]) == {new.event_id}

    async def test_the_positions_are_in_the_order_of_the_batch(self, event_log: EventLog, query: Query) -> None:
        entries = [an_entry(version=version) for version in range(1, 1_201)]
        await event_log.record(entries)
        assert query(POSITIONS) == [(entry.event_id,) for entry in entries]

    async def test_one_that_is_refused_takes_the_batch_with_it(self, event_log: EventLog, query: Query) -> None:
        with pytest.raises(IntegrityError):
            await event_log.record([an_entry(), an_entry(kind="burnt")])
        assert query(POSITIONS) == []

    async def test_an_empty_batch_is_nothing(self, event_log: EventLog) -> None:
        assert await event_log.record([]) == set()

    async def test_two_consumers_of_the_same_batch_log_each_event_once(self, event_log: EventLog, query: Query) -> None:
        """In opposite orders, which PostgreSQL may find to be a deadlock."""
        entries = [an_entry() for _ in range(200)]
        batches = [entries, entries[::-1]] * 3
        recorded = await asyncio.gather(*(event_log.record(batch) for batch in batches))
        assert sum(map(len, recorded)) == len(query(POSITIONS)) == 200
        assert set().union(*recorded) == {entry.event_id for entry in entries}
