"""LISTEN and NOTIFY: how one process hears at once what another one did."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import psycopg
import structlog
from psycopg import sql

from book_db.connecting import Connector
from book_db.errors import DatabaseUnavailable

_log = structlog.get_logger(__name__)

_RECONNECT_AFTER: Final = 0.5
"""Seconds."""


class Listener:
    """Hears notifications on a connection of its own, and tells when it is deaf.

    ``heard`` gives for each channel what to call with a payload. ``hearing`` is called when every notification from
    now on will be heard, ``deaf`` when some may be missed.
    """

    def __init__(
        self,
        url: str,
        heard: Mapping[str, Callable[[str], None]],
        *,
        hearing: Callable[[], None],
        deaf: Callable[[], None],
    ) -> None:
        self._connector = Connector(url, "colophon-listener", statement_timeout=10)
        self._heard = heard
        self._hearing = hearing
        self._deaf = deaf
        self._is_deaf = False

    async def run(self) -> None:
        """Listens until it is cancelled, and connects again whenever the connection is lost."""
        while True:
            try:
                await self._listen()
            # Whatever it is, it may pass: a standby refuses LISTEN, for one.
            except (psycopg.Error, DatabaseUnavailable) as error:
                self._say_that_it_is_deaf(error)
            finally:
                self._deaf()
            await asyncio.sleep(_RECONNECT_AFTER)

    async def _listen(self) -> None:
        async with await self._connector.connect(psycopg.AsyncConnection, autocommit=True) as connection:
            for channel in self._heard:
                await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
            self._say_that_it_hears()
            self._hearing()
            async for notification in connection.notifies():
                self._heard[notification.channel](notification.payload)

    def _say_that_it_hears(self) -> None:
        if self._is_deaf:
            _log.info("hearing notifications again")
        self._is_deaf = False

    def _say_that_it_is_deaf(self, error: psycopg.Error | DatabaseUnavailable) -> None:
        if not self._is_deaf:
            said = error.reason if isinstance(error, DatabaseUnavailable) else str(error).strip()
            _log.warning("not hearing notifications, trying again", error=said)
        self._is_deaf = True
