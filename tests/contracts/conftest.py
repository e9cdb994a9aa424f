"""What the relay really sends."""

from datetime import date
from uuid import UUID

import aio_pika
import pytest
from aio_pika.abc import AbstractIncomingMessage
from book_contracts import events
from book_db.book import BookPatch, Draft
from book_db.books.cache import NoCache
from book_db.books.catalogue import Catalogue
from book_db.events.outbox import Outbox, OutboxNotifier
from book_db.postgres.database import Database
from book_runtime.broker.amqp import AmqpPublisher
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, use_span
from rest_api.relay.relay import relay_once
from support.waiting import PATIENCE

ACTOR = UUID("7c1e1a52-3d5c-4a43-9f69-6e5f4d3c2b1a")
A_REQUEST = NonRecordingSpan(SpanContext(0x4BF92F3577B34DA6, 0x00F067AA0BA902B7, False, TraceFlags(1)))
Sent = dict[str, AbstractIncomingMessage]


@pytest.fixture
async def sent(database_url: str, amqp_url: str) -> Sent:
    """A message of each type, as RabbitMQ hands out what the relay has published. The first has a trace."""
    database = Database.open(database_url)
    try:
        await _create_change_and_delete_a_book(database)
        async with (
            await aio_pika.connect(amqp_url) as connection,
            AmqpPublisher(amqp_url, events.EXCHANGE) as publisher,
        ):
            await publisher.ready()
            channel = await connection.channel()
            queue = await channel.declare_queue(exclusive=True)
            await queue.bind(events.EXCHANGE, events.ALL_EVENTS)
            async with Outbox(database).acquire_lease() as lease:
                await relay_once(lease, publisher)
            messages = [await queue.get(no_ack=True, timeout=PATIENCE) for _ in range(3)]
    finally:
        await database.close()
    return {message.routing_key or "": message for message in messages}


async def _create_change_and_delete_a_book(database: Database) -> None:
    notifier = OutboxNotifier(database)
    catalogue = Catalogue(database, NoCache(), notifier)
    with use_span(A_REQUEST):
        book = await catalogue.add(Draft("Middlemarch", "George Eliot", date(1871, 12, 1)), ACTOR)
    await catalogue.change(book.id, BookPatch.only(title="Middlemarch. A study of provincial life"), ACTOR)
    await catalogue.remove(book.id, ACTOR)
    await notifier.close()
