"""Invalidates what processes remember of a user whose sessions, tokens, or right to sign in have changed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from book_db.postgres.database import Database

CALLERS_CHANGED: Final = "callers"
"""The channel of notifications, whose payload is the id of the user."""

_NOTIFY: Final = text(f"SELECT pg_notify('{CALLERS_CHANGED}', CAST(:user_id AS text))")


@asynccontextmanager
async def invalidating_callers(database: Database, user_id: UUID) -> AsyncIterator[AsyncConnection]:
    """A transaction that changes what a user's tokens are good for, and notifies every process when it commits."""
    try:
        async with database.transaction() as connection:
            yield connection
            await notify_all(connection, user_id)
    finally:
        # Whether it was committed or not: to forget what still holds costs one look-up.
        notify_local(database, user_id)


async def notify_all(connection: AsyncConnection, user_id: UUID) -> None:
    """Notifies every process when the transaction commits."""
    await connection.execute(_NOTIFY, {"user_id": user_id})


def notify_local(database: Database, user_id: UUID) -> None:
    """Notifies this process now."""
    # PostgreSQL's notification comes milliseconds after the answer: until then the user would still be signed in.
    database.local_bus.publish(CALLERS_CHANGED, str(user_id))
