"""The log of events behind a real RabbitMQ: what comes back, what is set aside, and what outlives an outage."""

import asyncio
import io
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import aio_pika
import pytest
from book_contracts import events
from book_db.events.log import EventLog
from book_db.migrations import upgrade
from book_db.postgres.database import Database
from book_runtime.broker.amqp import AmqpConsumer, AmqpPublisher
from book_runtime.broker.messages import Message
from books.v1.book_event_pb2 import BOOK_EVENT_KIND_UPDATED, BookEvent
from books.v1.book_pb2 import Book, Date
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_api.consumer import BOOK_LOG, EventRecorder
from sqlalchemy import text
from structlog.testing import capture_logs
from support.postgresql import PostgreSQLServer
from support.proxy import Proxy
from support.rabbitmq import RabbitMQServer
from support.waiting import PATIENCE, patiently, until
from yarl import URL


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

    def __init__(self, database: Database, publisher: AmqpPublisher, consumer: AmqpConsumer) -> None:
        self.console = io.StringIO()
        self.database = database
        self.publish = publisher.publish
        self._ends = (publisher, consumer)

    async def has(self, *versions: int) -> None:
        """Waits until these are recorded and printed, once each and in this order."""
        await until(lambda: len(self.printed) >= len(versions), f"{len(versions)} events are printed")
        assert self.printed == list(versions)
        async with self.database.statement() as connection:
            rows = await connection.execute(text("SELECT version FROM event_log ORDER BY position"))
            assert list(rows.scalars()) == list(versions)

    async def goes_on(self) -> None:
        """After the event of version 1, when there is a connection again."""
        for end in self._ends:
            await patiently(end.ready(), "the broker is there again")
        await self.publish([a_message(2)])
        await self.has(1, 2)

    async def is_cut_off(self) -> None:
        await until(lambda: not any(end.is_connected for end in self._ends), "the broker is known to be away")

    @property
    def printed(self) -> list[int]:
        return [int(line.split("  ")[2].removeprefix("book 42 v")) for line in self.console.getvalue().splitlines()]


@asynccontextmanager
async def consuming(database_url: str, amqp_url: str) -> AsyncIterator[Log]:
    database = Database.open(database_url)
    event_log = EventLog(database)
    consumer = AmqpConsumer(amqp_url, BOOK_LOG)
    try:
        async with AmqpPublisher(amqp_url, events.EXCHANGE) as publisher:
            log = Log(database, publisher, consumer)
            async with consumer.consuming(EventRecorder(event_log, log.console)):
                await consumer.ready()
                await publisher.ready()
                yield log
    finally:
        await event_log.close()
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
            await until(lambda: log.printed == [2, 3], "the events are printed")


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
                letter = await queue.get(timeout=PATIENCE)
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
            with capture_logs() as logs:
                await asyncio.to_thread(own_postgresql.kill)
                await log.publish([a_message(2), a_message(3)])
                await until(lambda: pauses(logs), "consuming pauses")
            assert log.printed == [1]
            await asyncio.to_thread(own_postgresql.start)
            await log.has(1, 2, 3)

    async def test_events_wait_for_a_database_that_is_not_set_up_yet(
        self, empty_database_url: str, amqp_url: str
    ) -> None:
        async with consuming(empty_database_url, amqp_url) as log:
            with capture_logs() as logs:
                await log.publish([a_message(1), a_message(2)])
                [reason] = await until(lambda: pauses(logs), "consuming pauses")
            await asyncio.to_thread(upgrade, empty_database_url)
            await log.has(1, 2)
        assert "has not got the schema" in reason

    async def test_consuming_goes_on_after_the_broker_was_away(self, database_url: str, amqp_url: str) -> None:
        url = URL(amqp_url)
        async with (
            Proxy(url.port or 0) as network,
            consuming(database_url, str(url.with_port(network.port))) as log,
        ):
            await log.publish([a_message(1)])
            await log.has(1)
            network.refuse()
            network.drop()
            await log.is_cut_off()
            await network.heal()
            await log.goes_on()

    @pytest.mark.slow
    async def test_consuming_goes_on_after_the_broker_was_restarted(
        self, database_url: str, own_rabbitmq: RabbitMQServer
    ) -> None:
        async with consuming(database_url, own_rabbitmq.url) as log:
            await log.publish([a_message(1)])
            await log.has(1)
            await asyncio.to_thread(own_rabbitmq.stop)
            await asyncio.to_thread(own_rabbitmq.start)
            await log.goes_on()


def pauses(logs: Sequence[Any]) -> list[str]:
    """Why consuming pauses."""
    return [line["reason"] for line in logs if line["event"].startswith("outage of the handling of messages:")]
