"""The command `rest-api parked`: what the relay has set aside, and what becomes of it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar
from uuid import UUID

import typer
from book_db.database import Database
from book_db.errors import DatabaseUnavailable
from book_db.parked_events import ParkedEvents
from book_db.settings import DatabaseSettings
from book_runtime.settings import load

R = TypeVar("R")

commands = typer.Typer(
    no_args_is_help=True, help="Events that could not be published: list them, send them again, drop them."
)

_Ids = Annotated[list[UUID] | None, typer.Argument(metavar="EVENT...", help="The ids of events.")]
_All = Annotated[bool, typer.Option("--all", help="All that are parked now.")]


@commands.command("list")
def list_parked() -> None:
    """List the events that are parked, each with the reason."""
    for event in _ask(ParkedEvents.all):
        typer.echo(f"{event.event_id}  {event.kind}  book {event.book_id} v{event.version}  {event.reason}")


@commands.command()
def send_again(events: _Ids = None, *, all_: _All = False) -> None:
    """Put events back into the outbox, when what kept them from being published is mended."""
    typer.echo(f"{_ask(lambda parked: _each(parked, parked.send_again, events, all_=all_))} will be sent again.")


@commands.command()
def drop(events: _Ids = None, *, all_: _All = False) -> None:
    """Forget events for good: nobody will ever hear of these changes."""
    typer.echo(f"{_ask(lambda parked: _each(parked, parked.drop, events, all_=all_))} dropped.")


async def _each(
    parked: ParkedEvents, act: Callable[[list[UUID]], Awaitable[int]], events: list[UUID] | None, *, all_: bool
) -> int:
    if bool(events) == all_:
        raise typer.BadParameter("name events, or say --all")
    ids = events or [event.event_id for event in await parked.all()]
    done = await act(ids)
    if done < len(ids):
        typer.echo(f"{len(ids) - done} of them are not parked.", err=True)
    return done


def _ask(question: Callable[[ParkedEvents], Awaitable[R]]) -> R:
    async def ask() -> R:
        database = Database.open(load(DatabaseSettings).database_url, pool_size=1, name="parked-events")
        try:
            return await question(ParkedEvents(database))
        finally:
            await database.close()

    try:
        return asyncio.run(ask())
    except DatabaseUnavailable as error:
        typer.echo(f"rest-api: {error}", err=True)
        raise typer.Exit(1) from error
