"""The relay's heartbeat: shows to those outside that it goes round."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from book_runtime.tasks import background
from prometheus_client import Gauge

from rest_api.probe import HEARTBEAT

_HEARTBEAT: Final = Gauge(HEARTBEAT, "When the relay went round: it relayed, waited for the broker or stood by")


def beat() -> None:
    """The relay has gone round once more."""
    _HEARTBEAT.set_to_current_time()


@asynccontextmanager
async def keep_beating(every: float = 1) -> AsyncIterator[None]:
    """Beats for the length of the block, in which it is right to wait for as long as it takes."""
    beat()
    async with background(_beat_on(every)):
        yield


async def _beat_on(every: float) -> None:
    while True:
        await asyncio.sleep(every)
        beat()
