"""The log of events: records each one once, prints it, and lets the broker forget it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Final, NamedTuple, TextIO
from uuid import UUID

import structlog
from book_contracts import events
from book_db.books.cache import Cache, NoCache
from book_db.errors import DatabaseUnavailable
from book_db.events.log import Entry, EventLog
from book_runtime import telemetry
from book_runtime.broker.amqp import Topology
from book_runtime.broker.messages import Message
from book_runtime.broker.ports import TryAgainLater, Undeliverable
from book_runtime.outage import Outage
from books.v1 import book_event_pb2
from books.v1.book_event_pb2 import BookEvent
from books.v1.book_pb2 import Book
from google.protobuf.message import DecodeError
from opentelemetry.trace import SpanKind
from prometheus_client import Counter

from grpc_api.console import line_of, outage_of_the_console, print_lines
from grpc_api.tracing import on_behalf_of, trace_id_of

_log = structlog.get_logger(__name__)

BOOK_LOG: Final = Topology(
    exchange=events.EXCHANGE,
    queue="grpc-api.book-log",
    binding_keys=[events.ALL_EVENTS],
    dead_letter_exchange="grpc-api.book-log.dead-letters",
    dead_letter_queue="grpc-api.book-log.dead-letters",
)
"""What the log needs on RabbitMQ."""

_EVENTS: Final = Counter("colophon_book_log_events", "Events that arrived, by what became of them", ["outcome"])

_KINDS: Final = {
    book_event_pb2.BOOK_EVENT_KIND_CREATED: "created",
    book_event_pb2.BOOK_EVENT_KIND_UPDATED: "updated",
    book_event_pb2.BOOK_EVENT_KIND_DELETED: "deleted",
}


class _Arrival(NamedTuple):
    entry: Entry
    trace_id: str | None
    """Of the request that made the change."""


@dataclass(frozen=True, slots=True)
class EventRecorder:
    """The handler of book events: records, updates the cache, prints.

    An event is recorded first and printed last. Should the process end in between, the event is delivered again,
    found recorded, and not printed: the database has each event once, the console at most once.

    The cache is updated in between, in case the writer died after its commit and before it updated the cache.
    """

    log: EventLog
    console: TextIO | None = None
    """None is standard output."""
    cache: Cache = field(default_factory=NoCache)
    outage: Outage = field(default_factory=outage_of_the_console)
    """Of the console."""

    async def __call__(self, messages: Sequence[Message]) -> None:
        """Records and prints those events of a batch that are new.

        Raises Undeliverable for a message that is no event, and TryAgainLater when the database is away.
        """
        began = telemetry.began()
        arrivals = [arrival for message in messages if (arrival := _read(message))]
        new = await self._record(arrivals)
        await self.cache.invalidate_older(_newest_versions(arrivals))
        _EVENTS.labels("recorded").inc(len(new))
        _EVENTS.labels("repeated").inc(len(arrivals) - len(new))
        print_lines((line_of(entry, trace_id) for entry, trace_id in new), self.outage, self.console)
        causes = (telemetry.Cause(message.id, message.headers.get("traceparent")) for message in messages)
        telemetry.record_spans(f"process {BOOK_LOG.queue}", SpanKind.CONSUMER, causes, began)

    async def _record(self, arrivals: Sequence[_Arrival]) -> list[_Arrival]:
        """Those that were not there before, in their order."""
        once = {arrival.entry.event_id: arrival for arrival in arrivals}
        if not once:
            return []
        try:
            recorded = await self.log.record([arrival.entry for arrival in once.values()])
        except DatabaseUnavailable as error:
            raise TryAgainLater(str(error)) from error
        return [arrival for event_id, arrival in once.items() if event_id in recorded]


def _newest_versions(arrivals: Sequence[_Arrival]) -> dict[int, int]:
    versions = sorted((entry.book_id, entry.version) for entry, _ in arrivals)
    return dict(versions)  # the last of a book is what stays


def _read(message: Message) -> _Arrival | None:
    """The event that a message tells of, None for one of a kind that came into the contract after this release."""
    traceparent = message.headers.get("traceparent")
    try:
        entry = _entry_of(BookEvent.FromString(message.body))
    except (DecodeError, ValueError, OverflowError) as error:
        raise Undeliverable(str(error), message) from error
    if entry is None:
        with on_behalf_of(traceparent):
            _pass_over(message)
        return None
    return _Arrival(entry, trace_id_of(traceparent))


def _entry_of(event: BookEvent) -> Entry | None:
    """Raises ValueError or OverflowError when the event is not what the contract says."""
    event_id = _uuid("id", event.id)
    if event.kind not in _KINDS:
        return None
    if not (event.HasField("time") and event.HasField("book")):
        raise ValueError("the event has no time or no book")
    book = event.book
    if book.id < 1 or book.version < 1:
        raise ValueError("the event's book has no id or no version")
    return Entry(
        event_id=event_id,
        kind=_KINDS[event.kind],
        actor=str(_uuid("actor", event.actor)),
        occurred_at=event.time.ToDatetime(tzinfo=UTC),
        book_id=book.id,
        version=book.version,
        title=_storable("title", book.title),
        author=_storable("author", book.author),
        publication_date=date(book.publication_date.year, book.publication_date.month, book.publication_date.day),
        created_at=_time("create_time", book),
        updated_at=_time("update_time", book),
    )


def _uuid(field: str, text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise ValueError(f"the event's {field} is not a UUID") from None


def _time(field: str, book: Book) -> datetime | None:
    return getattr(book, field).ToDatetime(tzinfo=UTC) if book.HasField(field) else None


def _storable(field: str, text: str) -> str:
    # The rules for text are the writer's to keep, and may become wider; but PostgreSQL will never take this one.
    if "\0" in text:
        raise ValueError(f"the {field} holds a NUL character")
    return text


def _pass_over(message: Message) -> None:
    """As the contract asks of readers, book_event.proto: a newer publisher does not fill the dead-letter queue."""
    _EVENTS.labels("passed over").inc()
    _log.warning("passed over an event of an unknown kind", event_id=message.id, type=message.type)
