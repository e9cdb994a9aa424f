"""The command `rest-api parked`: what the relay has set aside, and what becomes of it."""

import asyncio
from collections.abc import Coroutine
from typing import Annotated, TypeVar
from uuid import UUID

import typer
from book_db.errors import DatabaseUnavailable, UnfitDatabase

R = TypeVar("R")

commands = typer.Typer(
    no_args_is_help=True, help="Events that could not be published: list them, send them again, drop them."
)

_Ids = Annotated[list[UUID] | None, typer.Argument(metavar="EVENT...", help="The ids of events.")]
_All = Annotated[bool, typer.Option("--all", help="All that are parked now.")]


@commands.command("list")
def list_parked() -> None:
    """List the events that are parked, each with the reason."""
    # Imported here, and below: the services, whose commands stand beside these, are to import it while `loading`.
    from rest_api.relay import parked_admin  # noqa: PLC0415

    _run(parked_admin.show())


@commands.command()
def send_again(events: _Ids = None, *, all_: _All = False) -> None:
    """Put events back into the outbox, when what kept them from being published is mended."""
    from rest_api.relay import parked_admin  # noqa: PLC0415

    typer.echo(f"{_run(parked_admin.send_again(_named(events, all_=all_)))} will be sent again.")


@commands.command()
def drop(events: _Ids = None, *, all_: _All = False) -> None:
    """Forget events for good: nobody will ever hear of these changes."""
    from rest_api.relay import parked_admin  # noqa: PLC0415

    typer.echo(f"{_run(parked_admin.drop(_named(events, all_=all_)))} dropped.")


def _named(events: list[UUID] | None, *, all_: bool) -> list[UUID] | None:
    if bool(events) == all_:
        raise typer.BadParameter("name events, or say --all")
    return events


def _run(act: Coroutine[None, None, R]) -> R:
    try:
        return asyncio.run(act)
    except UnfitDatabase:
        raise
    except DatabaseUnavailable as error:
        typer.echo(f"rest-api: {error}", err=True)
        raise typer.Exit(1) from error
