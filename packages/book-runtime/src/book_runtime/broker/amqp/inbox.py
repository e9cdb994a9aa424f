"""Holds deliveries until they are handled."""

import asyncio
import time
from contextlib import suppress
from typing import Final, Generic, Protocol, TypeVar

_BUSY_BATCH_MESSAGES: Final = 5
_BUSY_BATCH_SECONDS: Final = 0.01
"""The next batch begins no sooner after one of so many messages."""


class Delivery(Protocol):
    """Has a number on its channel."""

    @property
    def delivery_tag(self) -> int | None: ...


D = TypeVar("D", bound=Delivery)


class Inbox(Generic[D]):
    """The deliveries of one channel, in the order of their tags.

    aiormq runs a task for each delivery, and nothing promises the order of tasks. A gap would be worse than a disorder:
    acknowledging a batch acknowledges all lower tags, also those that have not been seen.

    Under load a batch begins 10 ms after the one before at the earliest, unless it is full, so that more messages share
    the cost of a batch. A slow machine, whose batches have 20 events otherwise, logs 8 % more a second (in the median
    of six pairs of `make bench BENCH='--only relay'`); a fast one, whose batches have 60, as many as before.
    """

    def __init__(self, at_most: int) -> None:
        """`at_most`: the prefetch count, after which the broker delivers no more until some are acknowledged."""
        self._at_most = at_most
        self._arrived: dict[int, D] = {}
        self._next_tag = 1
        self._not_before = 0.0
        self._changed = asyncio.Event()
        self._full = asyncio.Event()
        self._closed = asyncio.Event()
        self.reason: Exception | None = None
        """Why it was closed, unless that was our own decision."""

    async def put(self, delivery: D) -> None:
        """Take a delivery, and wake the consumer."""
        self._arrived[delivery.delivery_tag or 0] = delivery
        self._changed.set()
        if len(self._arrived) >= self._at_most:
            self._full.set()

    def close(self, reason: Exception | None = None) -> None:
        """There is no next batch: the channel is closed, or the consumer stops."""
        if not self._closed.is_set():
            self.reason = reason
        self._closed.set()
        self._changed.set()
        self._full.set()

    async def take(self) -> list[D]:
        """Everything that has arrived, at least one delivery; nothing when closed."""
        await _set_within(self._not_before - time.monotonic(), self._full)
        while not self._closed.is_set():
            if batch := self._take_run():
                self._not_before = time.monotonic() + _BUSY_BATCH_SECONDS if len(batch) >= _BUSY_BATCH_MESSAGES else 0
                self._full.clear()
                return batch
            self._changed.clear()
            await self._changed.wait()
        return []

    async def closes_within(self, seconds: float) -> bool:
        """Wait so long, or until it is closed, and say whether it is."""
        await _set_within(seconds, self._closed)
        return self._closed.is_set()

    def _take_run(self) -> list[D]:
        batch = []
        while delivery := self._arrived.pop(self._next_tag, None):
            batch.append(delivery)
            self._next_tag += 1
        return batch


async def _set_within(seconds: float, event: asyncio.Event) -> None:
    if seconds > 0:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()
