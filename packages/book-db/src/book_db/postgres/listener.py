"""LISTEN and NOTIFY: how one process learns at once what another one did."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import psycopg
import structlog
from book_runtime.outage import Outage
from psycopg import sql

from book_db.errors import DatabaseUnavailable
from book_db.postgres.connector import Connector

_log = structlog.get_logger(__name__)

_RECONNECT_SECONDS: Final = 0.5


class Listener:
    """Receives notifications on a connection of its own, and says when it has one and when not.

    ``handlers`` gives for each channel what to call with a payload. ``on_connected`` is called when every notification
    from now on will arrive, ``on_disconnected`` when some may be missed.
    """

    def __init__(
        self,
        url: str,
        handlers: Mapping[str, Callable[[str], None]],
        *,
        on_connected: Callable[[], None],
        on_disconnected: Callable[[], None],
    ) -> None:
        self._connector = Connector(url, "colophon-listener", statement_timeout=10)
        self._handlers = handlers
        self._on_connected = on_connected
        self._on_disconnected = on_disconnected
        self._outage = Outage(_log, "PostgreSQL's notifications", "what others write is noticed later")

    async def run(self) -> None:
        """Listens until it is cancelled, and connects again whenever the connection is lost."""
        while True:
            try:
                await self._listen()
            # Whatever it is, it may pass: a standby refuses LISTEN, for one.
            except (psycopg.Error, DatabaseUnavailable) as error:
                self._outage.begin(error.reason if isinstance(error, DatabaseUnavailable) else str(error).strip())
            finally:
                self._on_disconnected()
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def _listen(self) -> None:
        async with await self._connector.connect(psycopg.AsyncConnection, autocommit=True) as connection:
            for channel in self._handlers:
                await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
            self._outage.end()
            self._on_connected()
            async for notification in connection.notifies():
                self._handlers[notification.channel](notification.payload)
