"""Consuming from a queue."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, cast

import aiormq
import structlog
from aio_pika.abc import AbstractConnection
from aiormq.abc import AbstractChannel as UnderlyingChannel
from aiormq.abc import DeliveredMessage

from book_runtime.broker.amqp.caution import Caution
from book_runtime.broker.amqp.inbox import Inbox
from book_runtime.broker.amqp.reconnecting import BrokerLost, ReconnectingConnection
from book_runtime.broker.amqp.sending import Sender
from book_runtime.broker.amqp.settling import BatchSettler, Outages, SessionOver
from book_runtime.broker.amqp.topology import Topology, declare
from book_runtime.broker.ports import AlreadyConsuming, Handler

logger = structlog.get_logger(__name__)

_DRAIN_SECONDS: Final = 10.0
"""For the handler to finish the batch in hand."""


class AmqpConsumer:
    """A `Consumer` of one queue.

    A batch is what has arrived while the batch before it was handled, so a single message does not wait for others and
    the batches grow with the load, up to `topology.prefetch`; after one of five or more, 10 ms are left for the next to
    gather. A batch is acknowledged when the handler has returned.

    Order holds because nothing is ever put back while the connection stands: a batch is handled before the next is
    looked at, and what fails is tried again in its place. When a connection breaks, the broker delivers again what was
    not acknowledged, in the old order and before anything newer.
    """

    def __init__(self, url: str, topology: Topology) -> None:
        self._url = url
        self._topology = topology
        self._caution = Caution(topology.queue, topology.prefetch)
        self._outages = Outages(topology.queue)
        self._session: _Session | None = None
        self._connection: ReconnectingConnection[_Session] | None = None

    @property
    def is_connected(self) -> bool:
        """Whether messages can arrive: connected, everything declared, consuming."""
        return self._connection is not None and self._connection.is_connected

    async def ready(self) -> None:
        """Return when messages can arrive. Call it inside the `consuming` block."""
        if self._connection is None:
            raise RuntimeError("ready() is for the inside of a consuming() block")
        await self._connection.wait_until_connected()

    @asynccontextmanager
    async def consuming(self, handler: Handler) -> AsyncIterator[None]:
        """Connect in the background and hand every message to the handler while the block runs.

        At the end of the block no further message is taken, the batch in hand is finished (within 10 seconds) and
        acknowledged, and the rest goes back to the queue.
        """
        if self._connection is not None:
            raise AlreadyConsuming
        use = partial(self._serve, handler)
        self._connection = ReconnectingConnection(
            self._url, role="consumer", name=self._topology.queue, set_up=self._set_up, use=use
        )
        self._connection.start()
        try:
            yield
        finally:
            await self._stop(self._connection)
            self._connection = None

    async def _stop(self, connection: "ReconnectingConnection[_Session]") -> None:
        if self._session is not None:
            self._session.inbox.close()
        await connection.stop(_DRAIN_SECONDS)

    async def _set_up(self, connection: AbstractConnection) -> "_Session":
        channel = await connection.channel(publisher_confirms=False)
        await declare(channel, self._topology)
        # A channel of its own: a dead letter that is refused must not take the deliveries with it.
        letters = await connection.channel(publisher_confirms=True, on_return_raises=True)
        underlying = cast(aiormq.Channel, await letters.get_underlay_channel())
        dead_letters = Sender(underlying, self._topology.dead_letter_exchange)
        session = _Session(await channel.get_underlay_channel(), self._topology, dead_letters)
        channel.close_callbacks.add(lambda _, cause: session.end(BrokerLost(cause)))
        letters.close_callbacks.add(lambda _, cause: session.end(BrokerLost(cause)))
        with self._caution.session():
            await session.consume(self._caution.prefetch)
        return session

    async def _serve(self, handler: Handler, session: "_Session") -> None:
        self._session = session
        try:
            with self._caution.session():
                await self._settle_all(handler, session)
        finally:
            self._session = None
        await session.give_back()

    async def _settle_all(self, handler: Handler, session: "_Session") -> None:
        assert self._connection is not None, "a session has a connection"
        settling = BatchSettler(
            handler,
            session.inbox,
            session.dead_letters,
            self._topology,
            alarm=self._connection.alarm,
            outages=self._outages,
        )
        try:
            while batch := await session.inbox.take():
                await settling.settle(batch)
                if self._caution.settled(len(batch)):
                    await session.consume_anew(self._caution.prefetch)
        except SessionOver:
            logger.info("a batch goes back to the queue", queue=self._topology.queue)
        if session.inbox.reason:
            raise session.inbox.reason


class _Session:
    def __init__(self, channel: UnderlyingChannel, topology: Topology, dead_letters: Sender) -> None:
        self.inbox: Inbox[DeliveredMessage] = Inbox(topology.prefetch)
        self.dead_letters = dead_letters
        self._channel = channel
        self._queue = topology.queue
        self._consumer_tag = ""
        channel.on_consumer_cancel_callbacks.add(lambda cancel: self.end(BrokerLost(cancel)))

    def end(self, cause: BrokerLost) -> None:
        """Nothing arrives any more, and nothing is confirmed."""
        self.inbox.close(cause)
        self.dead_letters.give_up(cause)

    async def consume(self, prefetch: int) -> None:
        """Have messages delivered, so many at a time."""
        await self._channel.basic_qos(prefetch_count=prefetch)
        # aio-pika's own consume has one more task and one more object for each delivery.
        consuming = await self._channel.basic_consume(self._queue, self.inbox.put)
        self._consumer_tag = consuming.consumer_tag or ""

    async def consume_anew(self, prefetch: int) -> None:
        """The same with another number, which a consumer keeps."""
        await self._channel.basic_cancel(self._consumer_tag)
        await self.consume(prefetch)

    async def give_back(self) -> None:
        """Take no more, and return what is not acknowledged.

        From RabbitMQ 4.3 on a nack does not count as a failed delivery, as closing the channel does.
        """
        await self._channel.basic_cancel(self._consumer_tag)
        await self._channel.basic_nack(0, multiple=True, requeue=True)
