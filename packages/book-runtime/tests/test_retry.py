import asyncio
import functools
import math
import subprocess
import sys
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import patch

import pytest
from book_runtime.retry import Failure, retry
from hypothesis import given
from hypothesis import strategies as st
from support.waiting import PATIENCE, patiently


class Flaky:
    """Fails the given number of times, with a new exception each time, and then answers."""

    def __init__(self, failures: int, exception: type[BaseException] = ConnectionError) -> None:
        self.failures = failures
        self.exception = exception
        self.raised: list[BaseException] = []
        self.calls = 0

    def __call__(self, answer: str = "answer") -> str:
        self.calls += 1
        if self.calls <= self.failures:
            self.raised.append(self.exception(f"failure {self.calls}"))
            raise self.raised[-1]
        return answer

    async def later(self, answer: str = "answer") -> str:
        await asyncio.tasks.sleep(0)
        return self(answer)


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Nothing here sleeps: the pauses are noted."""
    noted: list[float] = []

    async def note(seconds: float) -> None:
        noted.append(seconds)

    monkeypatch.setattr(time, "sleep", noted.append)
    monkeypatch.setattr(asyncio, "sleep", note)
    return noted


def outcome_of(flaky: Flaky, repeating: retry, kind: str) -> str:
    if kind == "function":
        return repeating(flaky)("answer")
    return asyncio.run(_awaited(repeating(flaky.later)("answer")))


async def _awaited(answer: Awaitable[str]) -> str:
    return await answer


both_kinds = pytest.mark.parametrize("kind", ["function", "coroutine"])


@both_kinds
class TestRepeating:
    def test_a_call_that_succeeds_is_made_once(self, kind: str, pauses: list[float]) -> None:
        flaky = Flaky(failures=0)
        assert outcome_of(flaky, retry(), kind) == "answer"
        assert (flaky.calls, pauses) == (1, [])

    def test_by_default_three_repetitions_one_second_apart(self, kind: str, pauses: list[float]) -> None:
        flaky = Flaky(failures=3)
        assert outcome_of(flaky, retry(), kind) == "answer"
        assert (flaky.calls, pauses) == (4, [1, 1, 1])

    def test_times_zero_means_one_call(self, kind: str, pauses: list[float]) -> None:
        flaky = Flaky(failures=1)
        with pytest.raises(ConnectionError):
            outcome_of(flaky, retry(times=0), kind)
        assert (flaky.calls, pauses) == (1, [])

    def test_an_exception_that_is_not_named_goes_through_at_once(self, kind: str, pauses: list[float]) -> None:
        flaky = Flaky(failures=1, exception=KeyError)
        with pytest.raises(KeyError):
            outcome_of(flaky, retry(exceptions=(OSError, ValueError)), kind)
        assert (flaky.calls, pauses) == (1, [])

    @pytest.mark.parametrize("exceptions", [OSError, (ValueError, OSError)], ids=["one-class", "a-tuple"])
    def test_a_subclass_of_what_is_named_is_repeated(
        self, kind: str, exceptions: type[Exception] | tuple[type[Exception], ...]
    ) -> None:
        flaky = Flaky(failures=1, exception=ConnectionResetError)
        assert outcome_of(flaky, retry(exceptions=exceptions), kind) == "answer"

    def test_every_call_counts_from_the_start(self, kind: str) -> None:
        repeating = retry(times=2)
        for _ in range(2):
            flaky = Flaky(failures=2)
            assert outcome_of(flaky, repeating, kind) == "answer"

    def test_the_hook_hears_of_each_failure_that_is_followed_by_a_call(self, kind: str) -> None:
        heard: list[Failure] = []
        flaky = Flaky(failures=3)
        with pytest.raises(ConnectionError):
            outcome_of(flaky, retry(times=2, delay=5, backoff=2, on_retry=heard.append), kind)
        assert [(each.attempt, each.delay) for each in heard] == [(1, 5), (2, 10)]
        assert [each.exception for each in heard] == flaky.raised[:2]

    def test_what_the_hook_raises_goes_through_with_the_failure_as_context(self, kind: str) -> None:
        def break_down(_: Failure) -> None:
            raise LookupError("the hook")

        flaky = Flaky(failures=1)
        with pytest.raises(LookupError, match="the hook") as caught:
            outcome_of(flaky, retry(on_retry=break_down), kind)
        assert caught.value.__context__ is flaky.raised[0]
        assert flaky.calls == 1


@both_kinds
class TestTheLastException:
    def test_is_the_object_that_was_raised_and_nothing_is_chained_to_it(self, kind: str) -> None:
        flaky = Flaky(failures=9)
        with pytest.raises(ConnectionError) as caught:
            outcome_of(flaky, retry(times=2), kind)
        assert caught.value is flaky.raised[-1]
        assert str(caught.value) == "failure 3"
        assert (caught.value.__cause__, caught.value.__context__) == (None, None)
        assert not hasattr(caught.value, "__notes__")

    def test_has_the_traceback_to_the_line_that_raised_it(self, kind: str) -> None:
        flaky = Flaky(failures=9)
        with pytest.raises(ConnectionError) as caught:
            outcome_of(flaky, retry(times=2), kind)
        frames = traceback.extract_tb(caught.value.__traceback__)
        assert frames[-1].line == "raise self.raised[-1]"
        assert [frame.name for frame in frames].count("call") == 1

    def test_keeps_the_cause_that_it_came_with(self, kind: str) -> None:
        cause = KeyError("cause")

        class Chained(ConnectionError):
            def __init__(self, *args: object) -> None:
                super().__init__(*args)
                self.__cause__ = cause

        with pytest.raises(Chained) as caught:
            outcome_of(Flaky(failures=9, exception=Chained), retry(times=1), kind)
        assert caught.value.__cause__ is cause


STOPS = [
    pytest.param(asyncio.CancelledError, id="cancellation"),
    pytest.param(KeyboardInterrupt, id="ctrl-c"),
    pytest.param(SystemExit, id="exit"),
    pytest.param(GeneratorExit, id="closing-of-a-generator"),
]


class TestCancellation:
    @both_kinds
    @pytest.mark.parametrize("stop", STOPS)
    def test_an_order_to_stop_is_never_repeated(self, stop: type[BaseException], kind: str) -> None:
        if kind == "coroutine" and stop in (KeyboardInterrupt, SystemExit):
            kind = "function"  # asyncio.run treats these two itself
        flaky = Flaky(failures=1, exception=stop)
        with pytest.raises(stop):
            outcome_of(flaky, retry(exceptions=Exception), kind)
        assert flaky.calls == 1

    async def test_a_group_with_a_cancellation_in_it_is_not_repeated(self) -> None:
        calls = 0

        @retry(exceptions=(Exception, ExceptionGroup))
        async def gather() -> None:
            nonlocal calls
            calls += 1
            raise BaseExceptionGroup("several", [ValueError(), asyncio.CancelledError()])

        with pytest.raises(BaseExceptionGroup):
            await gather()
        assert calls == 1

    async def test_ends_the_pause_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.undo()
        failed = asyncio.Event()
        flaky = Flaky(failures=9)
        repeating = retry(delay=3600, on_retry=lambda _: failed.set())
        task = asyncio.create_task(_awaited(repeating(flaky.later)()))
        await failed.wait()
        await asyncio.sleep(0)
        task.cancel("shutting down")
        with pytest.raises(asyncio.CancelledError, match="shutting down") as caught:
            await patiently(task, "the pause ends")
        assert task.cancelled()
        assert caught.value.__context__ is None or not isinstance(caught.value.__context__, ConnectionError)
        assert flaky.calls == 1

    async def test_ends_the_call_even_where_a_library_makes_an_error_of_it(self) -> None:
        started = asyncio.Event()
        calls = 0

        @retry()
        async def read() -> None:
            nonlocal calls
            calls += 1
            started.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise ConnectionError("connection lost while waiting") from None

        task = asyncio.create_task(_awaited_none(read()))
        await started.wait()
        task.cancel()
        with pytest.raises(ConnectionError):
            await task
        assert calls == 1

    async def test_a_task_that_tidies_up_after_its_cancellation_can_still_repeat(self) -> None:
        flaky = Flaky(failures=1)
        started = asyncio.Event()

        async def work() -> str:
            started.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return await retry()(flaky.later)("closed")
            return "never"

        task = asyncio.create_task(work())
        await started.wait()
        task.cancel()
        assert await task == "closed"

    async def test_a_deadline_around_the_call_ends_it_and_one_inside_is_repeated(self) -> None:
        calls = 0

        @retry(times=2, exceptions=TimeoutError)
        async def wait_shortly() -> None:
            nonlocal calls
            calls += 1
            async with asyncio.timeout(0.001):
                await asyncio.Event().wait()

        with pytest.raises(TimeoutError):
            await wait_shortly()
        assert calls == 3

        @retry(exceptions=TimeoutError)
        async def wait_long() -> None:
            nonlocal calls
            calls += 1
            await asyncio.Event().wait()

        calls = 0
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await wait_long()
        assert calls == 1


async def _awaited_none(answer: Awaitable[None]) -> None:
    await answer


A_SCHEDULE = {
    "times": st.integers(0, 30),
    "delay": st.floats(0, 1e6) | st.integers(0, 10**6),
    "backoff": st.floats(1, 1e300),
    "jitter": st.floats(0, 1),
    "max_delay": st.none() | st.floats(0, 1e5),
}


class TestSchedule:
    @given(times=st.integers(0, 30), failures=st.integers(0, 40))
    def test_the_calls_are_the_first_and_a_repetition_for_each_failure_up_to_times(
        self, times: int, failures: int
    ) -> None:
        for kind in ("function", "coroutine"):
            flaky = Flaky(failures)
            if failures > times:
                with pytest.raises(ConnectionError, match=f"^failure {times + 1}$"):
                    outcome_of(flaky, retry(times=times), kind)
            else:
                outcome_of(flaky, retry(times=times), kind)
            assert flaky.calls == min(times, failures) + 1

    @given(**A_SCHEDULE)
    def test_each_pause_lies_between_its_delay_and_what_jitter_takes_from_it(
        self, times: int, delay: float, backoff: float, jitter: float, max_delay: float | None
    ) -> None:
        taken: list[float] = []
        repeating = retry(times, delay, backoff=backoff, jitter=jitter, max_delay=max_delay)
        with patch.object(time, "sleep", taken.append), pytest.raises(ConnectionError):
            repeating(Flaky(failures=times + 1))()

        assert len(taken) == times
        full = float(delay)
        for pause in taken:
            full = min(full, math.inf if max_delay is None else max_delay)
            longest = min(full, 2**40)  # beyond what the clock can sleep, about 292 years, it stays at that
            assert pause <= longest
            assert pause >= longest * (1 - jitter) or pause >= 9e9 * (1 - jitter)
            full *= backoff

    def test_backoff_grows_up_to_the_cap(self, pauses: list[float]) -> None:
        retry(5, 1, backoff=3, max_delay=20)(Flaky(failures=5))()
        assert pauses == [1, 3, 9, 20, 20]

    def test_the_cap_holds_for_the_first_delay_too(self, pauses: list[float]) -> None:
        retry(2, 60, max_delay=5)(Flaky(failures=2))()
        assert pauses == [5, 5]

    def test_full_jitter_reaches_from_nothing_to_the_delay(self, pauses: list[float]) -> None:
        draws = iter([0.0, 0.5, 0.999])
        with patch("random.random", lambda: next(draws)):
            retry(3, 10, jitter=1)(Flaky(failures=3))()
        assert pauses == pytest.approx([10, 5, 0.01])

    def test_equal_jitter_keeps_half_of_the_delay(self, pauses: list[float]) -> None:
        with patch("random.random", lambda: 0.999999):
            retry(1, 10, jitter=0.5)(Flaky(failures=1))()
        assert pauses == pytest.approx([5], rel=1e-4)

    def test_an_endless_backoff_stays_a_number_that_can_be_slept(self, pauses: list[float]) -> None:
        retry(9, 1, backoff=1e308)(Flaky(failures=9))()
        assert all(math.isfinite(pause) for pause in pauses)

    def test_threads_do_not_share_their_count(self) -> None:
        def fail_twice(flaky: Flaky) -> str:
            return flaky()

        repeated = retry(times=2)(fail_twice)
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(repeated, [Flaky(failures=2) for _ in range(50)])) == ["answer"] * 50


class AsyncCallable:
    def __init__(self, flaky: Flaky) -> None:
        self.flaky = flaky

    async def __call__(self, answer: str) -> str:
        return await self.flaky.later(answer)


async def _call_later(flaky: Flaky, answer: str) -> str:
    return await flaky.later(answer)


class TestWhatCanBeDecorated:
    @pytest.mark.parametrize(
        "make",
        [
            pytest.param(lambda flaky: flaky.later, id="bound-method"),
            pytest.param(lambda flaky: functools.partial(_call_later, flaky), id="partial"),
            pytest.param(lambda flaky: functools.partial(functools.partial(_call_later), flaky), id="nested-partial"),
            pytest.param(AsyncCallable, id="object-with-async-call"),
            pytest.param(lambda flaky: functools.partial(AsyncCallable(flaky)), id="partial-of-such-an-object"),
            pytest.param(lambda flaky: retry(times=0)(flaky.later), id="already-decorated"),
        ],
    )
    async def test_everything_that_gives_a_coroutine_is_awaited_in_each_attempt(
        self, make: Callable[[Flaky], Callable[[str], Awaitable[str]]]
    ) -> None:
        flaky = Flaky(failures=2)
        assert await retry()(make(flaky))("answer") == "answer"
        assert flaky.calls == 3

    @pytest.mark.parametrize(
        "make",
        [
            pytest.param(lambda flaky: flaky, id="object-with-call"),
            pytest.param(functools.partial, id="partial"),
            pytest.param(lambda flaky: lambda answer: flaky(answer), id="lambda"),  # noqa: PLW0108  # the point
        ],
    )
    def test_everything_that_gives_a_value_is_called_again(self, make: Callable[[Flaky], Callable[[str], str]]) -> None:
        flaky = Flaky(failures=2)
        assert retry()(make(flaky))("answer") == "answer"
        assert flaky.calls == 3

    def test_a_class_is_called_again_until_it_can_be_made(self) -> None:
        flaky = Flaky(failures=1)

        class Connection:
            def __init__(self) -> None:
                self.answer = flaky()

        connection = retry()(Connection)()
        assert connection.answer == "answer"
        assert isinstance(connection, Connection)

    async def test_methods_of_every_kind(self) -> None:
        flaky = Flaky(failures=0)

        class Shelf:
            @retry()
            def plain(self, answer: str) -> tuple[object, str]:
                return self, flaky(answer)

            @retry()
            async def later(self, answer: str) -> tuple[object, str]:
                return self, await flaky.later(answer)

            @classmethod
            @retry()
            def of_the_class(cls, answer: str) -> tuple[object, str]:
                return cls, flaky(answer)

            @staticmethod
            @retry()
            def static(answer: str) -> tuple[object, str]:
                return None, flaky(answer)

        shelf = Shelf()
        for call, owner in ((shelf.plain, shelf), (shelf.of_the_class, Shelf), (shelf.static, None)):
            flaky.calls, flaky.failures = 0, 2
            assert call("answer") == (owner, "answer")
        flaky.calls, flaky.failures = 0, 2
        assert await shelf.later("answer") == (shelf, "answer")

    def test_name_docstring_and_signature_stay(self) -> None:
        @retry()
        def look_up(number: int) -> str:
            """Finds it."""
            return str(number)

        assert (look_up.__name__, look_up.__doc__) == ("look_up", "Finds it.")
        assert look_up.__annotations__ == {"number": int, "return": str}
        assert look_up.__wrapped__(1) == "1"  # type: ignore[attr-defined]  # functools.wraps sets it, ParamSpec hides it

    def test_one_policy_serves_several_functions(self) -> None:
        patient = retry(times=2)
        one, other = Flaky(failures=2), Flaky(failures=2)
        assert (patient(one)(), patient(other)()) == ("answer", "answer")


def numbers() -> Iterator[int]:
    yield 1


async def later_numbers() -> AsyncIterator[int]:
    yield 1


class GeneratorCallable:
    def __call__(self) -> Iterator[int]:
        yield 1


class TestNonsense:
    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            pytest.param({"times": -1}, ValueError, "times", id="negative-times"),
            pytest.param({"times": True}, TypeError, "times", id="times-is-bool"),
            pytest.param({"times": 2.0}, TypeError, "times", id="times-is-float"),
            pytest.param({"times": math.nan}, TypeError, "times", id="times-is-nan"),
            pytest.param({"times": math.inf}, TypeError, "times", id="times-is-infinite"),
            pytest.param({"times": "3"}, TypeError, "times", id="times-is-text"),
            pytest.param({"times": None}, TypeError, "times", id="times-is-none"),
            pytest.param({"times": numbers}, TypeError, r"@retry\(\)", id="parentheses-forgotten"),
            pytest.param({"delay": -0.001}, ValueError, "delay", id="negative-delay"),
            pytest.param({"delay": math.nan}, ValueError, "delay", id="delay-is-nan"),
            pytest.param({"delay": math.inf}, ValueError, "delay", id="delay-is-infinite"),
            pytest.param({"delay": 10**400}, ValueError, "delay", id="delay-beyond-floats"),
            pytest.param({"delay": True}, TypeError, "delay", id="delay-is-bool"),
            pytest.param({"delay": "1"}, TypeError, "delay", id="delay-is-text"),
            pytest.param({"delay": None}, TypeError, "delay", id="delay-is-none"),
            pytest.param({"backoff": 0.5}, ValueError, "backoff", id="backoff-shrinks"),
            pytest.param({"backoff": -2}, ValueError, "backoff", id="negative-backoff"),
            pytest.param({"backoff": math.nan}, ValueError, "backoff", id="backoff-is-nan"),
            pytest.param({"backoff": True}, TypeError, "backoff", id="backoff-is-bool"),
            pytest.param({"jitter": -0.1}, ValueError, "jitter", id="negative-jitter"),
            pytest.param({"jitter": 1.1}, ValueError, "jitter", id="more-jitter-than-delay"),
            pytest.param({"jitter": True}, TypeError, "jitter", id="jitter-is-bool"),
            pytest.param({"max_delay": -1}, ValueError, "max_delay", id="negative-cap"),
            pytest.param({"max_delay": math.inf}, ValueError, "max_delay", id="infinite-cap-is-none"),
            pytest.param({"max_delay": False}, TypeError, "max_delay", id="cap-is-bool"),
            pytest.param({"on_retry": 3}, TypeError, "on_retry", id="hook-is-no-function"),
            pytest.param({"on_retry": _awaited}, TypeError, "on_retry", id="async-hook-would-not-be-awaited"),
            pytest.param({"exceptions": ()}, ValueError, "exceptions", id="no-exceptions"),
            pytest.param({"exceptions": [OSError]}, TypeError, "exceptions", id="a-list"),
            pytest.param({"exceptions": (OSError, (ValueError,))}, TypeError, "exceptions", id="tuple-in-tuple"),
            pytest.param({"exceptions": (OSError, "no")}, TypeError, "exceptions", id="text-in-tuple"),
            pytest.param({"exceptions": OSError()}, TypeError, "exceptions", id="an-instance"),
            pytest.param({"exceptions": int}, TypeError, "exceptions", id="not-an-exception"),
            pytest.param({"exceptions": None}, TypeError, "exceptions", id="exceptions-is-none"),
            pytest.param({"exceptions": BaseException}, TypeError, "exceptions", id="would-swallow-cancellation"),
            pytest.param({"exceptions": asyncio.CancelledError}, TypeError, "exceptions", id="is-cancellation"),
            pytest.param({"exceptions": (OSError, KeyboardInterrupt)}, TypeError, "exceptions", id="is-ctrl-c"),
            pytest.param({"exceptions": SystemExit}, TypeError, "exceptions", id="is-exit"),
            pytest.param({"exceptions": GeneratorExit}, TypeError, "exceptions", id="is-closing-of-a-generator"),
            pytest.param({"exceptions": BaseExceptionGroup}, TypeError, "exceptions", id="may-hold-cancellation"),
        ],
    )
    def test_arguments_are_refused_before_anything_is_decorated(
        self, arguments: dict[str, object], error: type[Exception], message: str
    ) -> None:
        with pytest.raises(error, match=message):
            retry(**arguments)  # type: ignore[arg-type]  # the wrong types are the point

    @pytest.mark.parametrize(
        "thing",
        [
            pytest.param(3, id="a-number"),
            pytest.param(None, id="nothing"),
            pytest.param(numbers, id="generator-function"),
            pytest.param(later_numbers, id="async-generator-function"),
            pytest.param(functools.partial(numbers), id="partial-of-a-generator-function"),
            pytest.param(GeneratorCallable(), id="object-whose-call-is-a-generator"),
            pytest.param(staticmethod(len), id="below-staticmethod"),
            pytest.param(classmethod(type), id="below-classmethod"),
            pytest.param(property(len), id="below-property"),
        ],
    )
    def test_what_cannot_be_repeated_is_refused_when_decorating(self, thing: Callable[[], object]) -> None:
        with pytest.raises(TypeError, match="repeated"):
            retry()(thing)

    def test_a_plain_function_that_returns_a_coroutine_is_refused_when_called(self) -> None:
        flaky = Flaky(failures=0)
        with pytest.raises(TypeError, match="async def"):
            _ = retry()(lambda: flaky.later())()  # noqa: PLW0108  # the point
        assert flaky.calls == 0

    @pytest.mark.parametrize(
        "arguments",
        [
            pytest.param({"times": 0}, id="one-call"),
            pytest.param({"times": 10**30}, id="nearly-for-ever"),
            pytest.param({"delay": 0}, id="at-once"),
            pytest.param({"delay": 1, "backoff": 1, "jitter": 1, "max_delay": 0}, id="integers"),
            pytest.param({"exceptions": (OSError,)}, id="tuple-of-one"),
            pytest.param({"exceptions": ExceptionGroup}, id="a-group-of-errors"),
        ],
    )
    def test_the_edges_of_sense_are_accepted(self, arguments: dict[str, object]) -> None:
        assert retry(**arguments)(Flaky(failures=0))() == "answer"  # type: ignore[arg-type]  # a mixed bag


class TestTypes:
    def test_mypy_sees_the_types_that_were_there_before(self, tmp_path: Path) -> None:
        checked = Path(__file__).parent / "typed" / "retry_keeps_types.py"
        command = [sys.executable, "-m", "mypy", "--strict", f"--cache-dir={tmp_path}", str(checked)]
        answer = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path, timeout=PATIENCE)
        assert answer.returncode == 0, answer.stdout + answer.stderr
