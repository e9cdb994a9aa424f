"""The commands `dead-letters list`, `replay` and `drop`, of `grpc-api` as well as of `colophon`."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Annotated

import typer

commands = typer.Typer(
    no_args_is_help=True, help="Messages that could not be recorded: list them, send them again, drop them."
)

_Keys = Annotated[
    list[str] | None,
    typer.Argument(metavar="LETTER...", help="What `list` calls them; letters of one name are meant together."),
]
_All = Annotated[bool, typer.Option("--all", help="All that are there now.")]


@commands.command("list")
def list_letters(*, stack: Annotated[bool, typer.Option("--stack", help="With the tracebacks.")] = False) -> None:
    """List the dead letters: when each was set aside, its name, type and book, where it comes from, and why.

    They stay where they are, but nobody else can hold them for as long as the list takes.
    """
    # Imported here, and below: they take half a second, which the other commands beside this one need not wait.
    from grpc_api.dead_letters import showing  # noqa: PLC0415

    asyncio.run(showing.show(stack=stack))


@commands.command()
def replay(letters: _Keys = None, *, all_: _All = False) -> None:
    """Send letters to the queue that they come from, when what kept them from being recorded is mended."""
    from grpc_api.dead_letters import settling  # noqa: PLC0415

    _settle(settling.replay, letters, all_=all_)


@commands.command()
def drop(letters: _Keys = None, *, all_: _All = False) -> None:
    """Throw letters away for good."""
    from grpc_api.dead_letters import settling  # noqa: PLC0415

    _settle(settling.drop, letters, all_=all_)


def _settle(
    act: Callable[[frozenset[str]], Coroutine[None, None, bool]], letters: list[str] | None, *, all_: bool
) -> None:
    if bool(letters) == all_:
        raise typer.BadParameter("name letters, or say --all")
    if not asyncio.run(act(frozenset(letters or ()))):
        raise typer.Exit(1)
