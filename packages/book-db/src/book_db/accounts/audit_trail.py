"""What was done, and tried, with accounts: the audit trail."""

from collections.abc import Collection
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import delete, func, insert, select

from book_db.postgres.database import Database, retry_read, retry_write
from book_db.postgres.sweeping import kept_swept
from book_db.tables import AccountEventRow

_SWEEP_ROWS: Final = 1_000


class AccountEvent(NamedTuple):
    """One thing. It holds no secret, and nothing that was typed in vain."""

    kind: str
    outcome: str
    """`done`, `wrong` or `refused`."""
    user_id: UUID | None = None
    """Whose account it is, if that is known."""
    actor_id: UUID | None = None
    """Who did it, if signed in."""
    session_id: UUID | None = None
    """That it was done in, or that it began."""
    address: str | None = None
    """Of the client."""
    trace_id: str | None = None
    detail: str | None = None


class RecordedEvent(NamedTuple):
    """One thing, as it stands in the trail."""

    id: int
    occurred_at: datetime
    kind: str
    outcome: str
    user_id: UUID | None
    actor_id: UUID | None
    session_id: UUID | None
    address: str | None
    trace_id: str | None
    detail: str | None


_COLUMNS: Final = tuple(AccountEventRow.__table__.c[name] for name in RecordedEvent._fields)


class AccountEvents:
    """The trail. Nothing in it is ever changed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @retry_write
    async def add(self, events: Collection[AccountEvent]) -> None:
        """Puts them at the end, all or none; at least one."""
        async with self._database.transaction() as connection:
            await connection.execute(insert(AccountEventRow), [event._asdict() for event in events])

    @retry_read
    async def page(
        self,
        size: int,
        before: int | None = None,
        *,
        user_id: UUID | None = None,
        kind: str | None = None,
        outcome: str | None = None,
    ) -> list[RecordedEvent]:
        """At most ``size`` of them, the newest first, those before ``before``; of one user, kind and outcome if that is
        wanted.
        """
        wanted = {AccountEventRow.user_id: user_id, AccountEventRow.kind: kind, AccountEventRow.outcome: outcome}
        query = select(*_COLUMNS).where(*(column == value for column, value in wanted.items() if value is not None))
        if before is not None:
            query = query.where(AccountEventRow.id < before)
        async with self._database.statement() as connection:
            rows = await connection.execute(query.order_by(AccountEventRow.id.desc()).limit(size))
            return [RecordedEvent(*row) for row in rows]

    async def sweep(self, days: int) -> int:
        """Deletes what is older, some at a time, and tells how many. Several may sweep at once."""
        old = select(AccountEventRow.id).where(
            AccountEventRow.occurred_at < func.now() - func.make_interval(0, 0, 0, days)
        )
        some = old.limit(_SWEEP_ROWS).with_for_update(skip_locked=True)
        swept, just_now = 0, _SWEEP_ROWS
        while just_now == _SWEEP_ROWS:
            async with self._database.transaction() as connection:
                just_now = (
                    await connection.execute(delete(AccountEventRow).where(AccountEventRow.id.in_(some)))
                ).rowcount
            swept += just_now
        return swept

    def kept_swept(self, days: int, *, pause: float = 3_600) -> AbstractAsyncContextManager[None]:
        """Sweeps for the length of the block."""
        return kept_swept(lambda: self.sweep(days), "account events", pause=pause)
