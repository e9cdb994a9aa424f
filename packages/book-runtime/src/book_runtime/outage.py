"""Logs an outage once, and its end once: of servers, of files, of whatever a process needs.

All have one form: a warning `outage of the cache in Redis: reads go past it` with the `reason`, and in the end `outage
of the cache in Redis is over` with how many seconds it `lasted`.

docs/decisions/0043 gives the reasons.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

from structlog.typing import FilteringBoundLogger

from book_runtime.tasks import end

_REASON_MAX_CHARACTERS: Final = 1_000
"""An exception may quote anything."""

_SOON_PAUSES: Final = 10
_LONGEST_PAUSES: Final = 30
"""In pauses: what fails again so soon is probed less often, up to every so many."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something is out."""

    text: str
    kind: object = None
    """The same for all reasons of which the first is worth a line and the hundredth is not; can be hashed."""


class Level(Protocol):
    """A gauge, with its labels if it has any."""

    def set(self, value: float) -> None: ...


class Outage:
    """Logs when something cannot be used and when it can be again, each time once, however often it is called."""

    def __init__(
        self,
        log: FilteringBoundLogger,
        what: str,
        meanwhile: str,
        *,
        gauge: Level | None = None,
        during: float = 0,
        quiet: float = 0,
    ) -> None:
        """`what` is out, and `meanwhile` what is done without it: parts of the sentence that is logged.

        `gauge` is `during` as long as it lasts, and else the other of 0 and 1. It is left alone until then.
        `quiet` is for what fails for some and works for others at the same time: an outage is over when something works
        and nothing has failed for so many seconds.
        """
        self._log = log
        self._what = what
        self._meanwhile = meanwhile
        self._gauge = gauge
        self._during = during
        self._quiet = quiet
        self._kinds: set[object] = set()
        self._began = self._failed = 0.0

    @property
    def is_on(self) -> bool:
        return bool(self._kinds)

    def begin(self, reason: Reason | BaseException | str) -> None:
        """It failed, for a reason that is said when it is the first of its kind in this outage.

        Exceptions of one class are of one kind, and texts all are.
        """
        reason = _reason_of(reason)
        self._failed = time.monotonic()
        if not self._kinds:
            self._began = self._failed
            self._show(self._during)
        if reason.kind not in self._kinds:
            self._kinds.add(reason.kind)
            self._log.warning(f"outage of {self._what}: {self._meanwhile}", reason=reason.text)

    def end(self) -> bool:
        """It works. Says whether that was the end of an outage."""
        if self._kinds and time.monotonic() - self._failed < self._quiet:
            return False
        was_on = self.is_on
        self._kinds.clear()
        self._show(1 - self._during)
        if was_on:
            self._log.info(f"outage of {self._what} is over", lasted=round(time.monotonic() - self._began, 1))
        return was_on

    def _show(self, level: float) -> None:
        if self._gauge is not None:
            self._gauge.set(level)


class CircuitBreaker:
    """Keeps callers away from what has failed, and probes it until it works.

    When it fails again soon after it worked, it is probed less and less often, up to every 30 pauses: what works now
    and then is of no use to callers.
    """

    def __init__(
        self,
        outage: Outage,
        probe: Callable[[], Awaitable[None]],
        *,
        reason_of: Callable[[Exception], Reason],
        pause: float = 1,
    ) -> None:
        """`probe` raises while it does not work. `pause` is how many seconds it is left alone between two probes."""
        self._outage = outage
        self._probe = probe
        self._reason_of = reason_of
        self._pause = self._next = pause
        self._closed = float("-inf")
        self._trying: asyncio.Task[None] | None = None
        self.reason: Reason | None = None
        """Why it is open."""

    @property
    def is_open(self) -> bool:
        """Whether it is of no use to ask."""
        return self._trying is not None

    def trip(self, error: Exception, *, at_once: bool = False) -> None:
        """A caller met this failure. `at_once` probes immediately: it may have been a single failure."""
        self._note(error)
        if self._trying is None:
            is_soon = time.monotonic() - self._closed < _SOON_PAUSES * self._next
            self._next = min(2 * self._next, _LONGEST_PAUSES * self._pause) if is_soon else self._pause
            self._trying = asyncio.create_task(self._try(0 if at_once and not is_soon else self._next))

    async def close(self) -> None:
        """Tries no more."""
        if self._trying is not None:
            await end(self._trying)

    async def _try(self, wait: float) -> None:
        while not await self._works_after(wait):
            wait = self._next
        # In the same turn of the event loop as the last step of the probe: what it found still holds.
        self._trying = self.reason = None
        self._closed = time.monotonic()
        self._outage.end()

    async def _works_after(self, seconds: float) -> bool:
        await asyncio.sleep(seconds)
        try:
            await self._probe()
        except Exception as error:
            if _is_cancelled():
                # redis-py 8.1 sends with wait_for, which until Python 3.12 loses a cancellation that comes as it ends.
                raise asyncio.CancelledError from error
            self._note(error)
            return False
        return True

    def _note(self, error: Exception) -> None:
        self.reason = self._reason_of(error)
        self._outage.begin(self.reason)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _reason_of(reason: Reason | BaseException | str) -> Reason:
    match reason:
        case Reason():
            return reason
        case BaseException():
            return Reason(repr(reason)[:_REASON_MAX_CHARACTERS], type(reason))
        case _:
            return Reason(reason[:_REASON_MAX_CHARACTERS])
