"""What has been delivered and not yet handled."""

import asyncio
from typing import Generic, Protocol, TypeVar


class Delivery(Protocol):
    """Has a number on its channel."""

    @property
    def delivery_tag(self) -> int | None: ...


D = TypeVar("D", bound=Delivery)


class Inbox(Generic[D]):
    """The deliveries of one channel, in the order of their tags.

    aiormq runs a task for each delivery, and nothing promises the order of tasks. A gap would be worse than a
    disorder: acknowledging a batch acknowledges all tags below, also those that have not been seen.
    """

    def __init__(self) -> None:
        self._arrived: dict[int, D] = {}
        self._next_tag = 1
        self._changed = asyncio.Event()
        self._closed = asyncio.Event()
        self.reason: Exception | None = None
        """Why it was closed, unless that was our own decision."""

    async def put(self, delivery: D) -> None:
        """Take a delivery, and wake whoever waits."""
        self._arrived[delivery.delivery_tag or 0] = delivery
        self._changed.set()

    def close(self, reason: Exception | None = None) -> None:
        """There is no next batch: the channel is gone, or it is time to stop."""
        if not self._closed.is_set():
            self.reason = reason
        self._closed.set()
        self._changed.set()

    async def take(self) -> list[D]:
        """Everything that has arrived, at least one delivery; nothing when closed."""
        while not self._closed.is_set():
            if batch := self._take_run():
                return batch
            self._changed.clear()
            await self._changed.wait()
        return []

    async def closes_within(self, seconds: float) -> bool:
        """Wait so long, or until it is closed, and say whether it is."""
        try:
            await asyncio.wait_for(self._closed.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def _take_run(self) -> list[D]:
        batch = []
        while delivery := self._arrived.pop(self._next_tag, None):
            batch.append(delivery)
            self._next_tag += 1
        return batch
