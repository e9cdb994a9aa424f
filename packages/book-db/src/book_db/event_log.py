"""The log of the events that arrived, each exactly once."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert

from book_db.database import Database
from book_db.tables import EventLogRow


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


_RECORD = insert(EventLogRow).on_conflict_do_nothing(index_elements=["event_id"]).returning(EventLogRow.event_id)


class EventLog:
    """Where each event is recorded once, however often it is delivered."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, entries: Sequence[Entry]) -> set[UUID]:
        """Records the events in their order, all or none; returns the ids of those that were not there before.

        Raises DatabaseUnavailable; recording again what may have been recorded is safe.
        """
        async with self._database.transaction() as connection:
            recorded = await connection.execute(_RECORD, [entry._asdict() for entry in entries])
            return set(recorded.scalars())
