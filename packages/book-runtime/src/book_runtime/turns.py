"""Expensive work in turns: a caller with much of it delays others by one piece only."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager


class NoTurnLeft(Exception):
    """Too many wait already."""


class Turns:
    """Lets in so many at a time. Those who wait go in round robin by user, and each user's work in its order."""

    def __init__(self, at_once: int, *, waiting: int, waiting_each: int) -> None:
        """``waiting`` is how many may wait, ``waiting_each`` how many of them may be one's."""
        self._free = at_once
        self._room = waiting
        self._room_each = waiting_each
        # Whoever's turn is next comes first.
        self._queues: dict[Hashable, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def taken_by(self, whose: Hashable) -> AsyncIterator[None]:
        """A turn for the length of the block. Raises NoTurnLeft."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(whose)
        try:
            yield
        finally:
            self._hand_on()

    async def _wait(self, whose: Hashable) -> None:
        queue = self._queues.get(whose, deque())
        if not self._room or len(queue) >= self._room_each:
            raise NoTurnLeft
        turn = asyncio.get_running_loop().create_future()
        queue.append(turn)
        self._queues[whose] = queue
        self._room -= 1
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._leave(whose, turn)
            else:  # it had come just then
                self._hand_on()
            raise

    def _leave(self, whose: Hashable, turn: asyncio.Future[None]) -> None:
        queue = self._queues[whose]
        queue.remove(turn)
        self._room += 1
        if not queue:
            del self._queues[whose]

    def _hand_on(self) -> None:
        if not self._queues:
            self._free += 1
            return
        whose = next(iter(self._queues))
        queue = self._queues.pop(whose)
        turn = queue.popleft()
        self._room += 1
        if queue:
            self._queues[whose] = queue  # behind all others
        turn.set_result(None)
