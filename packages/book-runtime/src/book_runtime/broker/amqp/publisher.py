"""Publishing to an exchange with confirms."""

import asyncio
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Final, Self, cast

import aiormq
from aio_pika.abc import AbstractChannel, AbstractConnection

from book_runtime.broker import metrics
from book_runtime.broker.amqp.alarm import Alarm
from book_runtime.broker.amqp.reconnecting import BrokerLost, NotConfirming, ReconnectingConnection
from book_runtime.broker.amqp.sending import UNSENDABLE, Sender
from book_runtime.broker.amqp.topology import declare_topic_exchange
from book_runtime.broker.messages import Message
from book_runtime.broker.ports import NotConfirmed, refuse_repeated_ids

_DRAIN_SECONDS: Final = 5.0


class AmqpPublisher:
    """A `Publisher` to one topic exchange.

    `async with AmqpPublisher(url, exchange) as publisher:` begins to connect and does not wait for it; it reconnects
    whenever the connection is lost.

    The messages of a batch are in flight together and written in order, so a queue gets them in order. When the broker
    has not confirmed a message of this session yet, or has refused the last one, the first message is sent alone and
    the others wait: a queue that is declared in that moment would otherwise get only the second half of a batch. A
    refusal in the middle of a batch (a routing key without a queue) does not hold up the messages behind it.

    While an alarm of the broker lasts, a publish waits, and its confirms may come late.
    """

    def __init__(self, url: str, exchange: str, *, confirm_timeout: float = 10.0, in_flight: int = 500) -> None:
        """`confirm_timeout`: seconds until a message counts as not confirmed, without those of an alarm. `in_flight`:
        how many messages wait for confirms at a time.
        """
        self._exchange_name = exchange
        self._confirm_timeout = confirm_timeout
        self._in_flight = in_flight
        self._turn = asyncio.Lock()
        self._session: _Session | None = None
        self._connection: ReconnectingConnection[_Session] = ReconnectingConnection(
            url, role="publisher", name=exchange, set_up=self._set_up, use=self._use
        )

    async def __aenter__(self) -> Self:
        self._connection.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._session is not None:
            self._session.end()
        await self._connection.stop(_DRAIN_SECONDS)

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection and the exchange is declared."""
        return self._connection.is_connected

    @property
    def is_blocked(self) -> bool:
        """Whether an alarm of the broker keeps it from taking messages."""
        return self._connection.alarm.is_on

    async def ready(self) -> None:
        """Return when there is a connection."""
        await self._connection.wait_until_connected()

    async def publish(self, messages: Sequence[Message]) -> None:
        """Publish in order, and return when the broker has confirmed every message: see `Publisher`."""
        refuse_repeated_ids(messages)
        async with self._turn:
            metrics.PUBLISHED.labels(self._exchange_name).inc(len(messages))
            unsendable: set[str] = set()
            reasons = await self._publish(messages, unsendable)
        metrics.CONFIRMED.labels(self._exchange_name).inc(len(messages) - len(reasons))
        if reasons:
            in_order = {message.id: reasons[message.id] for message in messages if message.id in reasons}
            raise NotConfirmed(in_order, hopeless=unsendable)

    async def _publish(self, messages: Sequence[Message], unsendable: set[str]) -> dict[str, str]:
        """The reasons by the ids of messages that were not confirmed."""
        session = self._session
        if session is None or not self._connection.is_connected:
            return {message.id: "not connected to the broker" for message in messages}
        return await session.publish(messages, unsendable)

    async def _set_up(self, connection: AbstractConnection) -> "_Session":
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        await declare_topic_exchange(channel, self._exchange_name)
        underlying = cast(aiormq.Channel, await channel.get_underlay_channel())
        sender = Sender(underlying, self._exchange_name)
        return _Session(channel, sender, self._connection.alarm, self._confirm_timeout, self._in_flight)

    async def _use(self, session: "_Session") -> None:
        self._session = session
        try:
            await session.over
        finally:
            self._session = None


class _Session:
    """One channel, from its opening until it is closed or does not confirm any more."""

    def __init__(
        self,
        channel: AbstractChannel,
        sender: Sender,
        alarm: Alarm,
        confirm_timeout: float,
        in_flight: int,
    ) -> None:
        self._sender = sender
        self._alarm = alarm
        self._confirm_timeout = confirm_timeout
        self._in_flight = in_flight
        self._trusted = False
        self._refused = False
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        channel.close_callbacks.add(lambda _, cause: self.end(BrokerLost(cause)))

    def end(self, cause: BrokerLost | None = None) -> None:
        """Publish no more on this channel."""
        if self.over.done():
            return
        if cause:
            self.over.set_exception(cause)
        else:
            self.over.set_result(None)
        self._sender.give_up(cause or BrokerLost(None))

    async def publish(self, messages: Sequence[Message], unsendable: set[str]) -> dict[str, str]:
        """Why which messages were not confirmed. Those that AMQP cannot carry are put into ``unsendable`` as well."""
        reasons: dict[str, str] = {}
        position = 0
        while not self._trusted and position < len(messages):
            await self._publish_all(messages[position : position + 1], reasons, unsendable)
            position += 1
            if self._refused:
                waiting = f"waits behind {messages[position - 1].id}"
                return reasons | {message.id: waiting for message in messages[position:]}
        await self._publish_all(messages[position:], reasons, unsendable)
        return reasons

    async def _publish_all(self, messages: Sequence[Message], reasons: dict[str, str], unsendable: set[str]) -> None:
        """In order, and so many at once as may be in flight."""
        self._refused = False
        frames = list(self._encode(messages, reasons, unsendable).items())
        for start in range(0, len(frames), self._in_flight):
            refusals = await self._refusals(dict(frames[start : start + self._in_flight]))
            reasons |= {message_id: repr(error) for message_id, error in refusals.items()}
            self._refused |= bool(refusals)
            self._trusted = not self._refused

    def _encode(self, messages: Sequence[Message], reasons: dict[str, str], unsendable: set[str]) -> dict[str, bytes]:
        frames: dict[str, bytes] = {}
        for message in messages:
            try:
                frames[message.id] = self._sender.encode(message)
            except UNSENDABLE as error:
                reasons[message.id] = repr(error)  # Never sent: it says nothing about the broker.
                unsendable.add(message.id)
        return frames

    async def _refusals(self, frames: Mapping[str, bytes]) -> dict[str, BaseException]:
        """What speaks against the messages that were not confirmed."""
        # What were sent now would be read behind what was sent before the alarm, each time that it is tried again.
        await self._alarm.over()
        if self.over.done() or not self._sender.is_open:
            return dict.fromkeys(frames, BrokerLost(None))
        confirms: dict[str, asyncio.Future[object]] = {}
        try:
            async with self._alarm.timeout(self._confirm_timeout):
                confirms = await self._sender.send(frames)
                await asyncio.wait(confirms.values())
        except TimeoutError as silence:
            # A late confirm must not be taken for that of the next attempt, and a broker that is stuck may be left.
            self.end(NotConfirming(silence))
        finally:
            self._sender.forget()
        errors = {message_id: _error_of(confirms.get(message_id)) for message_id in frames}
        if not all(errors.values()) and not self.over.done():
            self._alarm.take_note_of_a_confirm()
        return {message_id: error for message_id, error in errors.items() if error}


def _error_of(confirm: asyncio.Future[object] | None) -> BaseException | None:
    """What speaks against a message; of one that was not sent, or not answered, that it was not."""
    return confirm.exception() if confirm and confirm.done() else BrokerLost(TimeoutError())
