"""What one part of a process tells the others at once, without the way through PostgreSQL and back."""

from collections import defaultdict
from collections.abc import Callable


class Notices:
    """Calls whoever listens on a channel, in the order they began to listen."""

    def __init__(self) -> None:
        self._heard: defaultdict[str, list[Callable[[str], None]]] = defaultdict(list)

    def listen(self, channel: str, heard: Callable[[str], None]) -> None:
        self._heard[channel].append(heard)

    def leave(self, channel: str, heard: Callable[[str], None]) -> None:
        """Takes back what ``listen`` was told."""
        self._heard[channel].remove(heard)

    def give(self, channel: str, payload: str) -> None:
        for heard in self._heard[channel]:
            heard(payload)
