"""Look-ups that wait in the same turn of the event loop become one."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Coalescer(Generic[Key, Value]):
    """Gathers the keys asked for in one turn of the event loop and looks them up together, each once."""

    def __init__(
        self, look_up: Callable[[Collection[Key]], Awaitable[Mapping[Key, Value]]], *, at_most: int = sys.maxsize
    ) -> None:
        """``at_most`` is how many keys go into one look-up; of more, several are made."""
        self._look_up = look_up
        self._at_most = at_most
        self._gathering: dict[Key, asyncio.Future[Value]] = {}
        self._under_way: dict[Key, asyncio.Future[Value]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def load(self, key: Key, *, join: bool = False) -> Value:
        """The value for a key; ``look_up`` must give one for each key, or raise for all.

        With ``join``, a look-up of the key that is under way already will do: it may have begun before this call,
        so what it brings may be older than this call.
        """
        # One caller that gives up must not take the answer from the others.
        return await asyncio.shield(self._answer(key, join=join))

    async def load_many(self, keys: Iterable[Key], *, join: bool = False) -> dict[Key, Value]:
        """The values for several keys, each as ``load`` gives it."""
        answers = {key: self._answer(key, join=join) for key in keys}
        if answers:
            await asyncio.wait(answers.values())  # which leaves them alone when the caller gives up
        return {key: answer.result() for key, answer in answers.items()}

    def part(self, key: Key) -> None:
        """From now on nobody joins the look-up of the key that is under way."""
        self._under_way.pop(key, None)

    def _answer(self, key: Key, *, join: bool) -> asyncio.Future[Value]:
        future = self._under_way.get(key) if join else None
        return future or self._gathering.get(key) or self._gather(key)

    def _gather(self, key: Key) -> asyncio.Future[Value]:
        loop = asyncio.get_running_loop()
        if len(self._gathering) == self._at_most:
            self._start()
        if not self._gathering:
            loop.call_soon(self._start)
        future = self._gathering[key] = loop.create_future()
        return future

    def _start(self) -> None:
        if not self._gathering:
            return  # it was too many, and has started before its turn was over
        wanted, self._gathering = self._gathering, {}
        self._under_way |= wanted
        task = asyncio.create_task(self._finish(wanted))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _finish(self, wanted: dict[Key, asyncio.Future[Value]]) -> None:
        try:
            values = await self._look_up(wanted.keys())
            answers = [(future, values[key]) for key, future in wanted.items()]
        except Exception as error:  # noqa: BLE001  # it is handed on to every caller
            for future in wanted.values():
                future.set_exception(error)
                future.exception()  # seen, should every caller have given up
        else:
            for future, value in answers:
                future.set_result(value)
        finally:
            for key, future in wanted.items():
                future.cancel()  # has no effect but when this task itself is cancelled
                if self._under_way.get(key) is future:
                    del self._under_way[key]
