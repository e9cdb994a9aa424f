"""The order of deliveries does not hang on the order of tasks."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from book_runtime.broker.amqp import inbox as inbox_module
from book_runtime.broker.amqp.inbox import Inbox
from support.waiting import patiently


def delivery(tag: int) -> Any:
    return SimpleNamespace(delivery_tag=tag)


class TestInbox:
    async def test_gives_everything_that_has_arrived_in_order(self) -> None:
        inbox: Inbox[Any] = Inbox(200)
        for tag in (2, 1, 3):
            await inbox.put(delivery(tag))
        assert [each.delivery_tag for each in await inbox.take()] == [1, 2, 3]

    async def test_does_not_go_past_a_gap(self) -> None:
        inbox: Inbox[Any] = Inbox(200)
        for tag in (1, 3):
            await inbox.put(delivery(tag))
        assert [each.delivery_tag for each in await inbox.take()] == [1]
        taking = asyncio.create_task(inbox.take())
        await asyncio.sleep(0)
        assert not taking.done()
        await inbox.put(delivery(2))
        assert [each.delivery_tag for each in await taking] == [2, 3]

    async def test_gives_nothing_when_it_is_closed(self) -> None:
        inbox: Inbox[Any] = Inbox(200)
        taking = asyncio.create_task(inbox.take())
        await asyncio.sleep(0)
        await inbox.put(delivery(1))
        inbox.close()
        assert await taking == []

    async def test_keeps_the_first_reason_for_closing(self) -> None:
        inbox: Inbox[Any] = Inbox(200)
        inbox.close()
        inbox.close(ConnectionError("later"))
        assert inbox.reason is None

    async def test_a_pause_ends_when_it_closes(self) -> None:
        inbox: Inbox[Any] = Inbox(200)
        assert not await inbox.closes_within(0.01)
        pausing = asyncio.create_task(inbox.closes_within(3_600))
        await asyncio.sleep(0)
        inbox.close()
        assert await patiently(pausing, "the pause ends")


class TestUnderLoad:
    async def test_a_batch_gathers_after_a_large_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(inbox_module, "_BUSY_BATCH_SECONDS", 3_600)
        inbox = await self.a_large_batch_was_taken_of(Inbox(2))
        taking = asyncio.create_task(inbox.take())
        for tag in (6, 7):
            for _ in range(5):
                await asyncio.sleep(0)
            assert not taking.done()
            await inbox.put(delivery(tag))
        assert [each.delivery_tag for each in await patiently(taking, "no more can join")] == [6, 7]

    async def test_a_batch_gathers_for_a_moment_only(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(inbox_module, "_BUSY_BATCH_SECONDS", 0.05)
        began = time.monotonic()
        inbox = await self.a_large_batch_was_taken_of(Inbox(200))
        await inbox.put(delivery(6))
        assert [each.delivery_tag for each in await patiently(inbox.take(), "the moment is over")] == [6]
        assert time.monotonic() - began >= 0.049

    async def test_a_batch_does_not_wait_after_a_small_one(self) -> None:
        inbox: Inbox[Any] = Inbox(200)
        for tag in (1, 2):
            await inbox.put(delivery(tag))
            async with self.not_waiting():
                assert [each.delivery_tag for each in await inbox.take()] == [tag]

    async def test_a_batch_does_not_wait_when_no_more_will_come(self) -> None:
        inbox = await self.a_large_batch_was_taken_of(Inbox(5))
        for tag in range(6, 11):
            await inbox.put(delivery(tag))
        async with self.not_waiting():
            assert len(await inbox.take()) == 5

    async def test_a_batch_does_not_wait_when_it_is_closed(self) -> None:
        inbox = await self.a_large_batch_was_taken_of(Inbox(200))
        await inbox.put(delivery(6))
        inbox.close()
        async with self.not_waiting():
            assert await inbox.take() == []

    @staticmethod
    async def a_large_batch_was_taken_of(inbox: Inbox[Any]) -> Inbox[Any]:
        for tag in range(1, 6):
            await inbox.put(delivery(tag))
        assert len(await inbox.take()) == 5
        return inbox

    @staticmethod
    @asynccontextmanager
    async def not_waiting() -> AsyncIterator[None]:
        """Fails where the block sleeps: what it waits for has to be there at once."""
        slept = False

        def tell() -> None:
            nonlocal slept
            slept = True

        asyncio.get_running_loop().call_soon(tell)
        yield
        assert not slept
