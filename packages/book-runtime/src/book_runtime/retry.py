"""Call again what failed for a reason that passes: `@retry(times=3, delay=1, exceptions=ConnectionError)`."""

import asyncio
import functools
import inspect
import random
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import KW_ONLY, dataclass
from typing import ParamSpec, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Failure:
    """A call that failed and will be repeated: what `on_retry` is told."""

    attempt: int
    """Which call failed: 1 for the first."""
    exception: Exception
    delay: float
    """Seconds until the next call."""


@dataclass(frozen=True, slots=True)
class retry:  # noqa: N801  # a decorator, and written like one
    """Repeats a function or coroutine function when it raises one of `exceptions`.

    The last exception comes through as it was raised. Cancellation is never swallowed, neither in the call nor in the
    pause. Nonsense is refused with TypeError or ValueError when decorating. Stands under @staticmethod and
    @classmethod. For a single call: `retry(times=5)(connect)(url)`.
    """

    times: int = 3
    """How often the call is repeated after the first, so it is made `times + 1` times at most."""
    delay: float = 1
    """Seconds before the first repetition."""
    exceptions: type[Exception] | tuple[type[Exception], ...] = Exception
    """One class or a tuple of classes, all below Exception; any other exception goes through at once."""
    _: KW_ONLY
    backoff: float = 1.0
    """Each delay is this many times the one before it; at least 1."""
    jitter: float = 0.0
    """The share of each delay, 0 to 1, that is left to chance. The pause is drawn evenly between `(1 - jitter) * d` and
    `d`, where `d` is the delay after backoff and cap: 0.5 is known as equal jitter, 1 as full jitter."""
    max_delay: float | None = None
    """No delay is longer than this many seconds."""
    on_retry: Callable[[Failure], object] | None = None
    """Called before each pause, not after the last failure. What it raises goes through."""

    def __post_init__(self) -> None:
        if not isinstance(self.times, int) or isinstance(self.times, bool):
            raise TypeError(f"times must be an int, not {self.times!r}; without arguments it is @retry()")
        if self.times < 0:
            raise ValueError(f"times must be at least 0, not {self.times}")
        _refuse_outside("delay", self.delay)
        _refuse_outside("backoff", self.backoff, least=1)
        _refuse_outside("jitter", self.jitter, most=1)
        _refuse_outside("max_delay", 0 if self.max_delay is None else self.max_delay)
        _refuse_uncatchable(self.exceptions)
        if self.on_retry is not None and (not callable(self.on_retry) or _is_async(self.on_retry)):
            raise TypeError(f"on_retry must be a function that is not async, not {self.on_retry!r}")

    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]:
        _refuse_unrepeatable(function)
        if _is_async(function):
            return cast(Callable[P, R], self._repeat_async(cast(Callable[P, Awaitable[object]], function)))
        return self._repeat(function)

    def _repeat(self, function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            pauses = self._pauses()
            while True:
                try:
                    result = function(*args, **kwargs)
                except self.exceptions as error:
                    pause = self._pause_after(error, pauses)
                    if pause is None:
                        raise
                else:
                    return _refuse_awaitable(result)
                # Not in the except block: there the next exception would get this one as its context.
                time.sleep(pause)

        return call

    def _repeat_async(self, function: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
        @functools.wraps(function)
        async def call(*args: P.args, **kwargs: P.kwargs) -> R:
            pauses = self._pauses()
            cancellations = _cancellations()
            while True:
                try:
                    return await function(*args, **kwargs)
                except self.exceptions as error:
                    # Some libraries turn a cancellation into an error of their own; to call again would swallow it.
                    pause = None if _cancellations() > cancellations else self._pause_after(error, pauses)
                    if pause is None:
                        raise
                await asyncio.sleep(pause)

        return call

    def _pauses(self) -> Iterator[tuple[int, float]]:
        """For each call that another may follow: its number, and the seconds between them."""
        longest = threading.TIMEOUT_MAX if self.max_delay is None else min(self.max_delay, threading.TIMEOUT_MAX)
        delay = min(self.delay, longest)
        for attempt in range(1, self.times + 1):
            yield attempt, delay * (1 - self.jitter * random.random())  # noqa: S311  # spreads load, guards nothing
            delay = min(delay * self.backoff, longest)

    def _pause_after(self, error: Exception, pauses: Iterator[tuple[int, float]]) -> float | None:
        for attempt, pause in pauses:
            if self.on_retry:
                self.on_retry(Failure(attempt, error, pause))
            return pause
        return None


def _refuse_outside(name: str, number: float, *, least: float = 0, most: float = sys.float_info.max) -> None:
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise TypeError(f"{name} must be a number, not {number!r}")
    if not least <= number <= most:  # so that NaN is refused too
        raise ValueError(f"{name} must be from {least} to {most}, not {number}")


def _refuse_uncatchable(exceptions: object) -> None:
    classes = exceptions if isinstance(exceptions, tuple) else (exceptions,)
    if not classes:
        raise ValueError("exceptions must name at least one class")
    for each in classes:
        # What is not below Exception (CancelledError, KeyboardInterrupt, SystemExit) is an order to stop.
        if not isinstance(each, type) or not issubclass(each, Exception):
            raise TypeError(f"exceptions must be a class below Exception or a tuple of such, not {each!r}")


def _refuse_unrepeatable(function: object) -> None:
    if not callable(function) or isinstance(function, staticmethod):
        raise TypeError(f"only a function can be repeated, not {function!r}; @staticmethod and @classmethod go on top")
    if any(inspect.isgeneratorfunction(code) or inspect.isasyncgenfunction(code) for code in _code_of(function)):
        raise TypeError(f"a generator cannot be repeated, it has handed out values when it fails: {function!r}")


def _refuse_awaitable(result: R) -> R:
    if inspect.isawaitable(result):
        if inspect.iscoroutine(result):
            result.close()
        raise TypeError("a plain function returned an awaitable, whose failure would not be seen: make it an async def")
    return result


def _is_async(function: Callable[..., object]) -> bool:
    return any(inspect.iscoroutinefunction(code) for code in _code_of(function))


def _code_of(function: Callable[..., object]) -> tuple[Callable[..., object], ...]:
    """The function inside partials, and what runs when it is an object that can be called."""
    while isinstance(function, functools.partial):
        function = function.func
    return function, type(function).__call__


def _cancellations() -> int:
    task = asyncio.current_task()
    return task.cancelling() if task else 0
