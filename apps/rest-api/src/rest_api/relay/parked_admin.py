"""What becomes of the events that the relay has set aside."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import typer
from book_db.events.parked import ParkedEvents
from book_db.postgres.database import Database
from book_db.settings import DatabaseSettings
from book_runtime.settings import load


async def show() -> None:
    """Prints a line for each event that is parked."""
    async with _parked_events() as parked:
        for event in await parked.all():
            typer.echo(f"{event.event_id}  {event.kind}  book {event.book_id} v{event.version}  {event.reason}")


async def send_again(events: Sequence[UUID] | None) -> int:
    """Puts these events back into the outbox, or all of them, and tells how many there were."""
    async with _parked_events() as parked:
        return await _each(parked, parked.send_again, events)


async def drop(events: Sequence[UUID] | None) -> int:
    """Forgets these events, or all of them, and tells how many there were."""
    async with _parked_events() as parked:
        return await _each(parked, parked.drop, events)


async def _each(
    parked: ParkedEvents, act: Callable[[Sequence[UUID]], Awaitable[int]], events: Sequence[UUID] | None
) -> int:
    ids = events or [event.event_id for event in await parked.all()]
    done = await act(ids)
    if done < len(ids):
        typer.echo(f"{len(ids) - done} of them are not parked.", err=True)
    return done


@asynccontextmanager
async def _parked_events() -> AsyncIterator[ParkedEvents]:
    database = Database.open(load(DatabaseSettings).database_url, pool_size=1, name="parked-events")
    try:
        yield ParkedEvents(database)
    finally:
        await database.close()
