"""Reads from a replica of PostgreSQL, as fresh as those from the primary.

A replica is always a little behind. So a reader first asks the primary for its position in the write-ahead log, one
question for all reads of that moment, and takes the answer of the replica only when the replica has replayed up to
there. So a read sees every write that was answered before it began, whichever process wrote. When the replica does not
come so far in time, or is away, the primary is read. docs/decisions/0025 gives the reasons.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Any, Final, LiteralString, NamedTuple
from weakref import WeakKeyDictionary

import psycopg
import structlog
from book_runtime.batching import BatchLoader
from book_runtime.outage import Outage
from prometheus_client import Counter, Gauge
from sqlalchemy.exc import DBAPIError

from book_db.errors import DatabaseOverloaded, DatabaseUnavailable, UnfitDatabase
from book_db.postgres.connector import REPLICA
from book_db.postgres.database import Database, Rows, fetch_rows

_log = structlog.get_logger(__name__)

_READS = Counter("colophon_replica_reads", "Statements that read books, by the server that answered", ["answered_by"])
_BY_REPLICA, _BY_PRIMARY = (_READS.labels(server) for server in ("replica", "primary"))
# With a label, so that it is not there at all where no replica is configured.
_AVAILABLE = Gauge("colophon_replica_available", "1 while a replica is read, 0 while the primary is", ["replica"])

_CATCH_UP_SECONDS: Final = 0.02
"""A read waits so long for the replica to reach the position of the primary."""
_CATCH_UP_POLL_SECONDS: Final = 0.001
_PROBE_SECONDS: Final = 1.0
_PROBE_TIMEOUT_SECONDS: Final = 1.0

# What writers were told is committed has been flushed. A history is a cluster and its timeline: positions of two that
# are not the same mean nothing to each other.
_FLUSHED: Final = """
    SELECT (pg_control_system()).system_identifier || '/'
            || CAST(CAST('x' || substr(pg_walfile_name(position), 1, 8) AS bit(32)) AS integer),
        CAST(position - '0/0' AS bigint)
    FROM pg_current_wal_flush_lsn() AS position
"""
# No row of what is no replica, or not any more. The timeline is that of its last checkpoint: it changes late.
_REPLAYED: Final = """
    SELECT (pg_control_system()).system_identifier || '/' || (pg_control_checkpoint()).timeline_id,
        CAST(pg_last_wal_replay_lsn() - '0/0' AS bigint)
    WHERE pg_is_in_recovery()
