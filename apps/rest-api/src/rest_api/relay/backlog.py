"""How much waits in the outbox, for those who watch."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from book_db.errors import DatabaseUnavailable
from book_db.outbox import Outbox
from prometheus_client import Gauge

_WAITING: Final = Gauge("colophon_outbox_waiting", "Events that the broker has not confirmed yet")
_PARKED: Final = Gauge("colophon_outbox_parked", "Events set aside, since they cannot be published as they are")
_AGE: Final = Gauge("colophon_outbox_oldest_age_seconds", "How long the oldest of them has waited")

_LOOK_EVERY: Final = 5.0


async def watch(outbox: Outbox) -> None:
    """Looks every few seconds, until it is cancelled."""
    while True:
        # The relay itself says that the database is away; what was seen last stays.
        with suppress(DatabaseUnavailable):
            waiting, since = await outbox.waiting()
            _WAITING.set(waiting)
            _AGE.set((datetime.now(UTC) - since).total_seconds() if since else 0)
            _PARKED.set(await outbox.parked.count())
        await asyncio.sleep(_LOOK_EVERY)
