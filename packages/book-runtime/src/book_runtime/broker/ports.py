"""What a publisher and a consumer promise, whichever broker is behind them.

Delivery is at least once and in order. A message that was published is handed to the handler until the handler returns
or says that it never will (`Undeliverable`), so a handler sees a message twice rather than never, and must know it
again by its id. Messages arrive in the order in which they were published; errors do not change the order of those that
can be handled.

docs/decisions/0007 gives the reasons.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from book_runtime.broker.messages import Message
from book_runtime.errors import DocumentedError

Handler = Callable[[Sequence[Message]], Awaitable[None]]
"""Handles a batch, in the order of delivery: all of it, or it raises and none of it counts as handled.

A handler that raised is asked again with the messages one at a time. `Undeliverable` sets one message aside for good,
`TryAgainLater` says that the trouble is not the message's, anything else is tried again a few times and then set aside.

It may take its time, but not the event loop's: a handler that blocks keeps the heartbeats from the broker, which gives
the connection up. What blocks belongs into a thread.
"""


class Publisher(Protocol):
    """Hands messages to the broker, and knows which have arrived there."""

    @property
    def is_connected(self) -> bool:
        """Whether a publish has a chance now: for readiness, not for deciding whether to publish."""
        ...

    @property
    def is_blocked(self) -> bool:
        """Whether the broker takes no messages for now, though it is connected: its disk or memory is nearly full.

        A publish waits until it does, however long that takes.
        """
        ...

    async def ready(self) -> None:
        """Return as soon as a publish has a chance. Waits as long as it takes."""
        ...

    async def publish(self, messages: Sequence[Message]) -> None:
        """Publish the messages in their order, and return when the broker has taken responsibility for every one.

        Raises `NotConfirmed` with the ids of those it has not, at once when there is no connection. They may have
        arrived all the same (the confirm can be what was lost): publish them again, and let the consumer drop what it
        knows.
        Raises `ValueError` when an id stands twice in the batch.
        """
        ...


class Consumer(Protocol):
    """Hands what arrives to a handler."""

    @property
    def is_connected(self) -> bool:
        """Whether messages can arrive now: for readiness."""
        ...

    async def ready(self) -> None:
        """Return as soon as messages can arrive: for the inside of a `consuming` block. Waits as long as it takes."""
        ...

    def consuming(self, handler: Handler) -> AbstractAsyncContextManager[None]:
        """Hand every message to the handler while the block runs. At its end the batch in hand is finished first."""
        ...


class BrokerError(DocumentedError):
    """Something is wrong with the broker or with a message."""


class NotConfirmed(BrokerError):
    """{count} of the messages were not confirmed, the first of them {first}: {reason}"""

    def __init__(self, reasons: Mapping[str, str], *, hopeless: Iterable[str] = ()) -> None:
        """`reasons` says for each id that was not confirmed why, in the order of the batch. It is not empty.

        `hopeless` are the ids of those that no broker will ever take: to publish them again is in vain.
        """
        self.reasons = dict(reasons)
        self.hopeless = frozenset(hopeless)
        self.count = len(self.reasons)
        self.first, self.reason = next(iter(self.reasons.items()))

    @property
    def ids(self) -> frozenset[str]:
        """The ids of the messages that were not confirmed."""
        return frozenset(self.reasons)


class Undeliverable(BrokerError):
    """The message can never be handled: {reason}"""

    def __init__(self, reason: str, message: Message | None = None) -> None:
        """`message` is needed only where several were handed over and the one is known."""
        self.reason = reason
        self.message = message


class TryAgainLater(BrokerError):
    """Nothing can be handled at the moment: {reason}"""

    def __init__(self, reason: str) -> None:
        """For trouble that is not the message's, such as a database that is away: the consumer waits and asks again."""
        self.reason = reason


class AlreadyConsuming(BrokerError):
    """This consumer has a handler already."""


def refuse_repeated_ids(messages: Iterable[Message]) -> None:
    """Raise `ValueError` when two messages have one id: confirms and returns are told apart by it."""
    seen: set[str] = set()
    for message in messages:
        if message.id in seen:
            raise ValueError(f"message {message.id} stands twice in the batch")
        seen.add(message.id)
