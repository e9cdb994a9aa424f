"""Sending a batch over one channel.

aiormq's own publish has for each message a lock, a timeout, a future in two lists and a write to the socket, and needs
a task around it: more than half of what the relay did for an event (210 us, and 90 so), and of what the broker did (170
us, and 75). A batch is written as one here, and its confirms are awaited together.
"""

import asyncio
import struct
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

from aiormq import Channel
from aiormq.abc import ChannelFrame
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.frame import marshal
from pamqp.header import ContentHeader

from book_runtime.broker.amqp.envelope import properties_of
from book_runtime.broker.messages import Message

UNSENDABLE: Final = (ValueError, TypeError, struct.error)
"""What pamqp raises for a message that AMQP cannot carry: too long a text, a time before 1970."""

_ROUTING_KEY_MAX: Final = 255
"""Bytes."""

_Confirm = asyncio.Future[object]


class Sender:
    """Sends to one exchange, over a channel with publisher confirms that nobody else publishes on.

    It counts the deliveries as aiormq would, in aiormq's own books, from which the confirms are settled.
    """

    def __init__(self, channel: Channel, exchange: str) -> None:
        self._channel = channel
        # All messages that bear the same routing key begin with the same frame.
        self._beginning: Callable[[str], bytes] = lru_cache(maxsize=100)(self._publish_frame)
        self._exchange = exchange
        self._unconfirmed: dict[str, _Confirm] = {}

    @property
    def is_open(self) -> bool:
        return not self._channel.is_closed

    def encode(self, message: Message) -> bytes:
        """The frames of a message. Raises one of `UNSENDABLE` for what AMQP cannot carry."""
        if not message.id:
            raise ValueError("a message that comes back is known by its id, and this one has none")
        number, size = self._channel.number, self._channel.max_content_size
        header = ContentHeader(body_size=len(message.body), properties=properties_of(message))
        starts = range(0, len(message.body), size)
        body = (marshal(ContentBody(message.body[start : start + size]), number) for start in starts)
        return b"".join((self._beginning(message.routing_key), marshal(header, number), *body))

    async def send(self, frames: Mapping[str, bytes]) -> "dict[str, _Confirm]":
        """Writes the frames of messages in one go, and returns by their ids what each confirm will settle.

        A future fails with what the broker says against its message.
        """
        channel = self._channel
        await channel.write_queue.put(ChannelFrame(payload=b"".join(frames.values()), should_close=False))
        # No turn of the loop is between: nothing is counted that was not sent, and nobody answers before.
        self._unconfirmed = {message_id: self._confirm_of(message_id) for message_id in frames}
        return self._unconfirmed

    def forget(self) -> None:
        """Nobody waits any more for what was sent last. A confirm that still comes settles a future, and no more."""
        for message_id in self._unconfirmed:
            self._channel.message_id_delivery_tag.pop(message_id, None)
        self._unconfirmed = {}

    def give_up(self, cause: BaseException) -> None:
        """No confirm will come any more for what was sent last."""
        unconfirmed = self._unconfirmed
        self.forget()  # aiormq would settle once more what is returned in this moment
        for confirm in unconfirmed.values():
            if not confirm.done():
                confirm.set_exception(cause)

    def _publish_frame(self, routing_key: str) -> bytes:
        if len(routing_key.encode()) > _ROUTING_KEY_MAX:
            raise ValueError(f"Routing key too long (max {_ROUTING_KEY_MAX} bytes)")
        publish = Basic.Publish(exchange=self._exchange, routing_key=routing_key, mandatory=True)
        return marshal(publish, self._channel.number)

    def _confirm_of(self, message_id: str) -> "_Confirm":
        channel = self._channel
        channel.delivery_tag += 1
        confirm: _Confirm = channel.loop.create_future()
        confirm.add_done_callback(_see)
        channel.confirmations[channel.delivery_tag] = confirm
        # By its id aiormq finds the message that is returned, since no queue gets it.
        channel.message_id_delivery_tag[message_id] = channel.delivery_tag
        return confirm


def _see(confirm: _Confirm) -> None:
    """Whoever waited may have given up, and then nobody asks what became of it."""
    if not confirm.cancelled():
        confirm.exception()
