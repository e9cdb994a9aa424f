"""How every process hears that a user's sessions, tokens, or right to sign in have changed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from book_db.postgres.database import Database

CALLERS_CHANGED: Final = "callers"
"""The channel on which the id of the user is told."""

_TELL: Final = text(f"SELECT pg_notify('{CALLERS_CHANGED}', CAST(:user_id AS text))")


@asynccontextmanager
async def changing_callers(database: Database, user_id: UUID) -> AsyncIterator[AsyncConnection]:
    """A transaction that changes what a user's tokens are good for, and tells of it when it commits."""
    try:
        async with database.transaction() as connection:
            yield connection
            await tell(connection, user_id)
    finally:
        # Whether it was committed or not: to forget what still holds costs one look-up.
        tell_this_process(database, user_id)


async def tell(connection: AsyncConnection, user_id: UUID) -> None:
    """Tells every process, when the transaction commits."""
    await connection.execute(_TELL, {"user_id": user_id})


def tell_this_process(database: Database, user_id: UUID) -> None:
    """Tells this process now."""
    # The notification comes back from PostgreSQL milliseconds after the answer: until then the user were in.
    database.notices.give(CALLERS_CHANGED, str(user_id))
