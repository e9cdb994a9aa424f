"""Strange messages between good events, through a broker into the log, and what becomes of them."""

import asyncio
import io
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final
from uuid import uuid4

import aio_pika
from book_contracts import events
from book_db.events.log import EventLog
from book_db.postgres.database import Database
from book_runtime.broker import metrics
from book_runtime.broker.amqp import AmqpConsumer, DeadLetter, DeadLetters
from books.v1.book_event_pb2 import BOOK_EVENT_KIND_CREATED, BookEvent
from books.v1.book_pb2 import Book, Date
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_api.consumer import BOOK_LOG, EventRecorder
from grpc_api.dead_letters.commands import commands
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from poison.strange import AN_EVENT, strange_messages
from sqlalchemy import text
from structlog.testing import capture_logs
from support.amqp import RawMessage, RawPublisher, Refused, raw_publisher
from support.waiting import patiently, until
from typer.testing import CliRunner, Result

_OURS: Final = (b"x-reason", b"x-exception", b"x-queue", b"x-time", b"x-delivery-count", b"x-acquired-count")
"""The headers that are ours to write, and RabbitMQ's."""


_LEFT_BEHIND: Final = re.compile(rb"x-death\Z|CC\Z|x-(first|last)-death-")
"""The headers that a letter has no more when it is sent again."""


def an_event() -> bytes:
    """The body of an event that nobody has sent yet."""
    book = Book(id=42, title="t", author="a", version=1, publication_date=Date(year=1871, month=12, day=1))
    return BookEvent(
        id=str(uuid4()), kind=BOOK_EVENT_KIND_CREATED, actor=str(uuid4()), time=Timestamp(seconds=1), book=book
    ).SerializeToString()


def a_good_event() -> RawMessage:
    properties = {"message_id": str(uuid4()).encode(), "type": b"book.created", "delivery_mode": b"\2"}
    return RawMessage(b"book.created", properties, body=AN_EVENT)


@dataclass
class Passage:
    """A log of events at work, and what is sent to it."""

    url: str
    database: Database
    publisher: RawPublisher
    channel: aio_pika.abc.AbstractChannel
    logs: Sequence[Any]
    events: int = 0
    """How many were sent and taken, good ones and those with strange properties."""
    set_aside: list[RawMessage] = field(default_factory=list)
    """What was sent and taken that is no event."""
    refused: int = 0

    async def send(self, strange: Sequence[RawMessage]) -> None:
        """Sends each after a good event and before another, and waits until all are recorded or set aside."""
        for message in strange:
            await self._publish(a_good_event())
            await self._publish(message)
        await self._publish(a_good_event())
        await self.has_arrived()

    async def _publish(self, message: RawMessage) -> None:
        is_event = message.body == AN_EVENT
        try:
            await self.publisher.publish(events.EXCHANGE, replace(message, body=an_event()) if is_event else message)
        except Refused:
            self.refused += 1
            await self.publisher.close()
            await self.publisher.open()
            return
        if is_event:
            self.events += 1
        else:
            self.set_aside.append(message)

    async def has_arrived(self) -> None:
        await until(self._is_recorded, "all events are in the log")
        await until(self._is_set_aside, "all else is set aside")

    async def _is_recorded(self) -> bool:
        return await self.in_log() >= self.events

    async def in_log(self) -> int:
        async with self.database.statement() as connection:
            count = await connection.execute(text("SELECT count(*) FROM event_log"))
            return int(count.scalar_one())

    async def _is_set_aside(self) -> bool:
        return await self.waiting_in(BOOK_LOG.dead_letter_queue) >= len(self.set_aside)

    async def waiting_in(self, queue: str) -> int:
        found = await self.channel.declare_queue(queue, passive=True)
        return found.declaration_result.message_count or 0

    async def letters(self) -> list[DeadLetter]:
        async with DeadLetters.exclusive(self.url, BOOK_LOG) as letters:
            return [letter async for letter in letters]

    async def command(self, *arguments: str) -> Result:
        """What an operator types about dead letters."""
        return await asyncio.to_thread(CliRunner().invoke, commands, arguments, env={"AMQP_URL": self.url})

    @property
    def sessions(self) -> int:
        """How many connections the consumer has had."""
        return sum(line["event"] == "connected to the broker" for line in self.logs)


@asynccontextmanager
async def passage(database_url: str, amqp_url: str) -> AsyncIterator[Passage]:
    database = Database.open(database_url)
    event_log = EventLog(database)
    consumer = AmqpConsumer(amqp_url, BOOK_LOG)
    try:
        with capture_logs() as logs:
            async with (
                consumer.consuming(EventRecorder(event_log, io.StringIO())),
                raw_publisher(amqp_url) as publisher,
                await aio_pika.connect(amqp_url) as connection,
            ):
                await patiently(consumer.ready(), "the log consumes")
                yield Passage(amqp_url, database, publisher, await connection.channel(), logs)
    finally:
        await event_log.close()
        await database.close()


