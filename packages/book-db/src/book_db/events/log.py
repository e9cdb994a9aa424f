"""The log of the events that arrived, each exactly once, in an order that everybody sees alike.

docs/decisions/0019 and 0036 give the reasons.
"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec
from msgspec.structs import fields
from sqlalchemy import Row, TextClause, func, select, text

from book_db.book import Book
from book_db.errors import PositionSwept
from book_db.events.model import COLUMNS, BookEvent, event_of, row_of
from book_db.postgres.database import Database, compile_sql, retry_read, retry_write, with_types
from book_db.postgres.notifier import Notifier
from book_db.postgres.sweeping import kept_swept
from book_db.tables import EventLogRow, EventLogSweepRow

EVENTS_RECORDED: Final = "event_log"
"""The channel of notifications, whose payload is the newest position."""

_RECORDER_LOCK: Final = 7214508363
"""The advisory lock of recorders. The number only has to be ours."""

_MAX_POSITION: Final = 2**63 - 1

_WINDOW_POSITIONS: Final = 10_000
"""What one statement filters: 2 ms of work."""

_SELECTIVE_MAX_BOOKS: Final = 20
"""Up to so many are looked up book by book. With more it is less work to filter everything."""

_SELECTIVE_WINDOW_POSITIONS: Final = 100_000
"""The same for few books: bounds the work for books that change all the time, whatever the plan."""

_PAGE_BYTES: Final = 256 * 1024
"""What the texts of one page may come to, so that a thousand readers of long titles fit into memory."""


class LoggedEvent(NamedTuple):
    """An event of the log and its place there."""

    position: int
    event: BookEvent


class LogPage(NamedTuple):
    """The events of a part of the log that match a filter, and how far the part reaches."""

    events: list[LoggedEvent]
    position: int
    """Nothing up to here is missing: go on after it."""


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Selects the events that meet every condition given here. An empty field is no condition."""

    book_ids: frozenset[int] = frozenset()
    author: str = ""
    """As it is after the change."""

    @property
    def is_selective(self) -> bool:
        return 0 < len(self.book_ids) <= _SELECTIVE_MAX_BOOKS

    def matches(self, event: BookEvent) -> bool:
        book = event.book
        return (not self.author or book.author == self.author) and (not self.book_ids or book.id in self.book_ids)


EVERYTHING: Final = EventFilter()

_COLUMNS: Final = ", ".join(COLUMNS)

_BYTES: Final = " + ".join(f"octet_length({field.name})" for field in fields(Book) if field.type is str)
"""Of the texts of a book."""

_json: Final = msgspec.json.Encoder()

# One statement for any number of events: one round trip, and PostgreSQL plans it once. They go as JSON, since psycopg
# takes 23 us to write an event into eleven arrays, and msgspec takes 1.
# A number is drawn when the lock is held, and the lock is given back when the row can be seen: whoever sees a position
# sees every lower one that there will ever be. No row comes out of the join before `turn` has one.
_RECORD: Final = compile_sql(
    text(
        f"""
    WITH turn AS MATERIALIZED (SELECT pg_advisory_xact_lock({_RECORDER_LOCK}))
    INSERT INTO event_log ({_COLUMNS})
    SELECT {_COLUMNS}
    FROM turn CROSS JOIN ROWS FROM (
        json_to_recordset(CAST(:events AS json)) AS ({with_types(EventLogRow, COLUMNS)})
    ) WITH ORDINALITY AS event ({_COLUMNS}, place)
    ORDER BY place
    ON CONFLICT (event_id) DO NOTHING
    RETURNING event_id, position
    """  # noqa: S608 - of constants
    )
)

_NEWEST: Final = select(func.coalesce(func.max(EventLogRow.position), 0))

_SWEPT_UNTIL: Final = select(func.coalesce(func.max(EventLogSweepRow.position), 0))

_SWEEP_ROWS: Final = 1_000

# The oldest are the first. What is swept and up to where is known by everybody at the same moment.
_SWEEP: Final = text(
    f"""
    WITH oldest AS (
        SELECT position, recorded_at FROM event_log ORDER BY position LIMIT {_SWEEP_ROWS}
    ), swept AS (
        DELETE FROM event_log WHERE position IN (
            SELECT position FROM oldest WHERE recorded_at < now() - make_interval(days => :days)
        )
        RETURNING position
    ), told AS (
        INSERT INTO event_log_sweeps SELECT max(position) FROM swept HAVING count(*) > 0
    ), told_before AS (
        DELETE FROM event_log_sweeps WHERE position < (SELECT max(position) FROM swept)
    )
    SELECT count(*) FROM swept
    """  # noqa: S608 - of constants
)


def _page(found: str) -> TextClause:
    """The rows that are found, in order, up to the one that fills the page."""
    return text(
        f"""
        SELECT found, position, {_COLUMNS} FROM (
            SELECT *, count(*) OVER () AS found, sum({_BYTES}) OVER (
                ORDER BY position ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ) AS bytes_before
            FROM ({found}) AS found
        ) AS measured
        WHERE coalesce(bytes_before, 0) < {_PAGE_BYTES}
        ORDER BY position
        """  # noqa: S608 - of constants
    )


_AFTER: Final = _page(
    """
    SELECT * FROM event_log WHERE position > :after AND position <= :until ORDER BY position LIMIT :at_most
    """
)

