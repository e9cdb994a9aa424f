"""Ctrl-C between two batches and not in the middle of one, so that it stays known what has been loaded."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(Exception):
    """The user asked to stop, and nothing was under way."""


class Interruption:
    """Turns Ctrl-C into Interrupted, at once where nothing is under way and after a `shielded` block otherwise.

    A second Ctrl-C inside the block is a KeyboardInterrupt, for whoever will not wait. `on_wait` is called when the
    first one has to.
    """

    def __init__(self, on_wait: Callable[[], None] = lambda: None) -> None:
        self._on_wait = on_wait
        self._shielded = False
        self._asked = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Ctrl-C has this meaning inside the block. Only for the main thread."""
        before = signal.signal(signal.SIGINT, self._heard)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    @contextmanager
    def shielded(self) -> Iterator[None]:
        """What stands in the block is finished first. Raises Interrupted after it, unless the block itself raised."""
        self._shielded = True
        try:
            yield
        finally:
            self._shielded = False
        self._stop_if_asked()

    def pause(self, seconds: float) -> None:
        """Sleeps. Inside a shielded block too, this is a point where nothing is under way."""
        self._stop_if_asked()
        shielded, self._shielded = self._shielded, False
        try:
            time.sleep(seconds)
        finally:
            self._shielded = shielded

    def _stop_if_asked(self) -> None:
        if self._asked:
            raise Interrupted

    def _heard(self, _signal: int, _frame: FrameType | None) -> None:
        if not self._shielded:
            raise Interrupted
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        self._on_wait()
