"""The outbox: events that were committed with their change and wait for the broker.

docs/decisions/0003 and 0017 give the reasons.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final, NamedTuple, cast

import psycopg
from sqlalchemy import bindparam, delete, func, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import BigInteger

from book_db.errors import ConnectionLost
from book_db.events.model import COLUMNS, BookEvent, event_of
from book_db.events.parked import PARK, ParkedEvents
from book_db.postgres.database import Database, retry_read
from book_db.postgres.failures import translate_errors
from book_db.postgres.notifier import Notifier
from book_db.tables import OutboxRow

_CHANNEL: Final = "outbox"
_RELAY_LOCK: Final = 7214508362
"""The advisory lock that the active relay holds. The number only has to be ours."""

_IDLE_TIMEOUT_SECONDS: Final = 20.0
"""Longer than a batch waits for its confirms, in which time the connection is idle, and as long as it takes to
find out that a machine has vanished."""

_TRY_LOCK = select(func.pg_try_advisory_lock(_RELAY_LOCK))
_SET_IDLE_TIMEOUT = text("SELECT set_config('idle_session_timeout', :idle_timeout, false)")
_COLUMNS = (OutboxRow.id, OutboxRow.traceparent, *(getattr(OutboxRow, column) for column in COLUMNS))
_CLAIM = select(*_COLUMNS).order_by(OutboxRow.id).limit(bindparam("at_most"))
_DELETE_PUBLISHED = delete(OutboxRow).where(OutboxRow.id == func.any(bindparam("ids", type_=ARRAY(BigInteger))))
_WAITING = select(func.count(), func.min(OutboxRow.occurred_at)).select_from(OutboxRow)


class OutboxEvent(NamedTuple):
    """An event of the outbox, its place there, and the trace of the request that made the change."""

    position: int
    traceparent: str | None
    event: BookEvent


class OutboxLease:
    """What the one active relay does with the outbox, on the one connection that holds its lock.

    When the connection is lost, so is the lease, and every method raises DatabaseUnavailable.
    """

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def claim(self, at_most: int) -> list[OutboxEvent]:
        """The oldest events, in order. They stay in the outbox until they are deleted."""
        with translate_errors(on_lost=ConnectionLost):
            rows = await self._connection.execute(_CLAIM, {"at_most": at_most})
            return [OutboxEvent(row[0], row[1], event_of(row[2:])) for row in rows]

    async def delete_published(self, events: Sequence[OutboxEvent]) -> None:
        """Deletes events from the outbox, once the broker has them."""
        with translate_errors(on_lost=ConnectionLost):
            await self._connection.execute(_DELETE_PUBLISHED, {"ids": [event.position for event in events]})

    async def park(self, event: OutboxEvent, reason: str) -> None:
        """Sets an event aside that can never be published as it is."""
        with translate_errors(on_lost=ConnectionLost):
            await self._connection.execute(PARK, {"position": event.position, "reason": reason})

    async def wait(self, seconds: float) -> None:
        """Until a writer notifies, or until so many seconds have passed. All earlier notifications count as one."""
        with translate_errors(on_lost=ConnectionLost):
            async for _ in (await self._driver()).notifies(timeout=seconds, stop_after=1):
                pass

    async def keep(self) -> None:
        """Keeps the lease from its idle timeout when there is nothing else to ask; also beside another method."""
        with translate_errors(on_lost=ConnectionLost):
            # The driver lets one statement through at a time, which SQLAlchemy leaves to its callers.
            await (await self._driver()).execute("SELECT")

    async def _driver(self) -> psycopg.AsyncConnection:
        raw = await self._connection.get_raw_connection()
        return cast(psycopg.AsyncConnection, raw.driver_connection)


class Outbox:
    """The events that wait, seen from the process that relays them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.parked: Final = ParkedEvents(database)

    @asynccontextmanager
    async def acquire_lease(
        self, *, retry_every: float = 1, idle_timeout: float = _IDLE_TIMEOUT_SECONDS
    ) -> AsyncIterator[OutboxLease]:
        """Waits until no other relay has the lease, asking every ``retry_every`` seconds, and holds it for the block.

        A lease on which nothing is asked for ``idle_timeout`` seconds ends: a relay that hangs must not keep the others
        from working. Raises DatabaseUnavailable when the connection that the lease depends on is lost.
        """
        async with self._database.statement() as connection:
            try:
                await connection.execute(_SET_IDLE_TIMEOUT, {"idle_timeout": f"{idle_timeout * 1000:.0f}"})
                # Asked again and again: to wait in PostgreSQL would be one statement, and run into its timeout.
                while not await connection.scalar(_TRY_LOCK):  # noqa: ASYNC110 - as above
                    await asyncio.sleep(retry_every)
                await connection.execute(text(f"LISTEN {_CHANNEL}"))
                yield OutboxLease(connection)
            finally:
                # The lock and the LISTEN belong to the connection: it must not go back to the pool with them.
                await connection.invalidate()

    @retry_read
    async def waiting(self) -> tuple[int, datetime | None]:
        """How many events wait, and since when the oldest does."""
        async with self._database.statement() as connection:
            row = (await connection.execute(_WAITING)).one()
            return row[0], row[1]


class OutboxNotifier(Notifier):
    """Wakes the relay after a commit."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, _CHANNEL)
