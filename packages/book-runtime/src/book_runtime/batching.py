"""Questions that wait at the same time become one, and so do writes."""

import asyncio
import sys
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import ExitStack
from contextvars import Context
from functools import partial
from typing import Final, Generic, TypeVar

BUSY: Final = 20
"""Turns of the event loop in which a server with work to do has taken in what waits for it. grpc.aio takes several
from one call to the next: of 32 callers 18 to 26 then go together, where it was 14 to 17 with ten turns, and one with
a single turn.
"""

_LONGEST_WAIT: Final = 0.005
"""Seconds after which a look-up starts though more callers keep coming."""

Key = TypeVar("Key")
Value = TypeVar("Value")


class Coalescer(Generic[Key, Value]):
    """Gathers the keys that are asked for and looks them up together, each once.

    Those that come in turns of the event loop without a pause go together, and where as many look-ups are under way as
    may be, all that come until one of them ends. So the more is asked for, the more goes into one look-up, and who asks
    alone is hardly kept waiting.

    A look-up is cancelled when all who waited for it have given up, and goes on as long as one waits.
    """

    def __init__(
        self,
        look_up: Callable[[Collection[Key]], Awaitable[Mapping[Key, Value]]],
        *,
        at_most: int = sys.maxsize,
        at_once: int = sys.maxsize,
        turns: int = 1,
        weigh: Callable[[Key], int] = lambda _: 1,
        faults: tuple[type[Exception], ...] = (),
        to_the_end: bool = False,
        at_rest: Callable[[], object] = lambda: None,
    ) -> None:
        """``at_most`` is how many keys go into one look-up; of more, several are made. ``weigh`` tells for how many of
        them a key counts.

        ``at_once`` is how many look-ups may be under way; one that is full does not wait for its turn.
        ``turns`` is for how many turns of the event loop nobody new must have come until a look-up starts, and 5 ms at
        the most: an idle one takes microseconds, and a busy server takes several from one caller to the next.
        ``faults`` are errors that may be one key's fault: keys that met it together are looked up again one by one.
        ``to_the_end``: nothing that has begun is cancelled. ``at_rest`` is called when nothing is left to do.
        """
        self._look_up = look_up
        self._at_most = at_most
        self._at_once = at_once
        self._turns = turns
        self._weigh = weigh
        self._faults = faults
        self._to_the_end = to_the_end
        self._at_rest = at_rest
        self._gathering: _LookUp[Key, Value] = _LookUp()
        self._under_way: dict[Key, _LookUp[Key, Value]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def load(self, key: Key, *, join: bool = False) -> Value:
        """The value for a key; ``look_up`` must give one for each key, or raise for all.

        With ``join``, a look-up of the key that is under way already will do: it may have begun before this call,
        so what it brings may be older than this call.
        """
        with self._look_up_of(key, join=join) as look_up:
            return await look_up.answer(key)

    async def load_many(self, keys: Iterable[Key], *, join: bool = False) -> dict[Key, Value]:
        """The values for several keys, each as ``load`` gives it."""
        with ExitStack() as waiting:
            answers = {key: waiting.enter_context(self._look_up_of(key, join=join)).answer(key) for key in keys}
            if answers:
                await asyncio.wait(answers.values())
        return {key: answer.result() for key, answer in answers.items()}

    def part(self, key: Key) -> None:
        """From now on nobody joins the look-up of the key that is under way."""
        self._under_way.pop(key, None)

    async def close(self) -> None:
        """Until nothing is under way any more."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _look_up_of(self, key: Key, *, join: bool) -> "_LookUp[Key, Value]":
        under_way = self._under_way.get(key) if join else None
        if under_way is not None and under_way.is_awaited:
            return under_way
        if key not in self._gathering.answers:
            self._make_room(self._weigh(key))
        return self._gathering

    def _make_room(self, weight: int) -> None:
        if self._gathering.answers and self._gathering.weight + weight > self._at_most:
            self._start()
        if not self._gathering.answers:
            self._start_soon()
        self._gathering.weight += weight

    def _start_soon(self) -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(self._wait_for_more, self._gathering, 0, self._turns, loop.time() + _LONGEST_WAIT)

    def _wait_for_more(self, look_up: "_LookUp[Key, Value]", callers: int, turns: int, until: float) -> None:
        if look_up is not self._gathering or len(self._tasks) >= self._at_once:
            return
        loop = asyncio.get_running_loop()
        if look_up.callers > callers:
            turns = self._turns
        if turns > 1 and loop.time() < until:
            loop.call_soon(self._wait_for_more, look_up, look_up.callers, turns - 1, until)
        else:
            self._start()

    def _start(self) -> None:
        look_up, self._gathering = self._gathering, _LookUp()
        if not look_up.is_awaited:  # all have given up, or it was too many and has started before its turn was over
            self._look_around()
            return
        self._under_way |= dict.fromkeys(look_up.answers, look_up)
        # It is nobody's alone: what it logs must not bear the trace of whoever came first.
        task = asyncio.create_task(self._finish(look_up), context=Context())
        if not self._to_the_end:
            look_up.task = task
        self._tasks.add(task)
        task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._gathering.answers:
            self._start_soon()
        else:
            self._look_around()

    def _look_around(self) -> None:
        if not self._tasks and not self._gathering.answers:
            self._at_rest()

    async def _finish(self, look_up: "_LookUp[Key, Value]") -> None:
        try:
            await self._answer(look_up, look_up.answers)
        finally:
            look_up.cancel()  # has no effect but when this task itself is cancelled
            for key in look_up.answers:
                if self._under_way.get(key) is look_up:
                    del self._under_way[key]

    async def _answer(self, look_up: "_LookUp[Key, Value]", keys: Collection[Key]) -> None:
        try:
            values = await self._look_up(keys)
            found = [(key, values[key]) for key in keys]
        except Exception as error:  # noqa: BLE001  # it is handed on to every caller
            if len(keys) > 1 and isinstance(error, self._faults):
                for key in keys:
                    await self._answer(look_up, [key])
            else:
                look_up.fail(keys, error)
        else:
            look_up.succeed(found)


class Queue(Generic[Key, Value]):
    """Equal questions that wait at the same time are asked once, different ones do not wait for each other.

    An answer is never older than the question: one that comes while it is being asked is asked again, with all that
    come by the time that one of the two that may be under way is answered.
    """

    def __init__(self, ask: Callable[[Key], Awaitable[Value]], *, turns: int = 1) -> None:
        """``turns``: see `Coalescer`."""
        self._ask = ask
        self._turns = turns
        self._asking: dict[Key, Coalescer[Key, Value]] = {}

    async def load(self, key: Key) -> Value:
        """The answer to a question, or what ``ask`` raises."""
        asking = self._asking.get(key)
        if asking is None:
            forget = partial(self._asking.pop, key, None)
            asking = self._asking[key] = Coalescer(self._ask_one, at_once=2, turns=self._turns, at_rest=forget)
        return await asking.load(key)

    async def _ask_one(self, keys: Collection[Key]) -> dict[Key, Value]:
        [key] = keys
        return {key: await self._ask(key)}


class _LookUp(Generic[Key, Value]):
    """What several callers wait for, each in a block and with a future of its own: one that gives up leaves the others
    theirs.
    """

    def __init__(self) -> None:
        self.answers: defaultdict[Key, list[asyncio.Future[Value]]] = defaultdict(list)
        self.task: asyncio.Task[None] | None = None
        self.callers = 0
        self.weight = 0

    @property
    def is_awaited(self) -> bool:
        return self.callers > 0

    def answer(self, key: Key) -> asyncio.Future[Value]:
        """What will be the value for the key."""
        answer: asyncio.Future[Value] = asyncio.get_running_loop().create_future()
        self.answers[key].append(answer)
        return answer

    def succeed(self, found: Iterable[tuple[Key, Value]]) -> None:
        for key, value in found:
            for answer in self.answers[key]:
                if not answer.done():
                    answer.set_result(value)

    def fail(self, keys: Iterable[Key], error: Exception) -> None:
        for key in keys:
            for answer in self.answers[key]:
                if not answer.done():
                    answer.set_exception(error)
                    answer.exception()  # seen, should the caller have given up

    def cancel(self) -> None:
        for answers in self.answers.values():
            for answer in answers:
                answer.cancel()

    def __enter__(self) -> "_LookUp[Key, Value]":
        self.callers += 1
        return self

    def __exit__(self, *_: object) -> None:
        self.callers -= 1
        if self.callers == 0 and self.task is not None:
            self.task.cancel()  # has no effect on one that is done
