"""The broker's alarms: while its disk or its memory is nearly full, RabbitMQ takes no messages.

It says so (`connection.blocked`) to a connection that publishes, and reads nothing more from it until the alarm is
over: no message, no acknowledgement, no goodbye. Confirms that are due still come, and so do deliveries.
https://www.rabbitmq.com/docs/connection-blocked
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aio_pika.abc import AbstractConnection
from aiormq.abc import AbstractConnection as UnderlyingConnection
from pamqp.commands import Connection as Method

from book_runtime.outage import Outage

_BLOCKED: Final = "_Connection__handle_connection_blocked"
_UNBLOCKED: Final = "_Connection__handle_connection_unblocked"
"""What aiormq 7.2.4 calls with these frames. It tells nobody of them: it logs each, and sets an event that is looked at
when a connection is opened and not afterwards.
"""


class Alarm:
    """Whether the broker takes messages from the connection that there is, and what waits until it does."""

    def __init__(self, outage: Outage) -> None:
        self._outage = outage
        self._connection: UnderlyingConnection | None = None
        self._over = asyncio.Event()
        self._over.set()
        self._limits: dict[asyncio.Timeout, float] = {}

    @property
    def is_on(self) -> bool:
        return not self._over.is_set()

    def watch(self, connection: AbstractConnection) -> None:
        """From now on it is about this connection. What was said on the one before does not hold for it.

        Raises ConnectionError when it is closed by now.
        """
        if connection.transport is None:
            raise ConnectionError("the connection was lost again at once")
        underlying = self._connection = connection.transport.connection
        self._let_go()

        async def block(frame: Method.Blocked) -> None:
            if underlying is self._connection:
                self._begin(frame.reason)

        async def unblock(_: Method.Unblocked) -> None:
            if underlying is self._connection:
                self._let_go()
                self._outage.end()

        for name, act in ((_BLOCKED, block), (_UNBLOCKED, unblock)):
            getattr(underlying, name)  # fails here, and not silently, when aiormq has another name for it
            setattr(underlying, name, act)

    def leave(self) -> None:
        """The connection is gone. Whether the alarm is over, the next one will show."""
        self._connection = None
        self._let_go()

    def take_note_of_a_confirm(self) -> None:
        """A message was taken: by a connection that was not told of an alarm, this is the end of one before it."""
        if self._outage.is_on and not self.is_on:
            self._outage.end()

    async def over(self) -> None:
        """Return when messages are taken. Waits as long as it takes."""
        await self._over.wait()

    @asynccontextmanager
    async def timeout(self, seconds: float) -> AsyncIterator[None]:
        """As `asyncio.timeout`, but the time of an alarm does not count: behind it, all the seconds are left."""
        async with asyncio.timeout(None if self.is_on else seconds) as limit:
            self._limits[limit] = seconds
            try:
                yield
            finally:
                del self._limits[limit]

    def _begin(self, reason: str) -> None:
        self._over.clear()
        self._reschedule()
        self._outage.begin(reason)

    def _let_go(self) -> None:
        self._over.set()
        self._reschedule()

    def _reschedule(self) -> None:
        now = asyncio.get_running_loop().time()
        for limit, seconds in self._limits.items():
            if not limit.expired():
                limit.reschedule(None if self.is_on else now + seconds)
