"""Tasks that run beside others, and their end."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Runs the work for the length of the block, at whose end it is cancelled. What it raised is raised then."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        await end(task)


async def end(task: asyncio.Task[None]) -> None:
    """Cancels a task and waits for its end. Raises what the task does, but for its cancellation.

    To suppress CancelledError around `await task` would be to take a cancellation of the caller, which may come just
    then, for the task's: the caller would go on, and whoever cancelled it would wait for good.
    """
    task.cancel()
    await asyncio.wait([task])
    with suppress(asyncio.CancelledError):
        task.result()