"""
_MAY_BE_READ: Final = "SELECT id FROM books LIMIT 0"


class _Position(NamedTuple):
    """A position in the write-ahead log."""

    history: str
    byte: int

    def includes(self, other: "_Position") -> bool:
        return self.history == other.history and self.byte >= other.byte


class ReplicaReads:
    """A reader that asks the primary only for its position.

    Whether the replica is used is decided by a probe every second. A read that fails on the replica goes to the
    primary, and has no effect on other reads.
    """

    def __init__(self, primary: Database, replica: Database, probe_pool: Database) -> None:
        """``probe_pool`` is a second pool of the replica: the probe must not wait behind reads."""
        self._primary = primary
        self._replica = replica
        self._probe_pool = probe_pool
        self._positions: BatchLoader[None, _Position] = BatchLoader(self._primary_position, max_concurrent=2)
        # By connection, which leads to one server as long as it lives.
        self._replayed: WeakKeyDictionary[psycopg.AsyncConnection, _Position] = WeakKeyDictionary()
        self._is_in_use = False
        self._given_up = asyncio.get_running_loop().create_future()
        self._reading: set[asyncio.Task[Any]] = set()
        gauge = _AVAILABLE.labels("postgresql")
        gauge.set(0)
        self._outage = Outage(_log, "the replica of PostgreSQL", "the primary is read", gauge=gauge)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, primary: Database, *, pool_size: int = 10, statement_timeout: float = 10, name: str = "colophon"
    ) -> "AsyncIterator[ReplicaReads]":
        """From the replica at this address, for the length of the block; the rest is as for ``Database.open``.

        Returns at once: the primary is read until the replica has answered.
        """
        async with AsyncExitStack() as closing:
            open_one = partial(Database.open, url, statement_timeout=statement_timeout, name=name, target=REPLICA)
            replica = open_one(pool_size=pool_size)
            closing.push_async_callback(replica.close)
            probe_pool = open_one(pool_size=1)
            closing.push_async_callback(probe_pool.close)
            reads = cls(primary, replica, probe_pool)
            watching = asyncio.create_task(reads._watch())
            try:
                yield reads
            finally:
                watching.cancel()
                reads._give_up()
                await asyncio.wait([watching, *reads._reading])
                # Their questions to the primary were cancelled with them, which takes a moment.
                await reads._positions.close()

    async def fetch(self, query: LiteralString, values: Mapping[str, object], *, prepared: bool = True) -> Rows:
        """As ``Database.fetch``, with everything that was committed before the call.

        Raises DatabaseOverloaded also when the replica is overloaded, for the primary would be too with its reads.
        Other failures of the replica are not noticed by the caller.
        """
        if self._is_in_use:
            position = await self._positions.load(None)
            rows = await self._ask_replica(position, query, values, prepared=prepared)
            if rows is not None:
                _BY_REPLICA.inc()
                return rows
        _BY_PRIMARY.inc()
        return await self._primary.fetch(query, values, prepared=prepared)

    async def _primary_position(self, keys: Collection[None]) -> Mapping[None, _Position]:
        [flushed] = await self._primary.fetch(_FLUSHED, {})
        return dict.fromkeys(keys, _Position(*flushed))

    async def _ask_replica(
        self, position: _Position, query: LiteralString, values: Mapping[str, object], *, prepared: bool
    ) -> Rows | None:
        """None when the replica fails, or is given up meanwhile."""
        if not self._is_in_use:
            return None
        # A task of its own: a connection that hangs cannot be awaited, not even for its cancellation.
        reading = asyncio.create_task(self._read(position, query, values, prepared=prepared))
        self._reading.add(reading)
        reading.add_done_callback(self._end)
        try:
            await asyncio.wait([reading, self._given_up], return_when=asyncio.FIRST_COMPLETED)
            return reading.result() if reading.done() else None
        finally:
            reading.cancel()

    def _end(self, reading: asyncio.Task[Any]) -> None:
        self._reading.discard(reading)
        if not reading.cancelled():
            reading.exception()  # seen, should the caller have gone on without it

    async def _read(
        self, position: _Position, query: LiteralString, values: Mapping[str, object], *, prepared: bool
    ) -> Rows | None:
        try:
            async with self._replica.driver() as connection:
                await self._catch_up(connection, position)
                return await fetch_rows(connection, query, values, prepared=prepared)
        except DatabaseOverloaded:
            raise
        except (DatabaseUnavailable, psycopg.Error, DBAPIError, _Unfit):
            # If the statement is wrong, the primary says so.
            return None

    async def _catch_up(self, connection: psycopg.AsyncConnection, position: _Position) -> None:
        known = self._replayed.get(connection)
        if known is not None and known.includes(position):
            return
        loop = asyncio.get_running_loop()
        until = loop.time() + _CATCH_UP_SECONDS
        while not (replayed := await _replayed_by(connection, position.history)).includes(position):
            if loop.time() > until:
                raise _Unfit("it is behind")
            await asyncio.sleep(_CATCH_UP_POLL_SECONDS)
        self._replayed[connection] = replayed

    async def _watch(self) -> None:
        while True:
            try:
                # An outage of the primary is no fault of the replica.
                with suppress(DatabaseUnavailable):
                    await self._probe_within(_PROBE_TIMEOUT_SECONDS, await self._positions.load(None))
            except Exception as error:  # noqa: BLE001 - whatever it is, the primary can be read
                self._fail_over(error)
            await asyncio.sleep(_PROBE_SECONDS)

    async def _probe_within(self, seconds: float, position: _Position) -> None:
        probing = asyncio.create_task(self._probe(position))
        try:
            await asyncio.wait([probing], timeout=seconds)
            if not probing.done():
                self._fail_over(_Unfit("it does not answer"))
        finally:
            probing.cancel()
            await asyncio.wait([probing])

    async def _probe(self, position: _Position) -> None:
        try:
            async with self._probe_pool.driver() as connection:
                self._replayed.pop(connection, None)  # it must answer, though nothing was written meanwhile
                await self._catch_up(connection, position)
                await fetch_rows(connection, _MAY_BE_READ, {})
        except Exception as error:  # noqa: BLE001 - as above
            self._fail_over(error)
        else:
            self._use()

    def _use(self) -> None:
        if not self._is_in_use:
            if not self._outage.end():
                _log.info("the replica is read")
            self._is_in_use = True
            self._given_up = asyncio.get_running_loop().create_future()

    def _fail_over(self, error: Exception) -> None:
        self._outage.begin(_reason_of(error))
        self._give_up()

    def _give_up(self) -> None:
        self._is_in_use = False
        if not self._given_up.done():
            self._given_up.set_result(None)


async def _replayed_by(connection: psycopg.AsyncConnection, history: str) -> _Position:
    """What the server has replayed. Raises _Unfit."""
    rows = await fetch_rows(connection, _REPLAYED, {})
    if not rows:
        raise _Unfit("it is no replica")
    replayed = _Position(*rows[0])
    if replayed.history != history:
        raise _Unfit("it follows another database, or not yet the one that was promoted")
    return replayed


def _reason_of(error: Exception) -> str:
    if isinstance(error, UnfitDatabase):
        return error.reason
    return str(error) if isinstance(error, _Unfit) else repr(error.__cause__ or error)


class _Unfit(Exception):
    """The replica must not be read: it is behind, does not answer, or is no replica."""
