"""The relay: claim, publish, delete."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Final

import structlog
from book_contracts.events import EXCHANGE
from book_db.errors import DatabaseUnavailable
from book_db.events.outbox import Outbox, OutboxEvent, OutboxLease
from book_runtime import telemetry
from book_runtime.broker.messages import Message
from book_runtime.broker.ports import NotConfirmed, Publisher
from book_runtime.outage import Outage, Reason
from book_runtime.tasks import first_of
from opentelemetry.trace import SpanKind
from prometheus_client import Counter, Gauge

from rest_api.relay import backlog, heartbeat
from rest_api.relay.events import message_of

_log = structlog.get_logger(__name__)

_RELAYED = Counter("colophon_outbox_relayed", "Events that the broker has confirmed")
_LEADING = Gauge("colophon_outbox_leading", "1 while this relay is the active one")

_BATCH_EVENTS: Final = 500
_POLL_SECONDS: Final = 1.0
"""The relay looks by itself, should a notification have been lost."""

_RETRY_SECONDS_MIN: Final = 0.1
_RETRY_SECONDS_MAX: Final = 1.0
"""Between attempts while the broker does not confirm: so long after a queue is bound the events are in it."""


class Relay:
    """Brings every event of the outbox to the broker, in order; of several relays, one at a time."""

    def __init__(self, outbox: Outbox, publisher: Publisher) -> None:
        self._outbox = outbox
        self._publisher = publisher
        self._outage = Outage(_log, "the publishing of events", "they wait in the outbox")

    async def run(self) -> None:
        """Relays until it is cancelled. A database or a broker that is away is waited for."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._renew_lease())
            tasks.create_task(backlog.watch(self._outbox))

    async def _renew_lease(self) -> None:
        while True:
            try:
                async with AsyncExitStack() as leasing:
                    async with heartbeat.keep_beating():
                        await self._publisher.ready()
                        lease = await leasing.enter_async_context(self._outbox.acquire_lease())
                    await self._relay(lease)
            except DatabaseUnavailable:
                # It has said that it is out.
                await asyncio.sleep(_POLL_SECONDS)

    async def _relay(self, lease: OutboxLease) -> None:
        """Relays until the broker is away: it may be so for this relay alone."""
        # In an outage the lease may change hands again and again.
        if not self._outage.is_on:
            _log.info("relaying events")
        with _LEADING.track_inprogress():
            await first_of(self._relay_until_the_broker_is_away(lease), self._sit_out_alarms(lease))

    async def _relay_until_the_broker_is_away(self, lease: OutboxLease) -> None:
        pause = _RETRY_SECONDS_MIN
        while True:
            heartbeat.beat()
            try:
                relayed = await relay_once(lease, self._publisher)
            except NotConfirmed as error:
                self._outage.begin(Reason(error.reason, kind=self._publisher.is_connected))
                if not self._publisher.is_connected:
                    return
                await asyncio.sleep(pause)
                pause = min(pause * 2, _RETRY_SECONDS_MAX)
            else:
                self._outage.end()
                pause = _RETRY_SECONDS_MIN
                if not relayed:
                    await lease.wait(_POLL_SECONDS)

    async def _sit_out_alarms(self, lease: OutboxLease) -> None:
        """Keeps the lease, and the heartbeat, while an alarm of the broker makes a publish wait, perhaps for hours."""
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            if self._publisher.is_blocked:
                heartbeat.beat()
                await lease.keep()


async def relay_once(lease: OutboxLease, publisher: Publisher) -> int:
    """Brings one batch to the broker and returns how many events it had.

    An event that can never be published is parked, so that it does not stand in the way of the others. Raises
    NotConfirmed, or DatabaseUnavailable, and then everything else of the batch is still in the outbox.
    """
    claimed = await lease.claim(_BATCH_EVENTS)
    messages, hopeless = _messages_of(claimed)
    began = telemetry.began()
    try:
        await publisher.publish(messages)
    except NotConfirmed as error:
        hopeless |= {event_id: error.reasons[event_id] for event_id in error.hopeless}
        if error.ids - error.hopeless:
            await _park(lease, claimed, hopeless)
            raise
    await _park(lease, claimed, hopeless)
    published = [each for each in claimed if str(each.event.id) not in hopeless] if hopeless else claimed
    causes = (telemetry.Cause(str(each.event.id), each.traceparent) for each in published)
    telemetry.record_spans(f"publish {EXCHANGE}", SpanKind.PRODUCER, causes, began)
    # Confirm before deleting: a crash here repeats, never loses.
    await lease.delete_published(published)
    _RELAYED.inc(len(published))
    return len(claimed)


def _messages_of(claimed: Sequence[OutboxEvent]) -> tuple[list[Message], dict[str, str]]:
    """The messages, and for the ids of events of which none can be made why."""
    messages: list[Message] = []
    hopeless: dict[str, str] = {}
    for each in claimed:
        try:
            messages.append(message_of(each))
        except (ValueError, TypeError) as error:
            hopeless[str(each.event.id)] = repr(error)
    return messages, hopeless


async def _park(lease: OutboxLease, claimed: Sequence[OutboxEvent], hopeless: Mapping[str, str]) -> None:
    if not hopeless:
        return
    for each in claimed:
        event_id = str(each.event.id)
        reason = hopeless.get(event_id)
        if reason is not None:
            await lease.park(each, reason)
            _log.error("parked an event that cannot be published", event_id=event_id, reason=reason)
