"""Requests that wait at the same time share one query, and so do writes: a batch loader and a single flight.

docs/decisions/0023 gives the reasons.
"""

import asyncio
import sys
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import ExitStack
from contextvars import Context
from functools import partial
from typing import ClassVar, Final, Generic, TypeVar

IDLE_TURNS: Final = 20
"""Turns of the event loop without a new caller after which a busy server starts a batch. grpc.aio needs several turns
from one call to the next: at 32 callers 20 turns gather 18 to 26 of them, ten gather 14 to 17, and one gathers one.
"""

_LONGEST_WAIT_SECONDS: Final = 0.005
"""A batch starts after this time though more callers keep coming."""

Key = TypeVar("Key")
Value = TypeVar("Value")


class BatchLoader(Generic[Key, Value]):
    """Gathers the keys that callers ask for and looks them up in batches, each key once.

    A batch starts when no new caller has come for some turns of the event loop. While as many batches are in flight as
    are allowed, new keys wait until one ends. So batches grow with the load, and a single caller hardly waits.

    A batch is cancelled when all its callers have given up, and goes on as long as one of them waits.
    """

    _is_cancellable: ClassVar[bool] = True

    def __init__(
        self,
        look_up: Callable[[Collection[Key]], Awaitable[Mapping[Key, Value]]],
        *,
        max_batch: int = sys.maxsize,
        max_concurrent: int = sys.maxsize,
        idle_turns: int = 1,
        weigh: Callable[[Key], int] = lambda _: 1,
        on_idle: Callable[[], object] = lambda: None,
    ) -> None:
        """``look_up`` must return a value for each key, or raise for all of them.

        ``max_batch`` is the weight of the keys that one batch takes; more keys make several batches. ``weigh`` gives
        the weight of a key. ``max_concurrent`` is how many batches may be in flight; a full one starts in any case.
        ``idle_turns`` is how many turns of the event loop without a new caller start a batch, after 5 ms at the latest:
        an idle loop passes them in microseconds. ``on_idle`` is called when nothing is left to do.
        """
        self._look_up = look_up
        self._max_batch = max_batch
        self._max_concurrent = max_concurrent
        self._idle_turns = idle_turns
        self._weigh = weigh
        self._on_idle = on_idle
        self._gathering: _Batch[Key, Value] = _Batch()
        self._in_flight: dict[Key, _Batch[Key, Value]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def load(self, key: Key, *, share_in_flight: bool = False) -> Value:
        """The value of a key. Raises what ``look_up`` raises.

        With ``share_in_flight`` a batch that is in flight with this key will do. It may have begun before this call, so
        its value may be older than this call.
        """
        with self._batch_of(key, share_in_flight=share_in_flight) as batch:
            return await batch.answer(key)

    async def load_many(self, keys: Iterable[Key], *, share_in_flight: bool = False) -> dict[Key, Value]:
        """The values of several keys, each as ``load`` gives it."""
        with ExitStack() as waiting:
            answers = {
                key: waiting.enter_context(self._batch_of(key, share_in_flight=share_in_flight)).answer(key)
                for key in keys
            }
            if answers:
                await asyncio.wait(answers.values())
        return {key: answer.result() for key, answer in answers.items()}

    def detach(self, key: Key) -> None:
        """From now on no caller shares the batch that is in flight with this key."""
        self._in_flight.pop(key, None)

    async def close(self) -> None:
        """Waits until nothing is in flight any more."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _batch_of(self, key: Key, *, share_in_flight: bool) -> "_Batch[Key, Value]":
        in_flight = self._in_flight.get(key) if share_in_flight else None
        if in_flight is not None and in_flight.is_awaited:
            return in_flight
        if key not in self._gathering.answers:
            self._make_room(self._weigh(key))
        return self._gathering

    def _make_room(self, weight: int) -> None:
        if self._gathering.answers and self._gathering.weight + weight > self._max_batch:
            self._start()
        if not self._gathering.answers:
            self._start_soon()
        self._gathering.weight += weight

    def _start_soon(self) -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(self._wait_for_more, self._gathering, 0, self._idle_turns, loop.time() + _LONGEST_WAIT_SECONDS)

    def _wait_for_more(self, batch: "_Batch[Key, Value]", callers: int, turns: int, until: float) -> None:
        if batch is not self._gathering or len(self._tasks) >= self._max_concurrent:
            return
        loop = asyncio.get_running_loop()
        if batch.callers > callers:
            turns = self._idle_turns
        if turns > 1 and loop.time() < until:
            loop.call_soon(self._wait_for_more, batch, batch.callers, turns - 1, until)
        else:
            self._start()

    def _start(self) -> None:
        batch, self._gathering = self._gathering, _Batch()
        if not batch.is_awaited:  # all callers have given up, or it was full and has started before its turn was over
            self._notice_idleness()
            return
        self._in_flight |= dict.fromkeys(batch.answers, batch)
        # A batch belongs to no single caller: what it logs must not bear the trace of the first one.
        task = asyncio.create_task(self._run(batch), context=Context())
        if self._is_cancellable:
            batch.task = task
        self._tasks.add(task)
        task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._gathering.answers:
            self._start_soon()
        else:
            self._notice_idleness()

    def _notice_idleness(self) -> None:
        if not self._tasks and not self._gathering.answers:
            self._on_idle()

    async def _run(self, batch: "_Batch[Key, Value]") -> None:
        try:
            await self._answer(batch, batch.answers)
        finally:
            batch.cancel()  # has no effect but when this task itself is cancelled
            for key in batch.answers:
                if self._in_flight.get(key) is batch:
                    del self._in_flight[key]

    async def _answer(self, batch: "_Batch[Key, Value]", keys: Collection[Key]) -> None:
        try:
            values = await self._look_up(keys)
            found = [(key, values[key]) for key in keys]
        except Exception as error:  # noqa: BLE001  # it is handed on to every caller
            await self._fail(batch, keys, error)
        else:
            batch.succeed(found)

    async def _fail(self, batch: "_Batch[Key, Value]", keys: Collection[Key], error: Exception) -> None:
        batch.fail(keys, error)


class WriteBatcher(BatchLoader[Key, Value]):
    """A batch loader whose look-up writes. A batch that has started is never cancelled, whatever its callers do."""

    _is_cancellable = False

    def __init__(
        self,
        write: Callable[[Collection[Key]], Awaitable[Mapping[Key, Value]]],
        *,
        isolate_errors: tuple[type[Exception], ...] = (),
        max_batch: int = sys.maxsize,
        max_concurrent: int = sys.maxsize,
        idle_turns: int = 1,
        weigh: Callable[[Key], int] = lambda _: 1,
    ) -> None:
        """``isolate_errors`` are errors for which one key of a batch may be the cause: all keys of such a batch are
        written again one by one, so that only the cause fails. The rest is as in `BatchLoader`.
        """
        super().__init__(write, max_batch=max_batch, max_concurrent=max_concurrent, idle_turns=idle_turns, weigh=weigh)
        self._isolate_errors = isolate_errors

    async def _fail(self, batch: "_Batch[Key, Value]", keys: Collection[Key], error: Exception) -> None:
        if len(keys) > 1 and isinstance(error, self._isolate_errors):
            for key in keys:
                await self._answer(batch, [key])
        else:
            batch.fail(keys, error)


class SingleFlight(Generic[Key, Value]):
    """Equal questions that wait at the same time are asked once; different ones do not wait for each other.

    An answer is never older than the question. A question that comes while the same one is in flight is therefore asked
    again, together with all that come until one of at most two in flight is answered.
    """

    def __init__(self, ask: Callable[[Key], Awaitable[Value]], *, idle_turns: int = 1) -> None:
        """``idle_turns``: see `BatchLoader`."""
        self._ask = ask
        self._idle_turns = idle_turns
        self._loaders: dict[Key, BatchLoader[Key, Value]] = {}

    async def load(self, key: Key) -> Value:
        """The answer to a question. Raises what ``ask`` raises."""
        loader = self._loaders.get(key)
        if loader is None:
            forget = partial(self._loaders.pop, key, None)
            loader = BatchLoader(self._ask_one, max_concurrent=2, idle_turns=self._idle_turns, on_idle=forget)
            self._loaders[key] = loader
        return await loader.load(key)

    async def _ask_one(self, keys: Collection[Key]) -> dict[Key, Value]:
        [key] = keys
        return {key: await self._ask(key)}


class _Batch(Generic[Key, Value]):
    """The keys of one look-up and the callers who wait for them.

    Each caller waits in a ``with`` block on a future of its own, so one that gives up does not disturb the others.
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
        """Will hold the value of the key."""
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
                    answer.exception()  # marks it as seen, should the caller have given up

    def cancel(self) -> None:
        for answers in self.answers.values():
            for answer in answers:
                answer.cancel()

    def __enter__(self) -> "_Batch[Key, Value]":
        self.callers += 1
        return self

    def __exit__(self, *_: object) -> None:
        self.callers -= 1
        if self.callers == 0 and self.task is not None:
            self.task.cancel()  # has no effect on one that is done
