"""LISTEN and NOTIFY: how one process hears at once what another one did."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import psycopg
import structlog
from psycopg import sql

from book_db.database import connection_settings, driver_url

_log = structlog.get_logger(__name__)

_RECONNECT_AFTER: Final = 0.5
"""Seconds."""


class Listener:
    """Hears notifications on a connection of its own, and tells when it is deaf.

    ``heard`` gives for each channel what to call with a payload. ``connected`` is called with True when every
    notification from now on will be heard, with False when some may have been missed.
    """

    def __init__(
        self,
        url: str,
        heard: Mapping[str, Callable[[str], None]],
        connected: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self._url = driver_url(url).replace("+psycopg", "", 1)
        self._heard = heard
        self._connected = connected
        self._is_deaf = False

    async def run(self) -> None:
        """Listens until it is cancelled, and connects again whenever the connection is lost."""
        while True:
            try:
                await self._listen()
            except psycopg.OperationalError as error:
                self._deaf(error)
            finally:
                self._connected(False)
            await asyncio.sleep(_RECONNECT_AFTER)

    async def _listen(self) -> None:
        settings = connection_settings("colophon-listener", statement_timeout=10)
        async with await psycopg.AsyncConnection.connect(self._url, autocommit=True, **settings) as connection:
            for channel in self._heard:
                await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
            self._hearing()
            async for notification in connection.notifies():
                self._heard[notification.channel](notification.payload)

    def _hearing(self) -> None:
        if self._is_deaf:
            _log.info("hearing notifications again")
        self._is_deaf = False
        self._connected(True)

    def _deaf(self, error: psycopg.OperationalError) -> None:
        if not self._is_deaf:
            _log.warning("not hearing notifications, trying again", error=str(error).strip())
        self._is_deaf = True
