"""A dead letter as a line for people, and its traceback as some more."""

import asyncio
from collections.abc import Iterator
from datetime import UTC

import typer
from book_runtime.broker.amqp import DeadLetter, DeadLetters
from book_runtime.logs import escaped
from book_runtime.settings import load
from books.v1.book_event_pb2 import BookEvent
from google.protobuf.message import DecodeError

from grpc_api.consumer import BOOK_LOG
from grpc_api.dead_letters.settings import DeadLetterSettings


async def show(*, stack: bool) -> None:
    """Prints a line for each dead letter, with ``stack`` the tracebacks too."""
    shown = False
    async with DeadLetters.exclusive(load(DeadLetterSettings).amqp_url, BOOK_LOG) as letters:
        async for letter in letters:
            shown = True
            # A pager that is full makes printing wait, and the connection must not.
            await asyncio.to_thread(typer.echo, "\n".join(lines_of(letter, stack=stack)))
    if not shown:
        typer.echo("There are no dead letters.", err=True)


def lines_of(letter: DeadLetter, *, stack: bool = False) -> Iterator[str]:
    """What is known of a letter. Nothing in it can begin a line or move the cursor, whoever wrote it."""
    parts = [_time(letter), letter.key, letter.message.type, _book(letter), f"from {letter.queue}", letter.reason]
    yield "  ".join(escaped(part) for part in parts if part)
    if stack:
        yield from (f"    {escaped(line)}" for line in letter.stack.splitlines())


def _time(letter: DeadLetter) -> str:
    return f"{letter.time.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z" if letter.time else "at a time unknown"


def _book(letter: DeadLetter) -> str:
    try:
        book = BookEvent.FromString(letter.message.body).book
    except DecodeError:
        return ""
    return f"book {book.id} v{book.version}" if book.id else ""
