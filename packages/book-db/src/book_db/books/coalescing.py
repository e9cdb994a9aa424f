"""Look-ups that wait in the same turn of the event loop become one."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import ExitStack
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Coalescer(Generic[Key, Value]):
    """Gathers the keys asked for in one turn of the event loop and looks them up together, each once.

    A look-up is cancelled when all who waited for it have given up, and goes on as long as one waits.
    """

    def __init__(
        self, look_up: Callable[[Collection[Key]], Awaitable[Mapping[Key, Value]]], *, at_most: int = sys.maxsize
    ) -> None:
        """``at_most`` is how many keys go into one look-up; of more, several are made."""
        self._look_up = look_up
        self._at_most = at_most
        self._gathering: _LookUp[Key, Value] = _LookUp()
        self._under_way: dict[Key, _LookUp[Key, Value]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def load(self, key: Key, *, join: bool = False) -> Value:
        """The value for a key; ``look_up`` must give one for each key, or raise for all.

        With ``join``, a look-up of the key that is under way already will do: it may have begun before this call,
        so what it brings may be older than this call.
        """
        with self._look_up_of(key, join=join) as look_up:
            # One caller that gives up must not take the answer from the others.
            return await asyncio.shield(look_up.answers[key])

    async def load_many(self, keys: Iterable[Key], *, join: bool = False) -> dict[Key, Value]:
        """The values for several keys, each as ``load`` gives it."""
        with ExitStack() as waiting:
            answers = {key: waiting.enter_context(self._look_up_of(key, join=join)).answers[key] for key in keys}
            if answers:
                await asyncio.wait(answers.values())  # which leaves them alone when the caller gives up
        return {key: answer.result() for key, answer in answers.items()}

    def part(self, key: Key) -> None:
        """From now on nobody joins the look-up of the key that is under way."""
        self._under_way.pop(key, None)

    def _look_up_of(self, key: Key, *, join: bool) -> "_LookUp[Key, Value]":
        under_way = self._under_way.get(key) if join else None
        if under_way is not None and under_way.is_awaited:
            return under_way
        if key not in self._gathering.answers:
            self._gather(key)
        return self._gathering

    def _gather(self, key: Key) -> None:
        loop = asyncio.get_running_loop()
        if len(self._gathering.answers) == self._at_most:
            self._start()
        if not self._gathering.answers:
            loop.call_soon(self._start)
        self._gathering.answers[key] = loop.create_future()

    def _start(self) -> None:
        look_up, self._gathering = self._gathering, _LookUp()
        if not look_up.is_awaited:
            return  # all have given up, or it was too many and has started before its turn was over
        self._under_way |= dict.fromkeys(look_up.answers, look_up)
        look_up.task = task = asyncio.create_task(self._finish(look_up))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _finish(self, look_up: "_LookUp[Key, Value]") -> None:
        try:
            values = await self._look_up(look_up.answers.keys())
            found = [(answer, values[key]) for key, answer in look_up.answers.items()]
        except Exception as error:  # noqa: BLE001  # it is handed on to every caller
            for answer in look_up.answers.values():
                answer.set_exception(error)
                answer.exception()  # seen, should every caller have given up
        else:
            for answer, value in found:
                answer.set_result(value)
        finally:
            for key, answer in look_up.answers.items():
                answer.cancel()  # has no effect but when this task itself is cancelled
                if self._under_way.get(key) is look_up:
                    del self._under_way[key]


class _LookUp(Generic[Key, Value]):
    """What several callers wait for, each in a block."""

    def __init__(self) -> None:
        self.answers: dict[Key, asyncio.Future[Value]] = {}
        self.task: asyncio.Task[None] | None = None
        self._waiting = 0

    @property
    def is_awaited(self) -> bool:
        return self._waiting > 0

    def __enter__(self) -> "_LookUp[Key, Value]":
        self._waiting += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._waiting -= 1
        if self._waiting == 0 and self.task is not None:
            self.task.cancel()  # has no effect on one that is done
