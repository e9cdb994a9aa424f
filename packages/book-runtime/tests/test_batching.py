"""Questions that wait at the same time become one."""

import asyncio
import gc
from collections.abc import Collection, Mapping
from contextvars import ContextVar

import pytest
from book_runtime.batching import BatchLoader, SingleFlight, WriteBatcher
from support.waiting import patience


class LookUp:
    """Answers each key with the number of the look-up that it was in, when it is let go."""

    def __init__(self) -> None:
        self.wanted: list[list[str]] = []
        self.let_go = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self, keys: Collection[str]) -> Mapping[str, int]:
        self.wanted.append(list(keys))
        number = len(self.wanted)
        await self.let_go.wait()
        if self.error:
            raise self.error
        return {key: number for key in keys if key != "forgotten"}


@pytest.fixture
def look_up() -> LookUp:
    return LookUp()


@pytest.fixture
def loader(look_up: LookUp) -> BatchLoader[str, int]:
    return BatchLoader(look_up)


async def a_turn() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


class TestOneTurn:
    async def test_makes_one_look_up_with_each_key_once(self, loader: BatchLoader[str, int], look_up: LookUp) -> None:
        look_up.let_go.set()
        assert await asyncio.gather(*(loader.load(key) for key in "abab")) == [1, 1, 1, 1]
        assert look_up.wanted == [["a", "b"]]

    async def test_the_next_turn_makes_another(self, loader: BatchLoader[str, int], look_up: LookUp) -> None:
        look_up.let_go.set()
        assert [await loader.load("a"), await loader.load("a")] == [1, 2]


class TestManyKeys:
    async def test_are_looked_up_together_with_those_of_others(
        self, loader: BatchLoader[str, int], look_up: LookUp
    ) -> None:
        look_up.let_go.set()
        one, three, another = await asyncio.gather(loader.load("a"), loader.load_many("cab"), loader.load_many("d"))
        assert (one, three, another) == (1, {"c": 1, "a": 1, "b": 1}, {"d": 1})
        assert look_up.wanted == [["a", "c", "b", "d"]]

    async def test_no_keys_make_no_look_up(self, loader: BatchLoader[str, int], look_up: LookUp) -> None:
        assert await loader.load_many([]) == {}
        assert look_up.wanted == []

    @pytest.mark.parametrize(
        ("share_in_flight", "expected"),
        [pytest.param(False, [2, 2], id="unasked"), pytest.param(True, [1, 2], id="asked")],
    )
    async def test_share_what_is_in_flight_if_they_may(
        self, loader: BatchLoader[str, int], look_up: LookUp, share_in_flight: bool, expected: list[int]
    ) -> None:
        first = asyncio.create_task(loader.load("a"))
        await a_turn()
        second = asyncio.create_task(loader.load_many("ab", share_in_flight=share_in_flight))
        await a_turn()
        look_up.let_go.set()
        assert list((await second).values()) == expected
        assert await first == 1

    async def test_over_the_most_are_several_look_ups(self, look_up: LookUp) -> None:
        loader = BatchLoader(look_up, max_batch=2)
        look_up.let_go.set()
        first, second = await asyncio.gather(loader.load_many("abcd"), loader.load_many("cde"))
        assert (first, second) == ({"a": 1, "b": 1, "c": 2, "d": 2}, {"c": 2, "d": 2, "e": 3})
        assert look_up.wanted == [["a", "b"], ["c", "d"], ["e"]]
        assert await loader.load_many("ab") == {"a": 4, "b": 4}

    async def test_count_for_as_many_as_they_weigh(self, look_up: LookUp) -> None:
        loader = BatchLoader(look_up, max_batch=3, weigh={"a": 1, "b": 2, "c": 2, "d": 5, "e": 1}.__getitem__)
        look_up.let_go.set()
        await loader.load_many("abcdea")
        assert look_up.wanted == [["a", "b"], ["c"], ["d"], ["e", "a"]]

    async def test_fail_together(self, loader: BatchLoader[str, int], look_up: LookUp) -> None:
        look_up.error = ValueError("no luck")
        look_up.let_go.set()
        with pytest.raises(ValueError, match="no luck"):
            await loader.load_many("ab")

    async def test_of_a_caller_that_gives_up_are_answered_to_the_others(
        self, loader: BatchLoader[str, int], look_up: LookUp
    ) -> None:
        leaving = asyncio.create_task(loader.load_many("ab"))
        staying = asyncio.create_task(loader.load_many("bc"))
        await a_turn()
        leaving.cancel()
        await a_turn()
        look_up.let_go.set()
        assert await staying == {"b": 1, "c": 1}
        assert leaving.cancelled()


