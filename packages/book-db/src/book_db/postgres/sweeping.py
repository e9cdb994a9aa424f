"""What has had its time is deleted, some of it at a time, by all processes that serve."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog
from book_runtime.outage import Outage
from book_runtime.tasks import background

from book_db.errors import DatabaseUnavailable

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def kept_swept(sweep: Callable[[], Awaitable[int]], what: str, *, pause: float = 600) -> AsyncIterator[None]:
    """Sweeps every ``pause`` seconds, more or less, for the length of the block; ``sweep`` tells how many are gone."""
    async with background(_sweep_repeatedly(sweep, what, pause)):
        yield


async def _sweep_repeatedly(sweep: Callable[[], Awaitable[int]], what: str, pause: float) -> None:
    outage = Outage(_log, f"the sweeping of {what}", "a later sweep makes up for it")
    while True:
        await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - spreads load, guards nothing
        try:
            swept = await sweep()
        except DatabaseUnavailable as error:
            outage.begin(error)
        else:
            outage.end()
            _log.debug(f"{what} swept", count=swept)