# One plan for all filters, along the primary key: the bounds see to it that few rows are looked at.
_AMONG: Final = _page(
    """
    SELECT * FROM event_log WHERE position > :after AND position <= :until
    AND (:author = '' OR author = :author)
    AND (CAST(:book_ids AS bigint[]) = '{}' OR book_id = ANY (CAST(:book_ids AS bigint[])))
    ORDER BY position LIMIT :at_most
    """
)

# Book by book, where the index has the positions in their order: however many a book has, few are looked at.
_OF_FEW_BOOKS: Final = _page(
    """
    SELECT event_log.* FROM event_log WHERE position = ANY (ARRAY(
        SELECT one.position FROM unnest(CAST(:book_ids AS bigint[])) AS meant (book_id) CROSS JOIN LATERAL (
            SELECT position FROM event_log
            WHERE book_id = meant.book_id AND position > :after AND position <= :until
            ORDER BY position LIMIT :at_most
        ) AS one
        ORDER BY one.position LIMIT :at_most
    ))
    """
)


class EventLog:
    """Where each event is recorded once, however often it is delivered, and read in the order of positions.

    Positions rise, with gaps, and are seen in their order: what is read after a position is never added to later.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._notifier = Notifier(database, EVENTS_RECORDED)

    async def close(self) -> None:
        """Returns when the last notification is out."""
        await self._notifier.close()

    async def record(self, events: Sequence[BookEvent]) -> set[UUID]:
        """Records the events in their order, all or none; returns the ids of those that were not there before.

        Raises DatabaseUnavailable; recording again what may have been recorded is safe.
        """
        positions = await self._record(events)
        if positions:
            newest = str(max(positions.values()))
            # Subscribers in this process need not wait for PostgreSQL's notification.
            self._database.local_bus.publish(EVENTS_RECORDED, newest)
            self._notifier.notify(newest)
        return set(positions)

    @retry_read
    async def newest(self) -> int:
        """The position of the newest event, 0 when there is none. Raises DatabaseUnavailable."""
        async with self._database.statement() as connection:
            return int(await connection.scalar(_NEWEST) or 0)

    @retry_read
    async def newer(self, position: int, *, at_most: int = 500) -> list[LoggedEvent]:
        """The first events after a position, ``at_most`` or, where there are no more or their texts are long, fewer.

        Raises DatabaseUnavailable.
        """
        return [_logged_event(row) for row in await self._read(after=position, until=_MAX_POSITION, at_most=at_most)]

    @retry_read
    async def after(
        self, position: int, until: int, event_filter: EventFilter = EVERYTHING, *, at_most: int = 500
    ) -> LogPage:
        """What follows a position, up to another one that is not before it and that was seen already.

        Gives ``at_most`` events or fewer, and not more than about 256 KiB of text: go on after the page's position
        until that is ``until``. Raises DatabaseUnavailable, and PositionSwept when some of it is no longer kept.
        """
        if event_filter != EVERYTHING:
            until = min(
                until, position + (_SELECTIVE_WINDOW_POSITIONS if event_filter.is_selective else _WINDOW_POSITIONS)
            )
        rows = await self._read(after=position, until=until, event_filter=event_filter, at_most=at_most)
        # Not before the rows were read: what is swept from now on was read.
        swept_until = await self._swept_until()
        if position < swept_until:
            raise PositionSwept(swept_until)
        events = [_logged_event(row) for row in rows]
        is_all = not rows or len(rows) == rows[0][0] < at_most
        # The statement for few books does not look at the author.
        matching = [each for each in events if event_filter.matches(each.event)]
        return LogPage(matching, until if is_all else events[-1].position)

    async def sweep(self, days: int) -> int:
        """Deletes what was recorded longer ago, some at a time, and tells how many. Several may sweep at once."""
        swept, just_now = 0, _SWEEP_ROWS
        while just_now == _SWEEP_ROWS:
            async with self._database.transaction() as connection:
                just_now = int(await connection.scalar(_SWEEP, {"days": days}) or 0)
            swept += just_now
        return swept

    def kept_swept(self, days: int, *, pause: float = 3_600) -> AbstractAsyncContextManager[None]:
        """Sweeps for the length of the block."""
        return kept_swept(lambda: self.sweep(days), "events of the log", pause=pause)

    async def _swept_until(self) -> int:
        async with self._database.statement() as connection:
            return int(await connection.scalar(_SWEPT_UNTIL) or 0)

    @retry_write
    async def _record(self, events: Sequence[BookEvent]) -> dict[UUID, int]:
        return dict(await self._database.fetch(_RECORD, {"events": _json_of(events)}))

    async def _read(
        self, *, after: int, until: int, event_filter: EventFilter = EVERYTHING, at_most: int
    ) -> Sequence[Row[*tuple[Any, ...]]]:
        values: dict[str, object] = {"after": after, "until": until, "at_most": at_most}
        if event_filter == EVERYTHING:
            statement = _AFTER
        else:
            statement = _OF_FEW_BOOKS if event_filter.is_selective else _AMONG
            values |= {"book_ids": list(event_filter.book_ids), "author": event_filter.author}
        async with self._database.statement() as connection:
            return (await connection.execute(statement, values)).all()


def _json_of(events: Sequence[BookEvent]) -> str:
    return _json.encode([row_of(event) for event in events]).decode()


def _logged_event(row: Row[*tuple[Any, ...]]) -> LoggedEvent:
    return LoggedEvent(row[1], event_of(row[2:]))
