"""How soon the gRPC service has logged what was just written."""

import asyncio
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psycopg
from support.services import GrpcApi, OutboxRelay

from benchmarks.bench import A_BOOK, Bench
from benchmarks.figures import Row, RunSize, Speed, Wanted, percentile
from benchmarks.load import LoadFailed
from benchmarks.measuring import Measurement, megabytes

_WRITES_PER_SECOND: Final = 200
_SECONDS_OF_WRITES: Final = 7
"""For each second of a round: the p99 is of 4,200 writes then."""
_LOG_TIMEOUT_SECONDS: Final = 30
_POLL_SECONDS: Final = 0.000_5

_PRINTED: Final = re.compile(rb"  book\.created  book (\d+) v1  ")
_CREATED: Final = re.compile(rb"\r\nlocation: [^\r]*/(\d+)\r\n", re.IGNORECASE)
_LENGTH: Final = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)

_MEDIAN: Final = Wanted(10, "ms", is_most=True)
_P99: Final = Wanted(60, "ms", is_most=True)


def following(bench: Bench) -> Iterator[Measurement]:
    with psycopg.connect(bench.catalogue.database_url, autocommit=True) as database:
        database.execute("TRUNCATE outbox")  # nobody has told of what other comparisons have written
    with (
        GrpcApi(bench.workspace, bench.catalogue.environment) as log,
        OutboxRelay(bench.workspace, bench.catalogue.environment),
    ):
        yield _Following(bench, log)


@dataclass(frozen=True, slots=True)
class _Following:
    """Books are posted when it is their turn, whether or not those before them are answered. For each there is the
    moment when the last byte of its 201 was here, and the moment when its line was on the console of grpc-api, which
    comes after the commit of its row in the log. Both are told by one clock, that of this process; it looks at the
    console's file every half millisecond. An event that was logged before the answer was here counts as nought.
    """

    bench: Bench
    log: GrpcApi
    what: str = "answered POST until logged"

    def take(self, size: RunSize) -> Sequence[Row]:
        if size.warm_up:
            asyncio.run(_delays(self.bench, self.log.log, size.warm_up))
        seconds = size.seconds * _SECONDS_OF_WRITES
        delays = sorted(asyncio.run(_delays(self.bench, self.log.log, seconds)))
        speed = Speed(len(delays) / seconds, memory=megabytes(self.log))
        against = f"{_WRITES_PER_SECOND} writes a second"
        return [
            Row(f"{self.what}, median", against, percentile(delays, 50) * 1_000, _MEDIAN, speed),
            Row(f"{self.what}, p99", against, percentile(delays, 99) * 1_000, _P99, speed),
        ]


async def _delays(bench: Bench, console: Path, seconds: float) -> list[float]:
    """Seconds, one for each book."""
    logged: dict[int, float] = {}
    watching = asyncio.create_task(_watch(console, logged))
    answered = dict(await _post(bench, round(_WRITES_PER_SECOND * seconds)))
    deadline = time.monotonic() + _LOG_TIMEOUT_SECONDS
    while answered.keys() - logged.keys():
        if time.monotonic() > deadline:
            raise TimeoutError(
                f"{len(answered.keys() - logged.keys())} books were not logged within {_LOG_TIMEOUT_SECONDS} s"
            )
        await asyncio.sleep(0.01)
    watching.cancel()
    return [max(0.0, logged[book_id] - moment) for book_id, moment in answered.items()]


async def _watch(console: Path, logged: dict[int, float]) -> None:
    """Notes when each book was told of, from now on."""
    with console.open("rb") as file:
        file.seek(0, 2)
        rest = b""
        while True:
            while new := file.read():
                now = time.perf_counter()
                lines, _, rest = (rest + new).rpartition(b"\n")
                logged.update((int(book_id), now) for book_id in _PRINTED.findall(lines))
            await asyncio.sleep(_POLL_SECONDS)


async def _post(bench: Bench, books: int) -> list[tuple[int, float]]:
    """The ids of the books, and when each was answered."""
    async with AsyncExitStack() as stack:
        poster = _Poster(bench, stack)
        began = time.perf_counter()
        posting = []
        for number in range(books):
            await asyncio.sleep(began + number / _WRITES_PER_SECOND - time.perf_counter())
            posting.append(asyncio.create_task(poster.post()))
        return await asyncio.gather(*posting)


@dataclass(slots=True)
class _Poster:
    """Posts over as many connections as it takes. A client by hand, for those that do more for their users would be
    late to tell when an answer was here.
    """

    bench: Bench
    stack: AsyncExitStack
    _request: bytes = field(init=False)
    _free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        head = [
            "POST /api/v1/books HTTP/1.1",
            f"Host: 127.0.0.1:{self.bench.rest.port}",
            f"Authorization: {self.bench.bearer['Authorization']}",
            "Content-Type: application/json",
            f"Content-Length: {len(A_BOOK)}",
        ]
        self._request = "\r\n".join([*head, "", A_BOOK]).encode()

    async def post(self) -> tuple[int, float]:
        """The id of the book, and when it was answered. Raises LoadFailed."""
        reader, writer = await self._connection()
        writer.write(self._request)
        head = await reader.readuntil(b"\r\n\r\n")
        length, created = _LENGTH.search(head), _CREATED.search(head)
        if not head.startswith(b"HTTP/1.1 201 ") or length is None or created is None:
            raise LoadFailed("the poster of books", head.decode())
        await reader.readexactly(int(length[1]))
        moment = time.perf_counter()
        self._free.append((reader, writer))
        return int(created[1]), moment

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._free:
            reader, writer = self._free.pop()
            if not reader.at_eof():  # the service ends what is idle for a few seconds
                return reader, writer
        return await self._connect()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.bench.rest.port)
        self.stack.callback(writer.close)
        return reader, writer