class TestALookUpUnderWay:
    async def test_is_not_shared_unasked(self, loader: BatchLoader[str, int], look_up: LookUp) -> None:
        first = asyncio.create_task(loader.load("a"))
        await a_turn()
        second = asyncio.create_task(loader.load("a"))
        await a_turn()
        look_up.let_go.set()
        assert (await first, await second) == (1, 2)

    async def test_is_shared_by_callers_who_ask_to(self, loader: BatchLoader[str, int], look_up: LookUp) -> None:
        first = asyncio.create_task(loader.load("a"))
        await a_turn()
        second = asyncio.create_task(loader.load("a", share_in_flight=True))
        await a_turn()
        look_up.let_go.set()
        assert (await first, await second) == (1, 1)

    async def test_is_shared_by_nobody_once_detached(self, loader: BatchLoader[str, int], look_up: LookUp) -> None:
        first = asyncio.create_task(loader.load("a"))
        await a_turn()
        loader.detach("a")
        second = asyncio.create_task(loader.load("a", share_in_flight=True))
        await a_turn()
        look_up.let_go.set()
        assert (await first, await second) == (1, 2)

    async def test_who_shares_gets_the_newest_of_several(self, loader: BatchLoader[str, int], look_up: LookUp) -> None:
        loads = []
        for share_in_flight in (False, False, True):
            loads.append(asyncio.create_task(loader.load("a", share_in_flight=share_in_flight)))
            await a_turn()
        look_up.let_go.set()
        assert await asyncio.gather(*loads) == [1, 2, 2]

    async def test_that_is_over_is_shared_by_nobody(self, loader: BatchLoader[str, int], look_up: LookUp) -> None:
        look_up.let_go.set()
        assert [await loader.load("a", share_in_flight=True), await loader.load("a", share_in_flight=True)] == [1, 2]


class TestCallersWhoGiveUp:
    async def test_leave_the_others_their_answer(self, loader: BatchLoader[str, int], look_up: LookUp) -> None:
        leaving, staying = (asyncio.create_task(loader.load("a")) for _ in range(2))
        await a_turn()
        leaving.cancel()
        await a_turn()
        look_up.let_go.set()
        assert await staying == 1
        assert leaving.cancelled()

    @pytest.mark.parametrize("several", [False, True], ids=["one-key", "several-keys"])
    async def test_end_the_look_up_when_they_were_the_last(
        self, loader: BatchLoader[str, int], look_up: LookUp, several: bool
    ) -> None:
        leaving = [
            asyncio.create_task(loader.load_many("ab")) if several else asyncio.create_task(loader.load("a"))
            for _ in range(2)
        ]
        await a_turn()
        [task] = loader._tasks
        for each in leaving:
            assert not task.cancelling()
            each.cancel()
            await a_turn()
        assert task.cancelled()

    async def test_are_shared_by_nobody(self, look_up: LookUp) -> None:
        """Though the look-up that they have left takes its time to end."""
        ending = asyncio.Event()

        async def slow_to_end(keys: Collection[str]) -> Mapping[str, int]:
            try:
                return await look_up(keys)
            finally:
                await ending.wait()

        loader = BatchLoader(slow_to_end)
        leaving = asyncio.create_task(loader.load("a"))
        await a_turn()
        leaving.cancel()
        await a_turn()
        coming = asyncio.create_task(loader.load("a", share_in_flight=True))
        await a_turn()
        look_up.let_go.set()
        ending.set()
        assert await coming == 2

    async def test_before_anything_was_sent_have_nothing_looked_up(
        self, loader: BatchLoader[str, int], look_up: LookUp
    ) -> None:
        leaving = asyncio.create_task(loader.load("a"))
        asyncio.get_running_loop().call_soon(leaving.cancel)
        await a_turn()
        assert leaving.cancelled()
        look_up.let_go.set()
        assert await loader.load("a") == 1
        assert look_up.wanted == [["a"]]

    async def test_leave_no_error_that_nobody_has_seen(self, loader: BatchLoader[str, int], look_up: LookUp) -> None:
        unseen: list[dict[str, object]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))
        look_up.error = ValueError("no luck")
        leaving = asyncio.create_task(loader.load("a"))
        await a_turn()
        leaving.cancel()
        await a_turn()
        look_up.let_go.set()
        await a_turn()
        del leaving
        gc.collect()
        await a_turn()
        assert unseen == []


