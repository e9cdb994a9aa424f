"""How tests wait: for a state and never for a moment, all of them with one patience."""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar, overload

PATIENCE: Final = 120.0
"""Seconds until a test gives up, whatever it waits for: ten times what the slowest wait takes on a quiet machine.

A test that passes never waits so long. It is no claim that something is quick.
"""

_EVERY: Final = 0.01
"""Seconds between two looks."""

T = TypeVar("T")


class GaveUp(AssertionError):
    """Gave up after {seconds:.0f} seconds of waiting until {what}."""

    def __init__(self, what: str) -> None:
        super().__init__((GaveUp.__doc__ or "").format(seconds=PATIENCE, what=what))


@asynccontextmanager
async def patience(what: str) -> AsyncIterator[None]:
    """For a block that waits; `what` ends the sentence "gave up after so many seconds of waiting until ...".

    Raises GaveUp.
    """
    limit = asyncio.timeout(PATIENCE)
    try:
        async with limit:
            yield
    except TimeoutError as error:
        if limit.expired():
            raise GaveUp(what) from error
        raise


async def patiently(awaitable: Awaitable[T], what: str) -> T:
    """What comes of the awaitable. Raises GaveUp, and cancels what it waited for."""
    async with patience(what):
        return await awaitable


@overload
async def until(condition: Callable[[], Awaitable[T]], what: str) -> T: ...
@overload
async def until(condition: Callable[[], T], what: str) -> T: ...
async def until(condition: Callable[[], T | Awaitable[T]], what: str) -> T:
    """Wait until a condition holds, and return what it says then. Raises GaveUp."""
    async with patience(what):
        while True:
            answer = condition()
            said: T = await answer if inspect.isawaitable(answer) else answer
            if said:
                return said
            await asyncio.sleep(_EVERY)


def wait_until(condition: Callable[[], T], what: str) -> T:
    """As `until`, where there is no event loop."""
    give_up = time.monotonic() + PATIENCE
    while not (said := condition()):
        if time.monotonic() > give_up:
            raise GaveUp(what)
        time.sleep(_EVERY)
    return said