async def through(way: Passage, batches: int) -> None:
    """Sends what hypothesis thinks of."""
    loop = asyncio.get_running_loop()

    # A failure is not made smaller: what is in the log and among the letters is there for the next attempt too.
    @settings(max_examples=batches, phases=[Phase.generate], database=None)
    @given(st.lists(strange_messages, min_size=1, max_size=5))
    def send(strange: list[RawMessage]) -> None:
        asyncio.run_coroutine_threadsafe(way.send(strange), loop).result()

    await asyncio.to_thread(send)


async def outcome_of(way: Passage) -> str:
    """What must hold for all that was sent, and the figures."""
    letters = await way.letters()
    assert [letter for letter in letters if not (letter.reason and letter.stack and letter.time)] == []
    _are_the_same(letters, map(_as_sent, way.set_aside))
    await _can_be_handled(way)
    recorded = await way.in_log()
    sent = way.events + len(way.set_aside)
    lost = sent - recorded - len(letters)
    assert (recorded, lost) == (way.events, 0)
    assert way.sessions == 1, "no message has cost a connection"
    return (
        f"{sent:,} messages sent: {len(letters):,} set aside, {recorded:,} recorded, {lost:,} lost;"
        f" the broker did not take {way.refused:,} more"
    )


async def _can_be_handled(way: Passage) -> None:
    """All letters can be listed, replayed (and are set aside again, as they were) and dropped."""
    count = len(way.set_aside)
    listed = await way.command("list", "--stack")
    assert (listed.exit_code, sum(not line.startswith(" ") for line in listed.stdout.splitlines())) == (0, count)
    with _counted(BOOK_LOG.queue) as moved:
        replayed = await way.command("replay", "--all")
        assert (replayed.exit_code, replayed.stdout, replayed.stderr) == (0, f"{count} sent again.\n", "")
        await until(lambda: moved() == count, "all are set aside again")
    await until(way._is_set_aside, "all are among the dead letters")
    _are_the_same(await way.letters(), map(_as_replayed, way.set_aside))
    dropped = await way.command("drop", "--all")
    assert (dropped.exit_code, dropped.stdout, dropped.stderr) == (0, f"{count} dropped.\n", "")
    assert await way.waiting_in(BOOK_LOG.dead_letter_queue) == await way.waiting_in(BOOK_LOG.queue) == 0


@contextmanager
def _counted(queue: str) -> Iterator[Any]:
    """How many messages were dead-lettered in the block."""
    counter = metrics.DEAD_LETTERED.labels(queue)
    before = counter._value.get()
    yield lambda: counter._value.get() - before


_AsItStands = tuple[bytes, frozenset[tuple[str, bytes]], tuple[bytes, ...], int, bytes]
"""Routing key, properties, headers, size and beginning of the body."""


def _are_the_same(letters: Sequence[DeadLetter], sent: Iterable[_AsItStands]) -> None:
    found, wanted = Counter(map(_as_left, letters)), Counter(sent)
    assert found == wanted, f"found {list((found - wanted).elements())}, and not {list((wanted - found).elements())}"


def _as_sent(message: RawMessage) -> _AsItStands:
    """What must be left of it in a letter: all but what docs/events.md says."""
    properties = {
        name: value for name, value in message.properties.items() if name not in {"expiration", "user_id"}
    } | {"delivery_mode": b"\2"}
    fields = [each for each in message.fields or () if _name_of(each) not in _OURS]
    return _as_it_stands(message.routing_key, properties, fields, message.body)


def _as_replayed(message: RawMessage) -> _AsItStands:
    """The same when it has been a letter before."""
    fields = tuple(each for each in message.fields or () if not _LEFT_BEHIND.match(_name_of(each)))
    return _as_sent(replace(message, routing_key=BOOK_LOG.queue.encode(), fields=fields))


def _as_left(letter: DeadLetter) -> _AsItStands:
    content = letter.content
    properties = {name: value for name, value in content.properties.values.items() if name != "headers"}
    headers = content.properties.headers
    assert headers.rest == b""
    fields = [each.encode() for each in headers.fields if each.name not in _OURS]
    return _as_it_stands(content.routing_key, properties, fields, content.body)


def _as_it_stands(key: bytes, properties: dict[str, bytes], fields: list[bytes], body: bytes) -> _AsItStands:
    # RabbitMQ sorts the headers when it adds how often a message was delivered.
    return key, frozenset(properties.items()), tuple(sorted(fields)), len(body), body[:60]


def _name_of(encoded: bytes) -> bytes:
    return encoded[1 : 1 + encoded[0]]
