"""Settles deliveries: acknowledges, retries or dead-letters them."""

from collections.abc import Sequence
from typing import Final

import structlog
from aio_pika.exceptions import DeliveryError
from aiormq.abc import DeliveredMessage

from book_runtime.broker import metrics
from book_runtime.broker.amqp.alarm import Alarm
from book_runtime.broker.amqp.envelope import REASON, delivery_count, from_amqp, to_dead_letter
from book_runtime.broker.amqp.inbox import Inbox
from book_runtime.broker.amqp.pauses import Pauses
from book_runtime.broker.amqp.reading import Content, content_of
from book_runtime.broker.amqp.sending import Sender
from book_runtime.broker.amqp.topology import Topology
from book_runtime.broker.messages import Message
from book_runtime.broker.ports import Handler, TryAgainLater, Undeliverable
from book_runtime.broker.tracebacks import traceback_of
from book_runtime.outage import Outage, Reason

logger = structlog.get_logger(__name__)

_CONFIRM_TIMEOUT_SECONDS: Final = 10.0
"""Of a dead letter."""


class Outages:
    """The outages of a consumer, which may last over several sessions."""

    def __init__(self, queue: str) -> None:
        log = logger.bind(queue=queue)
        self.handling = Outage(log, "the handling of messages", "they wait, and those behind them in the queue")
        self.dead_letters = Outage(log, "the queue of dead letters", "what is to go there waits, and all behind it")


class SessionOver(Exception):
    """The session ended during a pause: its unsettled messages go back to the queue."""


class BatchSettler:
    """Settles the batches of one session, one after the other."""

    def __init__(
        self,
        handler: Handler,
        inbox: Inbox[DeliveredMessage],
        dead_letters: Sender,
        topology: Topology,
        *,
        alarm: Alarm,
        outages: Outages,
    ) -> None:
        self._handler = handler
        self._inbox = inbox
        self._dead_letters = dead_letters
        self._topology = topology
        self._alarm = alarm
        self._outages = outages
        self._log = logger.bind(queue=topology.queue)

    async def settle(self, batch: Sequence[DeliveredMessage]) -> None:
        """Handle the batch and acknowledge it; if it fails, find out which of its messages it was.

        Redelivered messages are handled one at a time. One of them may have crashed the process; in a batch each crash
        would bring all of them closer to the delivery limit.
        """
        redelivered = sum(1 for delivery in batch if delivery.redelivered)
        metrics.REDELIVERED.labels(self._topology.queue).inc(redelivered)
        if len(batch) == 1 or redelivered or not await self._handled_together(batch):
            for delivery in batch:
                await self._settle_alone(delivery)

    async def _handled_together(self, batch: Sequence[DeliveredMessage]) -> bool:
        try:
            await self._ask([from_amqp(_content_of(delivery)) for delivery in batch])
        except SessionOver:
            raise
        except Exception as error:  # noqa: BLE001 - the round that follows finds out what it was
            self._log.info(
                "a batch failed, trying its messages one at a time", size=len(batch), error=repr(error)[:200]
            )
            return False
        metrics.HANDLED.labels(self._topology.queue).inc(len(batch))
        await _acknowledge(batch[-1], multiple=True)
        return True

    async def _settle_alone(self, delivery: DeliveredMessage) -> None:
        content = _content_of(delivery)
        message = from_amqp(content)
        pauses = Pauses()
        failures = 0
        while not await self._handled_or_dead_lettered(content, message, failures):
            failures += 1
            await self._pause(pauses)
        await _acknowledge(delivery)

    async def _handled_or_dead_lettered(self, content: Content, message: Message, failures: int) -> bool:
        try:
            await self._ask([message])
        except SessionOver:
            raise
        except Undeliverable as error:
            await self._dead_letter(content, message, error.reason, error)
        except Exception as error:  # noqa: BLE001 - tried again, and in the end dead-lettered with its traceback
            if not self._is_hopeless(content, failures + 1):
                self._log.warning(
                    "a message was not handled, trying again", message_id=message.id, exception=traceback_of(error)
                )
                return False
            reason = f"failed {failures + 1} times, the last time with {error!r}"
            await self._dead_letter(content, message, reason, error)
        else:
            metrics.HANDLED.labels(self._topology.queue).inc()
        return True

    def _is_hopeless(self, content: Content, failures: int) -> bool:
        deliveries = delivery_count(content) + failures
        return failures >= self._topology.attempts or deliveries >= self._topology.delivery_limit

    async def _ask(self, messages: Sequence[Message]) -> None:
        """Call the handler, and again as long as it raises `TryAgainLater`, which does not count as an attempt."""
        pauses = Pauses()
        while True:
            try:
                await self._handler(messages)
            except TryAgainLater as trouble:
                self._outages.handling.begin(trouble.reason)
                await self._pause(pauses)
            else:
                break
        self._outages.handling.end()

    async def _pause(self, pauses: Pauses) -> None:
        if await self._inbox.closes_within(pauses.next()):
            raise SessionOver

    async def _dead_letter(self, content: Content, message: Message, reason: str, error: Exception) -> None:
        """Publish it to the dead-letter exchange until that is confirmed: only then may it be acknowledged."""
        sender, body = self._dead_letters, content.body
        letter = to_dead_letter(content, queue=self._topology.queue, reason=reason, error=error, room=sender.room)
        pauses = Pauses()
        while True:
            # Each attempt during an alarm would become one more dead letter after it.
            await self._alarm.over()
            try:
                async with self._alarm.timeout(_CONFIRM_TIMEOUT_SECONDS):
                    await sender.send_alone(content.routing_key, letter, body)
            except (DeliveryError, TimeoutError) as refusal:
                self._outages.dead_letters.begin(Reason(f"{message.id}: {refusal!r}", type(refusal)))
                await self._pause(pauses)
            else:
                break
        self._outages.dead_letters.end()
        self._alarm.take_note_of_a_confirm()
        metrics.DEAD_LETTERED.labels(self._topology.queue).inc()
        self._log.error(
            "a message was dead-lettered",
            message_id=message.id,
            reason=letter.headers.read()[REASON],
            exception=traceback_of(error),
        )


def _content_of(delivery: DeliveredMessage) -> Content:
    return content_of(delivery.header.properties, delivery.body)


async def _acknowledge(delivery: DeliveredMessage, *, multiple: bool = False) -> None:
    assert delivery.delivery_tag, "a delivery has a number"
    await delivery.channel.basic_ack(delivery.delivery_tag, multiple=multiple)
