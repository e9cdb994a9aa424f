"""The order of deliveries does not hang on the order of tasks."""

import asyncio
from types import SimpleNamespace
from typing import Any

from book_runtime.broker.amqp.inbox import Inbox


def delivery(tag: int) -> Any:
    return SimpleNamespace(delivery_tag=tag)


class TestInbox:
    async def test_gives_everything_that_has_arrived_in_order(self) -> None:
        inbox: Inbox[Any] = Inbox()
        for tag in (2, 1, 3):
            await inbox.put(delivery(tag))
        assert [each.delivery_tag for each in await inbox.take()] == [1, 2, 3]

    async def test_does_not_go_past_a_gap(self) -> None:
        inbox: Inbox[Any] = Inbox()
        for tag in (1, 3):
            await inbox.put(delivery(tag))
        assert [each.delivery_tag for each in await inbox.take()] == [1]
        taking = asyncio.create_task(inbox.take())
        await asyncio.sleep(0)
        assert not taking.done()
        await inbox.put(delivery(2))
        assert [each.delivery_tag for each in await taking] == [2, 3]

    async def test_gives_nothing_when_it_is_closed(self) -> None:
        inbox: Inbox[Any] = Inbox()
        taking = asyncio.create_task(inbox.take())
        await asyncio.sleep(0)
        await inbox.put(delivery(1))
        inbox.close()
        assert await taking == []

    async def test_keeps_the_first_reason_for_closing(self) -> None:
        inbox: Inbox[Any] = Inbox()
        inbox.close()
        inbox.close(ConnectionError("later"))
        assert inbox.reason is None

    async def test_a_pause_ends_when_it_closes(self) -> None:
        inbox: Inbox[Any] = Inbox()
        assert not await inbox.closes_within(0.01)
        pausing = asyncio.create_task(inbox.closes_within(60))
        await asyncio.sleep(0)
        inbox.close()
        assert await asyncio.wait_for(pausing, 1)
