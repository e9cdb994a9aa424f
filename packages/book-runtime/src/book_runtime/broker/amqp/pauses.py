"""How long to wait before the next attempt."""

import random
from typing import Final

_GROWTH: Final = 2.0


class Pauses:
    """Pauses that double up to a longest one, each half left to chance so that processes do not knock in step."""

    def __init__(self, first: float = 0.1, longest: float = 5.0) -> None:
        """Both in seconds."""
        self._first = first
        self._longest = longest
        self._next = first

    def next(self) -> float:
        """The seconds to wait now."""
        pause, self._next = self._next, min(self._next * _GROWTH, self._longest)
        return pause * random.uniform(0.5, 1)  # noqa: S311 - nobody gains from guessing a pause

    def reset(self) -> None:
        """Begin again with the first: it went well in between."""
        self._next = self._first
