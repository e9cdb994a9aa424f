"""Who does what in a cluster, and what its users notice of a loss."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from random import Random
from typing import Final

import grpc
from books.v1.book_service_pb2 import GetBookRequest
from books.v1.book_service_pb2_grpc import BookServiceStub
from faults.load import Load
from faults.watcher import Watcher, token_of_somebody
from faults.writes import Book, Outcome
from grpc_api.consumer import BOOK_LOG
from support.compose import Running
from support.waiting import until

RELAYS: Final = ("outbox-relay", "outbox-relay-2")
CONSUMERS: Final = ("grpc-api", "grpc-api-2")
BROKERS: Final = ("rabbitmq", "rabbitmq-2", "rabbitmq-3")

_READERS: Final = 4
_PAUSE_SECONDS: Final = 0.02
"""Seconds between the reads of one reader."""

_DOWN: Final = 5.0
"""Seconds that a node stays away at the least, which is long enough for all to notice."""

_METRICS: Final = "from urllib.request import urlopen; print(urlopen('http://127.0.0.1:9100/metrics').read().decode())"


def active_relay(cluster: Running) -> str:
    return _only(relay for relay in RELAYS if "colophon_outbox_leading 1.0" in _metrics(cluster, relay))


def active_consumer(cluster: Running) -> str:
    """The gRPC service that records events, as of the last seconds."""
    return _only(
        service
        for service in CONSUMERS
        if "  book." in cluster.system.docker("logs", "--since=2s", cluster.system.container(service))
    )


def leader_of_the_log(cluster: Running) -> str:
    """The broker that leads the queue of the log."""
    command = ("rabbitmqctl", "--quiet", "--formatter=json", "list_queues", "name", "leader")
    queues = json.loads(cluster.system.execute(BROKERS[-1], *command))
    return _only(str(queue["leader"]).partition("@")[2] for queue in queues if queue["name"] == BOOK_LOG.queue)


def members_of_the_log(cluster: Running) -> list[str]:
    """The brokers that have the queue of the log and vote, and are up."""
    command = ("rabbitmq-queues", "--quiet", "--formatter=json", "quorum_status", BOOK_LOG.queue)
    members = json.loads(cluster.system.execute(BROKERS[-1], *command))
    up = ("leader", "follower")
    return [str(member["Node Name"]) for member in members if member["Raft State"] in up]


def _metrics(cluster: Running, service: str) -> str:
    return cluster.system.execute(service, "python", "-c", _METRICS)


def _only(found: Iterable[str]) -> str:
    [one] = found
    return one


class Readers:
    """Read over gRPC what the writers write over REST."""

    def __init__(self, load: Load, address: str, token: str) -> None:
        self.books: set[Book] = set()
        self.answered: list[float] = []
        """When, by the monotonic clock."""
        self.failures: list[tuple[float, str]] = []
        """When, and what was said."""
        self._load = load
        self._address = address
        self._metadata = (("authorization", f"Bearer {token}"),)

    async def read(self, number: int) -> None:
        """One of them, without end."""
        options = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(self._address, options=options) as channel:
            stub = BookServiceStub(channel)
            random = Random(number)  # noqa: S311  # which books are read decides nothing
            while True:
                await self._read(stub, random.choice(self._load.books))
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _read(self, stub: BookServiceStub, book_id: int) -> None:
        try:
            answer = await stub.GetBook(GetBookRequest(id=book_id), metadata=self._metadata, timeout=10)  # type: ignore[misc]  # grpc.aio's stub
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:  # just deleted
                self.failures.append((time.monotonic(), f"{error.code().name} {error.details()}"))
                return
        else:
            book, day = answer.book, answer.book.publication_date
            date = f"{day.year:04}-{day.month:02}-{day.day:02}"
            self.books.add(Book(book.id, book.title, book.author, date, book.version))
        self.answered.append(time.monotonic())


@asynccontextmanager
async def reading(load: Load, rest_url: str, grpc_address: str) -> AsyncIterator[Readers]:
    """Readers read to the end of the block."""
    readers = Readers(load, grpc_address, await token_of_somebody(rest_url))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(readers.read(number)) for number in range(_READERS)]
        try:
            yield readers
        finally:
            for task in tasks:
                task.cancel()


@dataclass(frozen=True)
class Loss:
    """What users noticed of a node that was killed, and of its coming back."""

    victim: str
    role: str
    down: float
    """How long it was down, in seconds, until it was healthy again."""
    writing: float
    """The longest time without an answered write, in seconds."""
    reading: float
    """The same of reads over gRPC."""
    watching: float
    """The same of changes that came to the watcher."""
    failed_writes: int
    failed_reads: int

    @property
    def longest(self) -> float:
        """Of all these times."""
        return max(self.writing, self.reading, self.watching)

    def __str__(self) -> str:
        return (
            f"{self.victim + ', ' + self.role:<42} back after {self.down:4.1f} s; longest without a write "
            f"{self.writing:4.1f} s, a read {self.reading:4.1f} s, a change {self.watching:4.1f} s; "
            f"{self.failed_writes} writes and {self.failed_reads} reads failed"
        )


class Users:
    """All who work with the cluster."""

    def __init__(self, load: Load, readers: Readers, watcher: Watcher) -> None:
        self.load = load
        self.readers = readers
        self.watcher = watcher

    async def lose(self, cluster: Running, victim: str, role: str, *, alone: bool = False) -> Loss:
        """Kills a node, and starts it again when all go on without it; at once where it is the only one of its kind."""
        began = time.monotonic()
        await asyncio.to_thread(cluster.system.kill, victim)
        if not alone:
            await asyncio.sleep(_DOWN)
            await self._all_go_on(since=datetime.now(UTC))
        await asyncio.to_thread(cluster.system.start, victim)
        await asyncio.to_thread(cluster.system.wait_until_well, victim)
        down = time.monotonic() - began
        await self._all_go_on(since=datetime.now(UTC))
        return self._seen(victim, role, began, down)

    async def _all_go_on(self, since: datetime) -> None:
        """Until a change that was made later has come, and writes and reads were answered."""
        began = time.monotonic()
        await until(
            lambda: self.watcher.newest > since and self._writes[-1] > began and self.readers.answered[-1] > began,
            "all go on",
        )

    def _seen(self, victim: str, role: str, began: float, down: float) -> Loss:
        pause = partial(_longest_pause, began=began)
        attempts = [attempt for write in self.load.writes for attempt in write.attempts if attempt.sent_at > began - 6]
        failed = [one for one in attempts if one.ended_at > began and not one.answer.startswith(("2", "404", "412"))]
        return Loss(
            victim,
            role,
            down,
            pause(self._writes),
            pause(self.readers.answered),
            pause(self.watcher.arrivals),
            len(failed),
            sum(moment > began for moment, _ in self.readers.failures),
        )

    @property
    def _writes(self) -> list[float]:
        done = (attempt for write in self.load.writes for attempt in write.attempts if attempt.outcome is Outcome.DONE)
        return sorted(attempt.ended_at for attempt in done)


def _longest_pause(moments: Sequence[float], *, began: float) -> float:
    later = [moment for moment in moments if moment > began]
    return max(after - before for before, after in pairwise([began, *later]))
