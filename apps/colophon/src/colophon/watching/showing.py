"""Changes as lines on the console."""

import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack

import typer
from book_contracts.client import BookCatalogue, BookChanged, Session, Watch
from book_contracts.errors import CatalogueError, InvalidRequest
from book_runtime import process
from grpc_api.console import line_of, writable


def show(
    catalogue: BookCatalogue, token: str | Session, *, after: int | None, author: str, book_ids: Sequence[int]
) -> int:
    """Prints changes until the process is told to stop, and returns its exit code: 2 for what cannot be asked for."""
    watch = catalogue.watch(after=after, author=author, book_ids=book_ids)
    try:
        process.run(_show(catalogue, watch, token))
    except CatalogueError as error:
        typer.echo(f"colophon: {error}", err=True)
        return 2 if isinstance(error, InvalidRequest) else 1
    finally:
        _say_where(watch, after)
    return 0


async def _show(catalogue: BookCatalogue, watch: Watch, token: str | Session) -> None:
    async with AsyncExitStack() as stack:
        if isinstance(token, Session):
            await stack.enter_async_context(token)
        await stack.enter_async_context(catalogue)
        stop_requested = await stack.enter_async_context(process.stopping())
        await process.run_until(stop_requested, _print(watch))


async def _print(watch: Watch) -> None:
    async for change in watch:
        typer.echo(writable(line_of_change(change), sys.stdout))


def line_of_change(change: BookChanged) -> str:
    """The line that the log of events has for it, and its position."""
    line = line_of(change.id, change.kind.name.lower(), change.actor, change.time, change.book)
    return f"{line}  position {change.position}"


def _say_where(watch: Watch, after: int | None) -> None:
    if watch.position not in (None, after):
        typer.echo(f"Seen up to position {watch.position}: --after {watch.position} goes on from there.", err=True)
