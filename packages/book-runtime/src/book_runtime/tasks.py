"""Tasks that run beside others, and their end."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any


@asynccontextmanager
async def background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Runs the work for the length of the block, at whose end it is cancelled. What it raised is raised then."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        await end(task)


async def first_of(*works: Coroutine[Any, Any, None]) -> None:
    """Runs them beside each other until one ends, which is the end of the others too. Raises what they did."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        failures = [error for task in tasks if not task.cancelled() and (error := task.exception())]
    if failures:
        raise failures[0]


async def end(task: asyncio.Task[None]) -> None:
    """Cancels a task and waits for its end. Raises what the task does, but for its cancellation.

    To suppress CancelledError around `await task` would be to take a cancellation of the caller, which may come just
    then, for the task's: the caller would go on, and whoever cancelled it would wait for good.
    """
    task.cancel()
    await asyncio.wait([task])
    with suppress(asyncio.CancelledError):
        task.result()
