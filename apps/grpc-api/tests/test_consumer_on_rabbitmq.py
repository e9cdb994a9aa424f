"""The log of events behind a real RabbitMQ: what comes back, what is set aside, and what outlives an outage."""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import uuid4

import aio_pika
import pytest
from book_contracts import events
from book_db.database import Database
from book_db.event_log import EventLog
from book_db.migrations import upgrade
from book_runtime.broker.amqp import AmqpConsumer, AmqpPublisher
from book_runtime.broker.messages import Message
from books.v1.book_event_pb2 import BOOK_EVENT_KIND_UPDATED, BookEvent
from books.v1.book_pb2 import Book, Date
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_api.consumer import BOOK_LOG, BookLog
from sqlalchemy import text
from support.postgresql import PostgreSQLServer
from support.rabbitmq import RabbitMQServer


def a_message(version: int, *, body: bytes | None = None) -> Message:
    event_id = str(uuid4())
    event = BookEvent(
        id=event_id,
        kind=BOOK_EVENT_KIND_UPDATED,
        time=Timestamp(seconds=1_795_456_921),
        actor=str(uuid4()),
        book=Book(id=42, title="t", author="a", version=version, publication_date=Date(year=1871, month=12, day=1)),
    )
    return Message(
        id=event_id,
        type=events.UPDATED,
        routing_key=events.UPDATED,
        body=event.SerializeToString() if body is None else body,
        content_type=events.CONTENT_TYPE,
        timestamp=datetime.now(UTC),
    )


class Log:
    """A log of events that consumes, and what it has recorded and printed."""

    def __init__(self, database: Database, publisher: AmqpPublisher) -> None:
        self.console = io.StringIO()
        self.database = database
        self.publish = publisher.publish
        self.ready = publisher.ready

    async def has(self, *versions: int) -> None:
        """Waits until these are recorded and printed, once each and in this order."""
        async with asyncio.timeout(60):
            while len(self.printed) < len(versions):
                await asyncio.sleep(0.05)
        assert self.printed == list(versions)
        async with self.database.statement() as connection:
            rows = await connection.execute(text("SELECT version FROM event_log ORDER BY position"))
            assert list(rows.scalars()) == list(versions)

    @property
    def printed(self) -> list[int]:
        return [int(line.split("  ")[2].removeprefix("book 42 v")) for line in self.console.getvalue().splitlines()]


@asynccontextmanager
async def consuming(database_url: str, amqp_url: str) -> AsyncIterator[Log]:
    database = Database.open(database_url)
    try:
        async with AmqpPublisher(amqp_url, events.EXCHANGE) as publisher:
            log = Log(database, publisher)
            consumer = AmqpConsumer(amqp_url, BOOK_LOG)
            event_log = EventLog(database)
            async with consumer.consuming(BookLog(event_log, log.console)):
                await consumer.ready()
                await publisher.ready()
                yield log
            await event_log.close()
    finally:
        await database.close()


class TestWhatArrives:
    async def test_it_is_recorded_and_printed_in_order(self, database_url: str, amqp_url: str) -> None:
        async with consuming(database_url, amqp_url) as log:
            await log.publish([a_message(version) for version in range(1, 301)])
            await log.has(*range(1, 301))

    async def test_what_arrives_twice_is_recorded_and_printed_once(self, database_url: str, amqp_url: str) -> None:
        one, two, three = a_message(1), a_message(2), a_message(3)
        async with consuming(database_url, amqp_url) as log:
            await log.publish([one, two])
            await log.publish([one, two, three])
            await log.has(1, 2, 3)

    async def test_what_was_published_while_nobody_consumed_is_there(self, database_url: str, amqp_url: str) -> None:
        async with consuming(database_url, amqp_url) as log:
            await log.publish([a_message(1)])
            await log.has(1)
        async with AmqpPublisher(amqp_url, events.EXCHANGE) as publisher:
            await publisher.ready()
            await publisher.publish([a_message(2), a_message(3)])
        async with consuming(database_url, amqp_url) as log:
            async with asyncio.timeout(20):
                while log.printed != [2, 3]:
                    await asyncio.sleep(0.05)


class TestWhatIsNoEvent:
    async def test_it_is_dead_lettered_with_its_reason_while_good_ones_flow(
        self, database_url: str, amqp_url: str
    ) -> None:
        bad = a_message(2, body=b"\xff\xff")
        async with consuming(database_url, amqp_url) as log:
            await log.publish([a_message(1), bad, a_message(3)])
            await log.has(1, 3)
            async with await aio_pika.connect(amqp_url) as connection:
                queue = await (await connection.channel()).get_queue(BOOK_LOG.dead_letter_queue)
                letter = await queue.get(timeout=10)
                assert letter is not None
                await letter.ack()
        assert (letter.body, letter.message_id) == (b"\xff\xff", bad.id)
        assert "BookEvent" in str(letter.headers["x-reason"])


class TestOutages:
    async def test_events_wait_for_a_database_that_is_away(
        self, own_postgresql: PostgreSQLServer, amqp_url: str
    ) -> None:
        upgrade(own_postgresql.url)
        async with consuming(own_postgresql.url, amqp_url) as log:
            await log.publish([a_message(1)])
            await log.has(1)
            own_postgresql.kill()
            await log.publish([a_message(2), a_message(3)])
            await asyncio.sleep(0.5)
            assert log.printed == [1]
            own_postgresql.start()
            await log.has(1, 2, 3)

    async def test_events_wait_for_a_database_that_is_not_set_up_yet(
        self, empty_database_url: str, amqp_url: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        async with consuming(empty_database_url, amqp_url) as log:
            await log.publish([a_message(1), a_message(2)])
            await asyncio.sleep(0.5)
            await asyncio.to_thread(upgrade, empty_database_url)
            await log.has(1, 2)
        assert "has not got the schema" in capsys.readouterr().out

    async def test_consuming_goes_on_after_the_broker_was_restarted(
        self, database_url: str, own_rabbitmq: RabbitMQServer
    ) -> None:
        async with consuming(database_url, own_rabbitmq.url) as log:
            await log.publish([a_message(1)])
            await log.has(1)
            await asyncio.to_thread(own_rabbitmq.stop)
            await asyncio.to_thread(own_rabbitmq.start)
            await log.ready()
            await log.publish([a_message(2)])
            await log.has(1, 2)
