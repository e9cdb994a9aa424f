"""Tasks that run in the background, and their end."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

T = TypeVar("T")


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


class OwnedTasks:
    """Tasks that outlive the call that starts them: asyncio itself keeps only weak references to tasks."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def drain(self, timeout: float | None = None) -> None:
        """Returns when all have ended, also those that are started meanwhile.

        What still runs after ``timeout`` seconds is cancelled. None waits as long as it takes.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._all_ended()
        for task in self._tasks:
            task.cancel()
        await self._all_ended()

    async def _all_ended(self) -> None:
        while self._tasks:
            await asyncio.wait(self._tasks)
