"""How much waits in the outbox, for those who watch."""

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from book_db.errors import DatabaseUnavailable
from book_db.events.outbox import Outbox
from prometheus_client import Gauge

_WAITING: Final = Gauge("colophon_outbox_waiting", "Events that the broker has not confirmed yet")
_PARKED: Final = Gauge("colophon_outbox_parked", "Events set aside, since they cannot be published as they are")
_AGE: Final = Gauge("colophon_outbox_oldest_age_seconds", "How long the oldest of them has waited")

_POLL_SECONDS: Final = 5.0

_MAX_SHARE_OF_TIME: Final = 0.05
"""So much of the time is spent looking: to count a million events takes PostgreSQL 0.1 seconds and more."""


async def watch(outbox: Outbox) -> None:
    """Looks every few seconds, until it is cancelled."""
    while True:
        pause = _POLL_SECONDS
        # The relay itself says that the database is away; what was seen last stays.
        with suppress(DatabaseUnavailable):
            pause = max(pause, await _look(outbox) / _MAX_SHARE_OF_TIME)
        await asyncio.sleep(pause)


async def _look(outbox: Outbox) -> float:
    """The seconds that it took."""
    began = time.monotonic()
    waiting, since = await outbox.waiting()
    _WAITING.set(waiting)
    _AGE.set((datetime.now(UTC) - since).total_seconds() if since else 0)
    _PARKED.set(await outbox.parked.count())
    return time.monotonic() - began
