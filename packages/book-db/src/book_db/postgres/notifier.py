"""Wakes other processes that wait for what was committed here."""

import asyncio
from contextlib import suppress
from typing import Final

from book_db.errors import DatabaseUnavailable
from book_db.postgres.database import Database

# Without synchronous_commit a notification does not wait for the disk: it has nothing to lose.
_NOTIFY: Final = "SELECT set_config('synchronous_commit', 'off', true), pg_notify(%(channel)s, %(payload)s)"


class Notifier:
    """Notifies the listeners of a channel, after a commit.

    PostgreSQL lets only one transaction at a time commit that notifies, so writes do not notify themselves: one small
    statement notifies for all that were committed while the one before was in progress.
    docs/decisions/0004-writes-do-not-notify.md has the measurement.
    """

    def __init__(self, database: Database, channel: str) -> None:
        self._database = database
        self._channel = channel
        self._notifying: asyncio.Task[None] | None = None
        self._next: str | None = None

    def notify(self, payload: str = "") -> None:
        """Notifies soon, and returns at once. Of several payloads that wait, only the last is sent."""
        self._next = payload
        if self._notifying is None:
            self._notifying = asyncio.create_task(self._notify())

    async def close(self) -> None:
        """Until the last notification is out."""
        if self._notifying is not None:
            await self._notifying

    async def _notify(self) -> None:
        try:
            while self._next is not None:
                payload, self._next = self._next, None
                # Nothing is lost: listeners also poll.
                with suppress(DatabaseUnavailable):
                    await self._database.fetch(_NOTIFY, {"channel": self._channel, "payload": payload})
        finally:
            self._notifying = None
