"""Connections on which a statement ends when the task that waits for it is cancelled.

docs/decisions/0020 gives the reasons.
"""

import asyncio
from contextlib import suppress
from typing import Any, Final, TypeVar

import psycopg
from psycopg.abc import PQGen

T = TypeVar("T")

_CANCEL_RETRY_SECONDS: Final = 0.05


class CancellableConnection(psycopg.AsyncConnection):
    """Asks for the end of a statement until it has ended.

    PostgreSQL passes over a request that overtakes its statement, which is not rare where callers have milliseconds.
    psycopg asks once. Five seconds later it throws the connection away, and the statement goes on.
    """

    _asking: asyncio.Task[None] | None = None

    async def cancel_safe(self, *, timeout: float = 30.0) -> None:
        await super().cancel_safe(timeout=timeout)
        self._ended = asyncio.Event()
        self._asking = asyncio.create_task(self._ask_again(timeout))

    async def wait(self, gen: PQGen[T], *arguments: Any, **more: Any) -> T:
        try:
            return await super().wait(gen, *arguments, **more)
        finally:
            if self._asking is not None:
                await self._stop_asking(self._asking)

    async def _ask_again(self, timeout: float) -> None:
        while not await self._ends_soon():
            # A server that takes no request has perhaps gone: psycopg finds out at its timeout.
            with suppress(psycopg.Error):
                await super().cancel_safe(timeout=timeout)

    async def _ends_soon(self) -> bool:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), _CANCEL_RETRY_SECONDS)
        return self._ended.is_set()

    async def _stop_asking(self, asking: asyncio.Task[None]) -> None:
        """Until no request is on its way: it would meet the next statement."""
        self._ended.set()
        self._asking = None
        try:
            await asyncio.shield(asking)
        except asyncio.CancelledError:
            self.pgconn.finish()
            raise
