"""The log of events: records each one once, prints it, and lets the broker forget it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TextIO

import structlog
from book_contracts import events
from book_contracts.codec import read_event
from book_db.book import Book
from book_db.books.cache import Cache, NoCache
from book_db.errors import DatabaseUnavailable
from book_db.events.log import EventLog
from book_db.events.model import BookEvent
from book_runtime import telemetry
from book_runtime.broker.amqp import Topology
from book_runtime.broker.messages import Message
from book_runtime.broker.ports import TryAgainLater, Undeliverable
from book_runtime.outage import Outage
from msgspec.structs import asdict
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


class _Arrival(NamedTuple):
    event: BookEvent
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
        print_lines((line_of(*event, trace_id=trace_id) for event, trace_id in new), self.outage, self.console)
        causes = (telemetry.Cause(message.id, message.headers.get("traceparent")) for message in messages)
        telemetry.record_spans(f"process {BOOK_LOG.queue}", SpanKind.CONSUMER, causes, began)

    async def _record(self, arrivals: Sequence[_Arrival]) -> list[_Arrival]:
        """Those that were not there before, in their order."""
        once = {arrival.event.id: arrival for arrival in arrivals}
        if not once:
            return []
        try:
            recorded = await self.log.record([arrival.event for arrival in once.values()])
        except DatabaseUnavailable as error:
            raise TryAgainLater(str(error)) from error
        return [arrival for event_id, arrival in once.items() if event_id in recorded]


def _newest_versions(arrivals: Sequence[_Arrival]) -> dict[int, int]:
    versions = sorted((event.book.id, event.book.version) for event, _ in arrivals)
    return dict(versions)  # the last of a book is what stays


def _read(message: Message) -> _Arrival | None:
    """The event that a message tells of, None for one of a kind that came into the contract after this release."""
    traceparent = message.headers.get("traceparent")
    try:
        event = read_event(message.body, BookEvent, Book)
        if event is not None:
            _refuse_nul(event.book)
    except ValueError as error:
        raise Undeliverable(str(error), message) from error
    if event is None:
        with on_behalf_of(traceparent):
            _pass_over(message)
        return None
    return _Arrival(event, trace_id_of(traceparent))


def _refuse_nul(book: Book) -> None:
    # The rules for text are the writer's to keep, and may become wider; but PostgreSQL will never take this one.
    for name, value in asdict(book).items():
        if isinstance(value, str) and "\0" in value:
            raise ValueError(f"the {name} holds a NUL character")


def _pass_over(message: Message) -> None:
    """As the contract asks of readers, book_event.proto: a newer publisher does not fill the dead-letter queue."""
    _EVENTS.labels("passed over").inc()
    _log.warning("passed over an event of an unknown kind", event_id=message.id, type=message.type)
