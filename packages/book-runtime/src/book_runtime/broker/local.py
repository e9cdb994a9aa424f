"""The broker of one process: a publish is confirmed when the handler has finished."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import structlog

from book_runtime.broker import metrics
from book_runtime.broker.messages import Message
from book_runtime.broker.ports import (
    AlreadyConsuming,
    Handler,
    NotConfirmed,
    TryAgainLater,
    Undeliverable,
    refuse_repeated_ids,
)
from book_runtime.broker.tracebacks import traceback_of

logger = structlog.get_logger(__name__)

NAME: Final = "local"
"""The exchange and the queue in the metrics."""


class LocalBroker:
    """Publisher and consumer at once, with nothing between them that could keep a message.

    So the publisher keeps them: a message that the handler raised on is not confirmed, and neither are those behind it,
    which must not overtake it. Only one that is `Undeliverable` is left behind alone, without hope.
    """

    def __init__(self) -> None:
        self._handler: Handler | None = None
        self._consumer_is_there = asyncio.Event()
        self._turn = asyncio.Lock()

    @property
    def is_connected(self) -> bool:
        """Whether there is a handler."""
        return self._handler is not None

    @property
    def is_blocked(self) -> bool:
        """Never: it has nothing that could be full."""
        return False

    async def ready(self) -> None:
        """Return as soon as there is a handler."""
        await self._consumer_is_there.wait()

    async def publish(self, messages: Sequence[Message]) -> None:
        """Return when the handler has finished with every message, raise `NotConfirmed` for those it has not."""
        refuse_repeated_ids(messages)
        async with self._turn:
            metrics.PUBLISHED.labels(NAME).inc(len(messages))
            undeliverable: set[str] = set()
            reasons = await self._hand_over(messages, undeliverable)
        metrics.CONFIRMED.labels(NAME).inc(len(messages) - len(reasons))
        if reasons:
            raise NotConfirmed(reasons, hopeless=undeliverable)

    @asynccontextmanager
    async def consuming(self, handler: Handler) -> AsyncIterator[None]:
        """Hand every message to the handler while the block runs; the batch in hand is finished at its end."""
        if self._handler is not None:
            raise AlreadyConsuming
        self._handler = handler
        self._consumer_is_there.set()
        try:
            yield
        finally:
            self._consumer_is_there.clear()
            async with self._turn:
                self._handler = None

    async def _hand_over(self, messages: Sequence[Message], undeliverable: set[str]) -> dict[str, str]:
        """Why which messages were not handled."""
        if self._handler is None or not self._consumer_is_there.is_set():
            return {message.id: "nobody consumes" for message in messages}
        if not messages or await self._handled_together(self._handler, messages):
            return {}
        return await self._hand_over_one_at_a_time(self._handler, messages, undeliverable)

    async def _handled_together(self, handler: Handler, messages: Sequence[Message]) -> bool:
        try:
            await handler(messages)
        except Exception as error:  # noqa: BLE001 - the round that follows finds out what it was
            logger.debug(
                "a batch failed, trying its messages one at a time",
                size=len(messages),
                error=repr(error)[:200],
            )
            return False
        metrics.HANDLED.labels(NAME).inc(len(messages))
        return True

    async def _hand_over_one_at_a_time(
        self, handler: Handler, messages: Sequence[Message], undeliverable: set[str]
    ) -> dict[str, str]:
        reasons: dict[str, str] = {}
        for position, message in enumerate(messages):
            try:
                await handler([message])
            except Undeliverable as error:
                metrics.DEAD_LETTERED.labels(NAME).inc()
                logger.warning("a message cannot be handled", message_id=message.id, exception=traceback_of(error))
                reasons[message.id] = error.reason
                undeliverable.add(message.id)
            except Exception as error:  # noqa: BLE001 - the publisher is told, and keeps the message
                if isinstance(error, TryAgainLater):
                    reasons[message.id] = error.reason
                else:
                    logger.warning("a message was not handled", message_id=message.id, exception=traceback_of(error))
                    reasons[message.id] = repr(error)
                return reasons | {later.id: f"waits behind {message.id}" for later in messages[position + 1 :]}
            else:
                metrics.HANDLED.labels(NAME).inc()
        return reasons
