"""What one part of a process tells the others at once, without the way through PostgreSQL and back."""

from collections import defaultdict
from collections.abc import Callable


class LocalBus:
    """Calls the subscribers of a channel, in the order in which they subscribed."""

    def __init__(self) -> None:
        self._handlers: defaultdict[str, list[Callable[[str], None]]] = defaultdict(list)

    def subscribe(self, channel: str, handler: Callable[[str], None]) -> None:
        self._handlers[channel].append(handler)

    def unsubscribe(self, channel: str, handler: Callable[[str], None]) -> None:
        """Takes back what ``subscribe`` was told."""
        self._handlers[channel].remove(handler)

    def publish(self, channel: str, payload: str) -> None:
        for handler in self._handlers[channel]:
            handler(payload)