class TestALookUpThatFails:
    async def test_fails_for_every_caller(self, loader: BatchLoader[str, int], look_up: LookUp) -> None:
        look_up.error = ValueError("no luck")
        look_up.let_go.set()
        answers = await asyncio.gather(*(loader.load(key) for key in "aab"), return_exceptions=True)
        assert answers == [look_up.error] * 3

    async def test_does_not_fail_the_next(self, loader: BatchLoader[str, int], look_up: LookUp) -> None:
        look_up.error = ValueError("no luck")
        look_up.let_go.set()
        with pytest.raises(ValueError, match="no luck"):
            await loader.load("a")
        look_up.error = None
        assert await loader.load("a", share_in_flight=True) == 2

    async def test_a_key_without_an_answer_fails_all_rather_than_hang(self, loader: BatchLoader[str, int]) -> None:
        loader = BatchLoader(look_up := LookUp())
        look_up.let_go.set()
        answers = await asyncio.gather(*(loader.load(key) for key in ("a", "forgotten")), return_exceptions=True)
        assert [type(answer) for answer in answers] == [KeyError, KeyError]

    async def test_one_that_is_cancelled_cancels_who_waits_for_it(
        self, loader: BatchLoader[str, int], look_up: LookUp
    ) -> None:
        """As at the end of an event loop."""
        waiting = asyncio.create_task(loader.load("a"))
        await a_turn()
        [task] = loader._tasks
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting


class TestAsManyAtOnceAsMayBe:
    async def test_what_comes_meanwhile_goes_together_into_the_next(self, look_up: LookUp) -> None:
        loader = BatchLoader(look_up, max_concurrent=1)
        loads = []
        for key in "abcb":
            loads.append(asyncio.create_task(loader.load(key)))
            await a_turn()
        assert look_up.wanted == [["a"]]
        look_up.let_go.set()
        assert await asyncio.gather(*loads) == [1, 2, 2, 2]
        assert look_up.wanted == [["a"], ["b", "c"]]

    async def test_nobody_waits_where_there_is_room(self, look_up: LookUp) -> None:
        loader = BatchLoader(look_up, max_concurrent=2)
        loads = []
        for key in "ab":
            loads.append(asyncio.create_task(loader.load(key)))
            await a_turn()
        assert look_up.wanted == [["a"], ["b"]]
        look_up.let_go.set()
        await asyncio.gather(*loads)

    async def test_what_is_full_does_not_wait(self, look_up: LookUp) -> None:
        loader = BatchLoader(look_up, max_concurrent=1, max_batch=2)
        loading = asyncio.create_task(loader.load_many("abcde"))
        await a_turn()
        assert look_up.wanted == [["a", "b"], ["c", "d"]]
        look_up.let_go.set()
        assert await loading == {"a": 1, "b": 1, "c": 2, "d": 2, "e": 3}

    async def test_those_who_gave_up_waiting_are_not_looked_up(self, look_up: LookUp) -> None:
        loader = BatchLoader(look_up, max_concurrent=1)
        first, leaving = (asyncio.create_task(loader.load(key)) for key in "ab")
        await a_turn()
        leaving.cancel()
        look_up.let_go.set()
        await first
        assert await loader.load("c") == 2
        assert "b" not in [key for keys in look_up.wanted[1:] for key in keys]

    async def test_the_next_begins_where_the_last_one_was_left_by_all(self, look_up: LookUp) -> None:
        loader = BatchLoader(look_up, max_concurrent=1)
        leaving = asyncio.create_task(loader.load("a"))
        await a_turn()
        staying = asyncio.create_task(loader.load("b"))
        await a_turn()
        leaving.cancel()
        await a_turn()
        look_up.let_go.set()
        assert await staying == 2


class TestTurnsWithoutAPause:
    async def test_bring_together_who_comes_in_each_of_them(self, look_up: LookUp) -> None:
        loader = BatchLoader(look_up, idle_turns=10)
        look_up.let_go.set()
        loads = []
        for key in "abc":
            loads.append(asyncio.create_task(loader.load(key)))
            await a_turn()
        assert look_up.wanted == []
        assert await asyncio.gather(*loads) == [1, 1, 1]
        assert look_up.wanted == [["a", "b", "c"]]

    async def test_keep_nobody_waiting_where_callers_never_stop_coming(self, look_up: LookUp) -> None:
        loader = BatchLoader(look_up, idle_turns=10)
        look_up.let_go.set()
        loads = []
        async with patience("somebody is looked up"):
            while not look_up.wanted:
                loads.append(asyncio.create_task(loader.load("a")))
                await asyncio.sleep(0)
            await asyncio.gather(*loads)

    async def test_are_few_for_who_asks_alone(self, look_up: LookUp) -> None:
        loader = BatchLoader(look_up, idle_turns=10)
        loading = asyncio.create_task(loader.load("a"))
        turns = 0
        while not look_up.wanted:
            turns += 1
            await asyncio.sleep(0)
        assert turns <= 13
        look_up.let_go.set()
        assert await loading == 1


