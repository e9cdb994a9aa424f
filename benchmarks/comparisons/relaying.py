"""The way of events when many of them wait: from the outbox over the broker into the log of grpc-api."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, LiteralString, NamedTuple

import psycopg
from support.services import GrpcApi, OutboxRelay

from benchmarks.bench import Bench
from benchmarks.catalogue import Catalogue
from benchmarks.figures import Row, RunSize, Speed, Wanted
from benchmarks.measuring import Measurement, megabytes

_BACKLOG: Final = """
    INSERT INTO outbox (
        kind, actor, occurred_at, book_id, title, author, publication_date, version, created_at, updated_at
    )
    SELECT 'created', '6f8ba3b5-6fd4-4d2e-8c67-1a0a4b3b2c11', now(), number, 'The Book of Number ' || number,
        'Author ' || number %% 997, DATE '1800-01-01' + number %% 80000, 1, now(), now()
    FROM generate_series(1, %s) AS number
"""
# To count them each time would be work that the events then wait for.
_SO_FAR: Final = "SELECT coalesce(max(position), 0) - %s FROM event_log"
_LOGGED: Final = "SELECT count(*) FROM event_log WHERE position > %s"
_WHERE: Final = "SELECT coalesce(max(position), 0) FROM event_log"
_TAKEN: Final = """
    SELECT extract(epoch FROM max(recorded_at) - min(recorded_at)) FROM event_log WHERE position > %s
"""
_LEFT: Final = "SELECT count(*) FROM outbox"

_SETTLED_AFTER_ONE_IN: Final = 10
"""The part of the backlog, a tenth, after which a process should have all the memory that it needs."""
_POLL_SECONDS: Final = 0.25
_DRAIN_TIMEOUT_SECONDS: Final = 600

_EVENTS: Final = Wanted(5_000, "events/s")
_GROWTH: Final = Wanted(10, "MB", is_most=True)


def relay(bench: Bench) -> Iterator[Measurement]:
    """On a database of their own, for the log begins empty."""
    yield _Backlog(bench.catalogue.beside(0))


@dataclass(frozen=True, slots=True)
class _Backlog:
    """A backlog in the outbox, and how soon it is in the log; for how long, PostgreSQL says by its own clock, from the
    first event that was recorded to the last. Each is published with confirms to a quorum queue, recorded and printed.

    Constant memory: what a process grows by, from when a tenth of the first backlog is logged until all is.
    """

    catalogue: Catalogue
    what: str = "relay of a backlog"

    def take(self, size: RunSize) -> Sequence[Row]:
        catalogue, backlog = self.catalogue, size.backlog
        with (
            psycopg.connect(catalogue.database_url, autocommit=True) as database,
            GrpcApi(catalogue.workspace, catalogue.environment) as log,
        ):
            drained = [_drain(catalogue, database, log, backlog) for _ in range(size.long_rounds)]
            if len(log.events) != backlog * size.long_rounds:
                raise WrongEvents(len(log.events), backlog * size.long_rounds)
            speed = Speed(statistics.median(backlog / each.seconds for each in drained), memory=megabytes(log))
        against = f"a backlog of {backlog:,}, publisher confirms on"
        return [
            Row("relay, until logged", against, speed.rate, _EVENTS, speed),
            Row("growth of the relay's memory", against, drained[0].growth_of_relay, _GROWTH),
            Row("growth of grpc-api's memory", against, drained[0].growth_of_log, _GROWTH),
        ]


class WrongEvents(Exception):
    """{printed} events were printed, and there were {wanted}."""

    def __init__(self, printed: int, wanted: int) -> None:
        super().__init__((type(self).__doc__ or "").format(printed=printed, wanted=wanted))


class _Drained(NamedTuple):
    seconds: float
    growth_of_relay: float
    growth_of_log: float


def _drain(catalogue: Catalogue, database: psycopg.Connection, log: GrpcApi, backlog: int) -> _Drained:
    before = int(_value(database, _WHERE))
    database.execute(_BACKLOG, [backlog])
    with OutboxRelay(catalogue.workspace, catalogue.environment) as relay:
        _wait_until(lambda: _value(database, _SO_FAR, before) >= backlog // _SETTLED_AFTER_ONE_IN)
        at_first = megabytes(relay), megabytes(log)
        _wait_until(lambda: _value(database, _SO_FAR, before) >= backlog)
        _wait_until(lambda: _value(database, _LOGGED, before) == backlog and _value(database, _LEFT) == 0)
        in_the_end = megabytes(relay), megabytes(log)
    growths = [end - first for first, end in zip(at_first, in_the_end, strict=True)]
    return _Drained(_value(database, _TAKEN, before), *growths)


def _wait_until(so_many_are_logged: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _DRAIN_TIMEOUT_SECONDS
    while not so_many_are_logged():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the events were not logged within {_DRAIN_TIMEOUT_SECONDS} s")
        time.sleep(_POLL_SECONDS)


def _value(database: psycopg.Connection, query: LiteralString, *values: object) -> float:
    row = database.execute(query, values).fetchone()
    assert row
    return float(row[0])
