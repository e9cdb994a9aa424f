"""What the tests of the broker share: messages, handlers that remember, and a cable that can be cut."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

import pytest
from book_runtime.broker.messages import Message
from book_runtime.broker.ports import NotConfirmed, Publisher
from support.ports import free_port
from support.waiting import patience
from yarl import URL


def _a_message(number: int = 1, *, book: str = "1", **changed: object) -> Message:
    fields: dict[str, object] = {
        "id": f"event-{number}",
        "type": "book.created",
        "routing_key": "book.created",
        "body": f"book {book}".encode(),
        "content_type": "application/protobuf",
        "headers": {"cloudEvents:subject": book},
        "timestamp": datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC),
    }
    return Message(**(fields | changed))  # type: ignore[arg-type]  # the fields of Message, by name


@pytest.fixture
def a_message() -> Callable[..., Message]:
    """Makes a message that says only what the test is about: `a_message(7, routing_key="nobody.listens")`."""
    return _a_message


@pytest.fixture
def messages() -> Callable[[int], list[Message]]:
    """Makes so many messages, numbered from 0."""
    return lambda count: [_a_message(number) for number in range(count)]


class Remembering:
    """A handler that remembers what it was given, and asks `first` before it takes it."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.handled: list[Message] = []
        self.first: Callable[[Sequence[Message]], Awaitable[None]] | None = None
        self._changed = asyncio.Condition()

    async def __call__(self, messages: Sequence[Message]) -> None:
        self.batches.append([message.id for message in messages])
        if self.first:
            await self.first(messages)
        self.handled.extend(messages)
        async with self._changed:
            self._changed.notify_all()

    @property
    def ids(self) -> list[str]:
        """The ids that were handled, in order, repetitions included."""
        return [message.id for message in self.handled]

    async def has(self, ids: Iterable[str]) -> None:
        """Wait until all of these were handled."""
        wanted = set(ids)
        async with patience("all messages are handled"), self._changed:
            await self._changed.wait_for(lambda: wanted <= set(self.ids))


@pytest.fixture
def handler() -> Remembering:
    return Remembering()


async def _as_a_relay(publisher: Publisher, messages: Sequence[Message]) -> None:
    """Publish until every message is confirmed, as the outbox relay does."""
    left = list(messages)
    while left:
        await publisher.ready()
        try:
            await publisher.publish(left)
        except NotConfirmed as error:
            left = [message for message in left if message.id in error.ids]
            await asyncio.sleep(0.02)
        else:
            left = []


@pytest.fixture
def publish_like_a_relay() -> Callable[[Publisher, Sequence[Message]], Awaitable[None]]:
    return _as_a_relay


_HEARTBEAT: Final = b"\x08\x00\x00\x00\x00\x00\x00\xce"
"""A frame of AMQP: its kind, the channel 0, no payload, and the end."""


class Cable:
    """A TCP proxy in front of the broker: it can be cut and go silent."""

    def __init__(self, url: str, port: int) -> None:
        self._broker = URL(url)
        self._port = port
        self._lines: set[asyncio.Task[None]] = set()
        self._questions = asyncio.Event()
        self._answers = asyncio.Event()
        self._server: asyncio.Server | None = None
        self.connections = 0
        self.heartbeats = 0
        """How many signs of life have come from the clients."""
        self.resume()

    @property
    def url(self) -> str:
        """The broker's address, through the cable."""
        return str(self._broker.with_port(self._port))

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", self._port)

    async def close(self) -> None:
        """Break all connections, and take no more."""
        assert self._server
        self._server.close()
        self.cut()
        await asyncio.gather(*self._lines, return_exceptions=True)

    def cut(self) -> None:
        """Break all connections."""
        for line in self._lines:
            line.cancel()

    def silence(self) -> None:
        """Pass nothing on, and keep the connections."""
        self._questions.clear()
        self.hold_answers()

    def hold_answers(self) -> None:
        """Pass on what clients say, and nothing that the broker says."""
        self._answers.clear()

    def resume(self) -> None:
        self._questions.set()
        self._answers.set()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        here = asyncio.current_task()
        assert here
        self._lines.add(here)
        ends = [writer]
        try:
            there_reader, there_writer = await asyncio.open_connection(self._broker.host, self._broker.port)
            ends.append(there_writer)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass_on(reader, there_writer, self._questions))
                group.create_task(self._pass_on(there_reader, writer, self._answers))
        except (asyncio.CancelledError, ExceptionGroup):  # cut, or ended by one side: either way the line is gone
            pass
        finally:
            self._lines.discard(here)
            for end in ends:
                end.transport.abort()

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flowing: asyncio.Event
    ) -> None:
        while data := await reader.read(65536):
            self.heartbeats += flowing is self._questions and data == _HEARTBEAT
            await flowing.wait()
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError


@pytest.fixture
async def make_cable(amqp_url: str) -> AsyncIterator[Callable[..., Awaitable[Cable]]]:
    """Lays cables to the test's virtual host, from any port or from this one."""
    cables: list[Cable] = []

    async def make(port: int | None = None) -> Cable:
        cables.append(Cable(amqp_url, port or free_port()))
        await cables[-1].open()
        return cables[-1]

    yield make
    for cable in cables:
        await cable.close()


@pytest.fixture
async def cable(make_cable: Callable[..., Awaitable[Cable]]) -> Cable:
    """A cable to the test's virtual host."""
    return await make_cable()
