"""Reads from a replica of PostgreSQL, as fresh as those from the primary.

A replica is always a little behind. So a reader asks the primary how far it has written, one question for all who read
at that time, and takes what a replica says that has come as far: whoever was told of a write reads it, whoever told it.
Where the replica does not come in time, or is away, the primary is read. docs/decisions/0025 says why it is done so.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, Final, LiteralString, Protocol
from weakref import WeakKeyDictionary

import psycopg
import structlog
from prometheus_client import Counter, Gauge

from book_db.books.coalescing import Coalescer
from book_db.database import Database, rows_of
from book_db.errors import DatabaseOverloaded, DatabaseUnavailable

_log = structlog.get_logger(__name__)

_READS = Counter("colophon_replica_reads", "Reads that a replica was there for, by who answered", ["answered_by"])
_BY_REPLICA, _BY_PRIMARY = (_READS.labels(server) for server in ("replica", "primary"))
# With a label, so that it is not there at all where no replica is configured.
_AVAILABLE = Gauge("colophon_replica_available", "1 while a replica is read, 0 while the primary is", ["replica"])

_PATIENCE: Final = 0.02
"""Seconds that a read waits for the replica to come as far as the primary."""
_LOOK_EVERY: Final = 0.001
_PULSE: Final = 1.0
"""Seconds between two looks at the replica, and how long it may take to answer one."""

# Positions in the write-ahead log, in bytes. What writers were told is committed has been flushed.
_WRITTEN: Final = "SELECT CAST(pg_current_wal_flush_lsn() - '0/0' AS bigint)"
# NULL of what is no replica, or not any more: a promoted one goes its own way.
_REPLAYED: Final = "SELECT CASE WHEN pg_is_in_recovery() THEN CAST(pg_last_wal_replay_lsn() - '0/0' AS bigint) END"

_NOT_ASKED: Final = "it was not asked yet"

Rows = list[tuple[Any, ...]]


class Reader(Protocol):
    """Where books are read: a database, or a replica with the database behind it."""

    async def fetch(self, query: LiteralString, values: Mapping[str, object], *, prepared: bool = True) -> Rows:
        """As ``Database.fetch``."""


class ReplicaReads:
    """A reader that spares the primary, which is asked for no more than its position."""

    def __init__(self, primary: Database, replica: Database, lookout: Database) -> None:
        """``lookout`` is the replica once more, for it must not wait for those who read."""
        self._primary = primary
        self._replica = replica
        self._lookout = lookout
        self._positions: Coalescer[None, int] = Coalescer(self._ask_position, at_once=2)
        # By connection, for behind one address there may be several replicas.
        self._replayed: WeakKeyDictionary[psycopg.AsyncConnection, int] = WeakKeyDictionary()
        self._away: str | None = _NOT_ASKED
        self._leaving = asyncio.get_running_loop().create_future()
        self._reading: set[asyncio.Task[Any]] = set()
        _AVAILABLE.labels("postgresql").set(0)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, primary: Database, *, pool_size: int = 10, statement_timeout: float = 10, name: str = "colophon"
    ) -> "AsyncIterator[ReplicaReads]":
        """From the replica at this address, for the length of the block; the rest is as for ``Database.open``.

        Returns at once: until the replica has answered, the primary is read.
        """
        async with AsyncExitStack() as closing:
            replica = Database.open(url, pool_size=pool_size, statement_timeout=statement_timeout, name=name)
            closing.push_async_callback(replica.close)
            lookout = Database.open(url, pool_size=1, statement_timeout=statement_timeout, name=name)
            closing.push_async_callback(lookout.close)
            reads = cls(primary, replica, lookout)
            watching = asyncio.create_task(reads._watch())
            try:
                yield reads
            finally:
                watching.cancel()
                reads._give_up()
                await asyncio.wait([watching, *reads._reading])

    async def fetch(self, query: LiteralString, values: Mapping[str, object], *, prepared: bool = True) -> Rows:
        """As ``Database.fetch``, with all that was committed before the call. What goes wrong with the replica, the
        caller does not notice, but for a statement that takes too long: on the primary it would do so too.
        """
        if self._away is None:
            position = await self._positions.load(None)
            rows = await self._ask_replica(position, query, values, prepared=prepared)
            if rows is not None:
                _BY_REPLICA.inc()
                return rows
        _BY_PRIMARY.inc()
        return await self._primary.fetch(query, values, prepared=prepared)

    async def _ask_position(self, keys: Collection[None]) -> Mapping[None, int]:
        [[position]] = await self._primary.fetch(_WRITTEN, {})
        return dict.fromkeys(keys, position)

    async def _ask_replica(
        self, position: int, query: LiteralString, values: Mapping[str, object], *, prepared: bool
    ) -> Rows | None:
        """None if it does not come that far in time, or is left meanwhile."""
        # A task of its own, for one that hangs cannot be waited for, not even until it has been cancelled.
        reading = asyncio.create_task(self._read(position, query, values, prepared=prepared))
        self._reading.add(reading)
        reading.add_done_callback(self._end)
        try:
            await asyncio.wait([reading, self._leaving], return_when=asyncio.FIRST_COMPLETED)
            return reading.result() if reading.done() else None
        finally:
            reading.cancel()

    async def _read(
        self, position: int, query: LiteralString, values: Mapping[str, object], *, prepared: bool
    ) -> Rows | None:
        try:
            async with self._replica.driver() as connection:
                await self._come_as_far(connection, position)
                return await rows_of(connection, query, values, prepared=prepared)
        except DatabaseOverloaded:
            raise
        except (DatabaseUnavailable, _Unfit) as error:
            self._leave(error)
            return None

    async def _come_as_far(self, connection: psycopg.AsyncConnection, position: int) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + _PATIENCE
        while self._replayed.get(connection, -1) < position:
            if loop.time() > until:
                raise _Unfit("it is behind")
            [[replayed]] = await rows_of(connection, _REPLAYED, {})
            if replayed is None:
                raise _Unfit("it is no replica")
            self._replayed[connection] = replayed
            if replayed < position:
                await asyncio.sleep(_LOOK_EVERY)

    async def _watch(self) -> None:
        while True:
            # A primary that is away is no fault of the replica, and without it nothing is read.
            with suppress(DatabaseUnavailable):
                await self._look_for(_PULSE, await self._positions.load(None))
            await asyncio.sleep(_PULSE)

    async def _look_for(self, seconds: float, position: int) -> None:
        looking = asyncio.create_task(self._look(position))
        try:
            await asyncio.wait([looking], timeout=seconds)
            if not looking.done():
                self._leave(_Unfit("it does not answer"))
        finally:
            looking.cancel()
            await asyncio.wait([looking])

    def _end(self, reading: asyncio.Task[Any]) -> None:
        self._reading.discard(reading)
        if not reading.cancelled():
            reading.exception()  # seen, should the caller have gone on without it

    async def _look(self, position: int) -> None:
        try:
            async with self._lookout.driver() as connection:
                self._replayed.pop(connection, None)  # it must answer, though nothing was written meanwhile
                await self._come_as_far(connection, position)
        except (DatabaseUnavailable, _Unfit) as error:
            self._leave(error)
        else:
            self._come()

    def _come(self) -> None:
        if self._away is not None:
            _log.info("the replica is read")
            _AVAILABLE.labels("postgresql").set(1)
            self._leaving = asyncio.get_running_loop().create_future()
        self._away = None

    def _leave(self, error: Exception) -> None:
        reason = str(error) if isinstance(error, _Unfit) else repr(error.__cause__ or error)
        if self._away in {None, _NOT_ASKED}:
            _log.warning("the primary is read in place of the replica", reason=reason)
            _AVAILABLE.labels("postgresql").set(0)
        self._away = reason
        self._give_up()

    def _give_up(self) -> None:
        if not self._leaving.done():
            self._leaving.set_result(None)


class _Unfit(Exception):
    """The replica answers, or should, and is not to be read."""
