"""Events that cannot be published as they are: set aside with the reason, until somebody decides about them."""

from collections.abc import Collection
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import TextClause, bindparam, delete, func, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Uuid

from book_db.postgres.database import Database, retry_read, retry_write
from book_db.tables import EVENT_COLUMNS, ParkedEventRow

_COLUMNS: Final = f"event_id, {EVENT_COLUMNS}"

PARK: Final[TextClause] = text(
    f"""
    WITH taken AS (DELETE FROM outbox WHERE id = :position RETURNING {_COLUMNS})
    INSERT INTO parked_events ({_COLUMNS}, reason) SELECT {_COLUMNS}, :reason FROM taken
    """  # noqa: S608 - put together from constants alone
)
# By version within a book: the events of one book come back in their order.
_SEND_AGAIN: Final = text(
    f"""
    WITH taken AS (DELETE FROM parked_events WHERE event_id = ANY(:event_ids) RETURNING {_COLUMNS})
    INSERT INTO outbox ({_COLUMNS}) SELECT {_COLUMNS} FROM taken ORDER BY occurred_at, book_id, version
    """  # noqa: S608 - as above
)
_THESE: Final = ParkedEventRow.event_id == func.any(bindparam("event_ids", type_=ARRAY(Uuid)))
_ALL: Final = select(
    ParkedEventRow.event_id,
    ParkedEventRow.kind,
    ParkedEventRow.book_id,
    ParkedEventRow.__table__.c.version,
    ParkedEventRow.parked_at,
    ParkedEventRow.reason,
).order_by(ParkedEventRow.parked_at, ParkedEventRow.event_id)


class ParkedEvent(NamedTuple):
    """An event that is set aside, and why."""

    event_id: UUID
    kind: str
    book_id: int
    version: int
    parked_at: datetime
    reason: str


class ParkedEvents:
    """What the relay has set aside."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @retry_read
    async def count(self) -> int:
        async with self._database.statement() as connection:
            return int(await connection.scalar(select(func.count()).select_from(ParkedEventRow)) or 0)

    @retry_read
    async def all(self) -> list[ParkedEvent]:
        """Those that were parked first come first."""
        async with self._database.statement() as connection:
            return [ParkedEvent(*row) for row in await connection.execute(_ALL)]

    @retry_write
    async def send_again(self, event_ids: Collection[UUID]) -> int:
        """Puts events back into the outbox, at its end, and returns how many were there."""
        async with self._database.statement() as connection:
            return (await connection.execute(_SEND_AGAIN, {"event_ids": list(event_ids)})).rowcount

    @retry_write
    async def drop(self, event_ids: Collection[UUID]) -> int:
        """Forgets events for good, and returns how many were there."""
        async with self._database.statement() as connection:
            return (
                await connection.execute(delete(ParkedEventRow).where(_THESE), {"event_ids": list(event_ids)})
            ).rowcount