class TestTheContextOfALookUp:
    async def test_is_no_callers(self) -> None:
        caller: ContextVar[str] = ContextVar("caller", default="nobody")

        async def look_up(keys: Collection[str]) -> Mapping[str, str]:
            return dict.fromkeys(keys, caller.get())

        loader = BatchLoader(look_up)
        caller.set("the first one")
        assert await loader.load("a") == "nobody"


class TestAFault:
    async def test_of_one_key_is_not_the_others(self) -> None:
        wanted = []

        async def look_up(keys: Collection[str]) -> Mapping[str, str]:
            wanted.append(list(keys))
            if "bad" in keys:
                raise ValueError("no luck")
            return dict.fromkeys(keys, "good")

        loader = WriteBatcher(look_up, isolate_errors=(ValueError,))
        answers = await asyncio.gather(*(loader.load(key) for key in ("a", "bad", "c")), return_exceptions=True)
        assert [str(answer) for answer in answers] == ["good", "no luck", "good"]
        assert wanted == [["a", "bad", "c"], ["a"], ["bad"], ["c"]]

    async def test_of_all_is_met_once(self, look_up: LookUp) -> None:
        look_up.error = OSError("away")
        look_up.let_go.set()
        loader = WriteBatcher(look_up, isolate_errors=(ValueError,))
        answers = await asyncio.gather(*(loader.load(key) for key in "ab"), return_exceptions=True)
        assert answers == [look_up.error] * 2
        assert look_up.wanted == [["a", "b"]]


class TestWhatGoesToTheEnd:
    async def test_is_not_cancelled_by_who_gives_up(self) -> None:
        going_on = asyncio.Event()
        done: list[str] = []

        async def write(keys: Collection[str]) -> Mapping[str, None]:
            await going_on.wait()
            done.extend(keys)
            return dict.fromkeys(keys)

        loader = WriteBatcher(write)
        leaving = asyncio.create_task(loader.load("a"))
        await a_turn()
        leaving.cancel()
        await a_turn()
        closing = asyncio.create_task(loader.close())
        await a_turn()
        assert not closing.done()
        going_on.set()
        await closing
        assert done == ["a"]


class TestEqualQuestions:
    async def test_that_wait_at_the_same_time_are_asked_once(self) -> None:
        asked = []

        async def ask(question: str) -> int:
            asked.append(question)
            number = len(asked)
            await asyncio.sleep(0)
            return number

        flight = SingleFlight(ask)
        assert await asyncio.gather(*(flight.load(question) for question in "aabaa")) == [1, 1, 2, 1, 1]
        assert asked == ["a", "b"]
        assert flight._loaders == {}

    async def test_that_come_later_get_no_older_answer(self) -> None:
        let_go, asked = asyncio.Event(), []

        async def ask(question: str) -> int:
            asked.append(question)
            number = len(asked)
            await let_go.wait()
            return number

        flight = SingleFlight(ask)
        loads = []
        for _ in range(4):
            loads.append(asyncio.create_task(flight.load("a")))
            await a_turn()
        let_go.set()
        assert await asyncio.gather(*loads) == [1, 2, 3, 3]

    async def test_different_ones_do_not_wait_for_each_other(self) -> None:
        never = asyncio.Event()

        async def ask(question: str) -> str:
            if question == "slow":
                await never.wait()
            return question

        flight = SingleFlight(ask)
        slow = asyncio.create_task(flight.load("slow"))
        assert await flight.load("quick") == "quick"
        slow.cancel()
        await a_turn()
        assert flight._loaders == {}

    async def test_an_error_is_told_to_all_who_asked(self) -> None:
        async def ask(_: str) -> int:
            raise ValueError("no luck")

        flight = SingleFlight(ask)
        answers = await asyncio.gather(*(flight.load("a") for _ in range(2)), return_exceptions=True)
        assert [str(answer) for answer in answers] == ["no luck"] * 2
        assert flight._loaders == {}
