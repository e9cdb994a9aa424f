"""A bell: wakes those in other processes who wait for what was committed here."""

import asyncio
from contextlib import suppress
from typing import Final

from book_db.errors import DatabaseUnavailable
from book_db.postgres.database import Database

# Without synchronous_commit the bell does not wait for the disk: it has nothing to lose.
_RING: Final = "SELECT set_config('synchronous_commit', 'off', true), pg_notify(%(channel)s, %(payload)s)"


class Bell:
    """Wakes whoever listens on a channel, after a commit.

    PostgreSQL lets only one transaction at a time commit that notifies, so writes do not notify themselves:
    one small statement rings for all that were committed while the one before was on its way.
    docs/decisions/0004-writes-do-not-notify.md has the measurement.
    """

    def __init__(self, database: Database, channel: str) -> None:
        self._database = database
        self._channel = channel
        self._ringing: asyncio.Task[None] | None = None
        self._next: str | None = None

    def ring(self, payload: str = "") -> None:
        """Wakes them soon; returns at once. Of several payloads that wait for their turn the last one is told."""
        self._next = payload
        if self._ringing is None:
            self._ringing = asyncio.create_task(self._ring())

    async def close(self) -> None:
        """Until the last ring is out."""
        if self._ringing is not None:
            await self._ringing

    async def _ring(self) -> None:
        try:
            while self._next is not None:
                payload, self._next = self._next, None
                # Nothing is lost without the bell: those who wait for it look by themselves as well.
                with suppress(DatabaseUnavailable):
                    await self._database.fetch(_RING, {"channel": self._channel, "payload": payload})
        finally:
            self._ringing = None
