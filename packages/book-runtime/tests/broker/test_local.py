"""What is particular to the broker of one process."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from book_runtime.broker.local import LocalBroker
from book_runtime.broker.messages import Message
from book_runtime.broker.ports import NotConfirmed, TryAgainLater, Undeliverable
from structlog.testing import capture_logs
from support.waiting import patiently


def refusing(number: int, error: Exception) -> Callable[[Sequence[Message]], Any]:
    """Raises the error when the message with this number is in the batch."""

    async def refuse(batch: Sequence[Message]) -> None:
        if any(message.id == f"event-{number}" for message in batch):
            raise error

    return refuse


class TestLocalBroker:
    async def test_publish_returns_when_the_handler_has_finished(
        self, handler: Any, a_message: Callable[..., Message]
    ) -> None:
        broker = LocalBroker()
        handler.first = lambda _: asyncio.sleep(0.01)
        async with broker.consuming(handler):
            await broker.publish([a_message(1)])
            assert handler.ids == ["event-1"]

    @pytest.mark.parametrize(
        ("error", "reason", "is_logged"),
        [
            # Whoever publishes says so, once for as long as it lasts.
            pytest.param(TryAgainLater("the database is away"), "the database is away", False, id="one-that-passes"),
            pytest.param(ValueError("a bug"), "ValueError('a bug')", True, id="an-error-nobody-knows"),
        ],
    )
    async def test_what_stands_behind_a_failed_message_does_not_overtake_it(
        self, handler: Any, messages: Callable[[int], list[Message]], error: Exception, reason: str, is_logged: bool
    ) -> None:
        broker = LocalBroker()
        handler.first = refusing(1, error)
        with capture_logs() as logs:
            async with broker.consuming(handler):
                with pytest.raises(NotConfirmed) as refused:
                    await broker.publish(messages(4))
        assert any(line["log_level"] == "warning" for line in logs) == is_logged
        assert refused.value.reasons == {
            "event-1": reason,
            "event-2": "waits behind event-1",
            "event-3": "waits behind event-1",
        }
        assert handler.ids == ["event-0"]

    async def test_only_the_undeliverable_message_is_not_confirmed(
        self, handler: Any, messages: Callable[[int], list[Message]]
    ) -> None:
        broker = LocalBroker()
        handler.first = refusing(1, Undeliverable("no such kind of event"))
        async with broker.consuming(handler):
            with pytest.raises(NotConfirmed, match="1 of the messages were not confirmed") as refused:
                await broker.publish(messages(4))
        assert refused.value.reasons == {"event-1": "no such kind of event"}
        assert handler.ids == ["event-0", "event-2", "event-3"]

    async def test_ready_waits_for_a_consumer(self, handler: Any) -> None:
        broker = LocalBroker()
        waiting = asyncio.create_task(broker.ready())
        await asyncio.sleep(0)
        assert not waiting.done()
        async with broker.consuming(handler):
            await patiently(waiting, "the publisher is ready")

    async def test_publishers_take_turns(self, handler: Any, a_message: Callable[..., Message]) -> None:
        broker = LocalBroker()
        handler.first = lambda _: asyncio.sleep(0.01)
        async with broker.consuming(handler):
            await asyncio.gather(*(broker.publish([a_message(number)]) for number in range(5)))
        assert handler.ids == [f"event-{number}" for number in range(5)]
