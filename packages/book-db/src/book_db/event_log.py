"""The log of the events that arrived, each exactly once."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from book_db.database import Database, repeat_write


class Entry(NamedTuple):
    """An event, as it goes into the log."""

    event_id: UUID
    kind: str
    actor: str
    occurred_at: datetime
    book_id: int
    version: int
    title: str
    author: str
    publication_date: date


# One statement for any number of entries: one round trip, and PostgreSQL plans it once.
_RECORD: Final = text(
    """
    INSERT INTO event_log (event_id, kind, actor, occurred_at, book_id, version, title, author, publication_date)
    SELECT event_id, kind, actor, occurred_at, book_id, version, title, author, publication_date
    FROM unnest(
        CAST(:event_id AS uuid[]), CAST(:kind AS text[]), CAST(:actor AS text[]), CAST(:occurred_at AS timestamptz[]),
        CAST(:book_id AS bigint[]), CAST(:version AS bigint[]), CAST(:title AS text[]), CAST(:author AS text[]),
        CAST(:publication_date AS date[])
    ) WITH ORDINALITY AS entry (
        event_id, kind, actor, occurred_at, book_id, version, title, author, publication_date, place
    )
    ORDER BY place
    ON CONFLICT (event_id) DO NOTHING
    RETURNING event_id
    """
)


class EventLog:
    """Where each event is recorded once, however often it is delivered."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @repeat_write
    async def record(self, entries: Sequence[Entry]) -> set[UUID]:
        """Records the events in their order, all or none; returns the ids of those that were not there before.

        Raises DatabaseUnavailable; recording again what may have been recorded is safe.
        """
        columns = {name: [getattr(entry, name) for entry in entries] for name in Entry._fields}
        async with self._database.statement() as connection:
            recorded = await connection.execute(_RECORD, columns)
            return set(recorded.scalars())
