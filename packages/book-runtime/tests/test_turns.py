import asyncio
from collections.abc import Hashable

import pytest
from book_runtime.turns import NoTurnLeft, Turns


class Room:
    """Where those who are let in stay until they are told to go."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self.inside: list[Hashable] = []
        self._doors: dict[Hashable, asyncio.Event] = {}

    async def enter(self, whose: Hashable, name: Hashable) -> "asyncio.Task[None]":
        """Somebody who asks to be let in, and has been by now, or waits."""
        self._doors[name] = asyncio.Event()
        task = asyncio.create_task(self._stay(whose, name))
        await settled()
        return task

    async def leave(self, name: Hashable) -> None:
        self._doors[name].set()
        await settled()

    async def _stay(self, whose: Hashable, name: Hashable) -> None:
        async with self._turns.taken_by(whose):
            self.inside.append(name)
            await self._doors[name].wait()
            self.inside.remove(name)


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class TestTurns:
    @pytest.fixture
    def room(self) -> Room:
        return Room(Turns(1, waiting=6, waiting_each=3))

    async def test_go_round_among_those_who_wait(self, room: Room) -> None:
        for name in ("a1", "a2", "a3", "b1", "c1"):
            await room.enter(name[0], name)
        order = []
        while room.inside:
            order += room.inside
            await room.leave(room.inside[0])
        assert order == ["a1", "a2", "b1", "c1", "a3"]

    async def test_let_so_many_in_at_a_time(self) -> None:
        room = Room(Turns(2, waiting=6, waiting_each=6))
        for name in ("a1", "a2", "a3"):
            await room.enter("a", name)
        assert room.inside == ["a1", "a2"]
        await room.leave("a1")
        assert room.inside == ["a2", "a3"]
        for name in ("a2", "a3"):
            await room.leave(name)
        await room.enter("a", "a4")
        await room.enter("a", "a5")
        assert room.inside == ["a4", "a5"]

    async def test_are_refused_to_who_has_as_many_waiting_as_one_may(self, room: Room) -> None:
        tasks = [await room.enter("a", f"a{n}") for n in range(5)]
        with pytest.raises(NoTurnLeft):
            await tasks[4]
        other = await room.enter("b", "b1")
        assert not other.done()
        await room.leave("a0")
        assert room.inside == ["a1"]
        await room.leave("a1")
        assert room.inside == ["b1"]
        for task in (*tasks, other):
            task.cancel()

    async def test_are_refused_to_all_when_as_many_wait_as_may(self, room: Room) -> None:
        tasks = [await room.enter(name, name) for name in "abcdefgh"]
        with pytest.raises(NoTurnLeft):
            await tasks[-1]
        assert [task.done() for task in tasks] == [False] * 7 + [True]
        for task in tasks:
            task.cancel()

    async def test_go_on_to_the_next_when_somebody_gives_up_waiting(self, room: Room) -> None:
        tasks = [await room.enter(name[0], name) for name in ("a1", "b1", "b2", "c1")]
        tasks[1].cancel()
        tasks[3].cancel()
        await settled()
        await room.leave("a1")
        assert room.inside == ["b2"]
        await room.leave("b2")
        await room.enter("d", "d1")
        assert room.inside == ["d1"]
        await room.leave("d1")
        assert room._turns._room == 6
        assert not room._turns._queues

    async def test_are_not_lost_by_who_gives_up_just_as_it_comes(self, room: Room) -> None:
        await room.enter("a", "a1")
        waiting = await room.enter("b", "b1")
        room._doors["a1"].set()
        # Let in, and not gone on yet.
        while not waiting.done() and room._turns._queues:
            await asyncio.sleep(0)
        waiting.cancel()
        await settled()
        await room.enter("c", "c1")
        assert room.inside == ["c1"]

    async def test_are_free_again_after_an_error(self) -> None:
        turns = Turns(1, waiting=0, waiting_each=0)

        async def fail() -> None:
            async with turns.taken_by("a"):
                raise KeyError

        for _ in range(2):
            with pytest.raises(KeyError):
                await fail()
