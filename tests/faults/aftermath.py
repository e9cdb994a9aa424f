"""After the faults: waits until everything that was held up has arrived, and gathers the evidence."""

import asyncio
import re
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import httpx
from faults.judge import Evidence
from faults.load import Load
from faults.system import CACHE_SECONDS, System
from faults.watcher import Watcher
from faults.writes import Book, Entry
from grpc_api.consumer import BOOK_LOG
from support.people import Person
from support.services import GrpcApi
from support.waiting import PATIENCE, patience

LOG: Final = """
    SELECT position, kind, actor, book_id, title, author, publication_date::text, version
    FROM event_log ORDER BY position
"""
ROWS: Final = "SELECT id, title, author, publication_date::text, version FROM books"
NEWEST: Final = "SELECT coalesce(max(position), 0) FROM event_log"
_ERROR: Final = re.compile(r"Traceback|\[(error|critical) +\]")
WAITING: Final = "SELECT (SELECT count(*) FROM outbox), (SELECT count(*) FROM parked_events)"


async def evidence_of(system: System, load: Load, watcher: Watcher) -> Evidence:
    """What there is when nothing is under way. Stops the consumers, so that they hold no unacknowledged messages."""
    ended = {name for name, victim in system.victims.items() if not victim.is_running}
    assert not ended, f"{ended} ended by themselves"
    await _let_everything_arrive(system, watcher)
    log, rows = entries_of(await system.query(LOG)), books_of(await system.query(ROWS))
    errors = errors_in({service.name: service.output for service in system.services})
    shown = await shown_to_readers(system.rest_url, rows.keys() | {entry.book.id for _, entry in log}, rows)
    return Evidence(load.writes, load.reads, log, watcher.seen, rows, shown, await _left(system), errors)


def entries_of(log: Iterable[Sequence[Any]]) -> list[tuple[int, Entry]]:
    """What LOG gives, each entry with its position."""
    return [(position, Entry(kind, actor, Book(*book))) for position, kind, actor, *book in log]


def books_of(rows: Iterable[Sequence[Any]]) -> dict[int, Book]:
    """What ROWS gives, by id."""
    return {book[0]: Book(*book) for book in rows}


async def _let_everything_arrive(system: System, watcher: Watcher) -> None:
    consumers = [service for service in system.services if isinstance(service, GrpcApi)]
    async with patience("everything has arrived"):
        while True:
            while not await _has_arrived(system, watcher):
                await asyncio.sleep(0.1)
            ends = await asyncio.gather(*(asyncio.to_thread(consumer.terminate) for consumer in consumers))
            assert set(ends) == {0}
            # What they had not acknowledged is in the queue again, or in the log.
            if await _has_arrived(system, watcher):
                return
            await asyncio.gather(*(asyncio.to_thread(consumer.start) for consumer in consumers))


async def _has_arrived(system: System, watcher: Watcher) -> bool:
    left = await _left(system)
    return not left["outbox"] and not left[BOOK_LOG.queue] and await system.query(NEWEST) == [(watcher.position,)]


async def _left(system: System) -> Mapping[str, int]:
    [(outbox, parked)] = await system.query(WAITING)
    return {"outbox": outbox, "parked events": parked} | await system.queued()


def errors_in(logs: Mapping[str, str]) -> list[str]:
    """What services have logged, by their names, that tells of an error nobody expected."""
    return [f"{name} logged: {line}" for name, log in logs.items() for line in log.splitlines() if _ERROR.search(line)]


async def shown_to_readers(url: str, book_ids: Collection[int], rows: Mapping[int, Book]) -> dict[int, Book | None]:
    """What a reader is shown, who looks again for as long as a cache may hold what is older."""
    shown: dict[int, Book | None] = {}
    stale = list(book_ids)
    began = time.monotonic()
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE, trust_env=False) as client:
        reader = await Person.register(client)
        await reader.sign_in()
        while True:
            so_far = time.monotonic() - began
            shown |= {book_id: await _read(reader, book_id) for book_id in stale}
            stale = [book_id for book_id in stale if shown[book_id] != rows.get(book_id)]
            # An answer from when no cache could hold an older one is final.
            if not stale or so_far > CACHE_SECONDS + 1:
                return shown
            print(f"{len(stale)} books are shown as they were, {so_far:.0f} s after all was well")
            await asyncio.sleep(2)


async def _read(reader: Person, book_id: int) -> Book | None:
    answer = await reader.call("GET", f"/books/{book_id}")
    if answer.status_code == httpx.codes.NOT_FOUND:
        return None
    assert answer.status_code == httpx.codes.OK, answer.text
    return Book(**{name: answer.json()[name] for name in Book._fields})
