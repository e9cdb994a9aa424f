"""What becomes of dead letters: sent again, or dropped."""

from collections.abc import Awaitable, Callable
from typing import Final

import typer
from book_runtime.broker.amqp import DeadLetter, DeadLetters, Rejected
from book_runtime.settings import load

from grpc_api.consumer import BOOK_LOG
from grpc_api.dead_letters.settings import DeadLetterSettings

_Act = Callable[[DeadLetters, DeadLetter], Awaitable[None]]

_ALL: Final[frozenset[str]] = frozenset()


async def replay(keys: frozenset[str]) -> bool:
    """Sends the letters of these names again, all if there are no names. Says whether that was done to all of them."""
    return await _settle(keys, DeadLetters.send_again, "sent again")


async def drop(keys: frozenset[str]) -> bool:
    """Throws them away, and says the same."""
    return await _settle(keys, DeadLetters.drop, "dropped")


async def _settle(keys: frozenset[str], act: _Act, done: str) -> bool:
    url = load(DeadLetterSettings).amqp_url
    settled, refused, missing = 0, 0, set(keys)
    try:
        async with DeadLetters.exclusive(url, BOOK_LOG) as letters:
            async for letter in letters:
                if keys != _ALL and letter.key not in keys:
                    continue
                missing.discard(letter.key)
                if await _is_done(act, letters, letter):
                    settled += 1
                else:
                    refused += 1
    finally:
        # Also when it was broken off: so much is done, and the rest is where it was.
        typer.echo(f"{settled} {done}.")
    for key in sorted(missing):
        typer.echo(f"{key} is no dead letter.", err=True)
    return not refused and not missing


async def _is_done(act: _Act, letters: DeadLetters, letter: DeadLetter) -> bool:
    try:
        await act(letters, letter)
    except Rejected as error:
        typer.echo(str(error), err=True)
        return False
    return True
