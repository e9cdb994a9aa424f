"""Tasks that run beside others, and their end."""

import asyncio

import pytest
from book_runtime.tasks import OwnedTasks, background, end, first_of
from support.waiting import patience


async def wait_for_good() -> None:
    await asyncio.Event().wait()


async def end_slowly() -> None:
    try:
        await wait_for_good()
    finally:
        await asyncio.sleep(3_600)


async def fail() -> None:
    raise ZeroDivisionError


class TestBackground:
    async def test_the_work_ends_with_the_block(self) -> None:
        steps: list[str] = []

        async def work() -> None:
            steps.append("begins")
            try:
                await wait_for_good()
            finally:
                steps.append("ends")

        async with background(work()):
            await asyncio.sleep(0)
            steps.append("block")
        assert steps == ["begins", "block", "ends"]

    async def test_what_the_work_raises_is_raised_at_the_end_of_the_block(self) -> None:
        steps: list[str] = []

        async def go_on_beside_it() -> None:
            async with background(fail()):
                await asyncio.sleep(0)
                steps.append("block")

        with pytest.raises(ZeroDivisionError):
            await go_on_beside_it()
        assert steps == ["block"]

    async def test_what_the_block_raises_is_raised(self) -> None:
        with pytest.raises(KeyError):
            async with background(wait_for_good()):
                raise KeyError

    @pytest.mark.parametrize("turns", range(8))
    async def test_a_cancellation_is_never_taken_for_that_of_the_work(self, turns: int) -> None:
        async def go_on_after_it() -> None:
            async with background(wait_for_good()):
                await asyncio.sleep(0)
            await wait_for_good()

        task = asyncio.create_task(go_on_after_it())
        # After so many turns of the loop it is somewhere else each time, once at the end of the block.
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        async with patience("the task ends"):
            await asyncio.wait([task])
        assert task.cancelled()


class TestEnd:
    async def test_one_that_has_ended_well_is_left_alone(self) -> None:
        task = asyncio.create_task(asyncio.sleep(0))
        await task
        await end(task)
        assert not task.cancelled()

    async def test_does_not_hold_up_a_caller_that_is_cancelled(self) -> None:
        task = asyncio.create_task(end_slowly())
        await asyncio.sleep(0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await end(task)
        task.cancel()
        async with patience("the task ends"):
            await asyncio.wait([task])
        assert task.cancelled()


class TestFirstOf:
    async def test_ends_all_when_one_ends(self) -> None:
        steps: list[str] = []

        async def work() -> None:
            try:
                await wait_for_good()
            finally:
                steps.append("ended")

        await first_of(work(), asyncio.sleep(0), work())
        assert steps == ["ended", "ended"]

    async def test_raises_what_one_of_them_does(self) -> None:
        with pytest.raises(ZeroDivisionError):
            await first_of(wait_for_good(), fail())

    async def test_raises_what_another_does_on_its_way_out(self) -> None:
        async def fail_at_the_end() -> None:
            try:
                await wait_for_good()
            finally:
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await first_of(fail_at_the_end(), asyncio.sleep(0))

    async def test_ends_all_when_it_is_cancelled(self) -> None:
        works = [asyncio.Event(), asyncio.Event()]

        async def work(ended: asyncio.Event) -> None:
            try:
                await wait_for_good()
            finally:
                ended.set()

        task = asyncio.create_task(first_of(*map(work, works)))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert all(work.is_set() for work in works)


class TestOwnedTasks:
    async def test_are_waited_for_with_those_that_they_start(self) -> None:
        tasks, ended = OwnedTasks(), []

        async def work(left: int) -> None:
            await asyncio.sleep(0)
            if left:
                tasks.spawn(work(left - 1))
            ended.append(left)

        tasks.spawn(work(2))
        assert len(tasks) == 1
        await tasks.drain()
        assert ended == [2, 1, 0]
        assert len(tasks) == 0

    async def test_give_what_the_work_gives(self) -> None:
        async def work() -> int:
            return 7

        assert await OwnedTasks().spawn(work()) == 7

    async def test_that_hang_are_cancelled_when_their_time_is_over(self) -> None:
        tasks = OwnedTasks()
        hanging = tasks.spawn(wait_for_good())
        await tasks.drain(0.01)
        assert hanging.cancelled()

    async def test_none_at_all_need_no_waiting(self) -> None:
        async with patience("none have ended"):
            await OwnedTasks().drain()
