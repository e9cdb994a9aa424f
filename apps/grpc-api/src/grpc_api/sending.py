"""Sends answers to callers who may be slow, or gone before the answer is sent."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing
from typing import Any, Final

import grpc

_STATUS_TIMEOUT_SECONDS: Final = 10.0
"""A status waits behind the messages that the caller has not read yet, which may be for ever."""

_CallerIsGone: Final = grpc.aio.InternalError
"""What grpcio (1.85) raises for a pending send when the caller cancels or is gone, before it cancels the task or in
place of a status. Bytes and a status can always be sent, so there is no other reason.
"""


async def write_all(messages: AsyncGenerator[Any, None], context: Any) -> None:
    """Sends what the generator gives, and closes it in the end."""
    send = _to_the_end
    async with aclosing(messages):
        async for message in messages:
            try:
                await send(context.write(message))
            except _CallerIsGone:
                raise asyncio.CancelledError from None
            send = _as_it_is


async def end_with(status: Any, context: Any) -> None:
    """Ends the call with an error."""
    try:
        async with asyncio.timeout(_STATUS_TIMEOUT_SECONDS):
            await context.abort_with_status(status)
    except (TimeoutError, _CallerIsGone):
        # As if the caller had cancelled: grpcio then resets the stream, and frees everything.
        raise asyncio.CancelledError from None


def forgive_callers_who_are_gone() -> None:
    """Keeps grpcio from logging an error with a traceback when the caller of a unary call is gone, whose answer grpcio
    sends itself.
    """
    # The same function each time, so that it is there once.
    logging.getLogger("grpc._cython.cygrpc").addFilter(_is_not_of_a_caller_who_is_gone)


def _is_not_of_a_caller_who_is_gone(record: logging.LogRecord) -> bool:
    kind = record.exc_info and record.exc_info[0]
    return not (kind and issubclass(kind, _CallerIsGone))


async def _as_it_is(sending: Awaitable[None]) -> None:
    await sending


async def _to_the_end(sending: Awaitable[None]) -> None:
    """Completes the first send even if the stream ends meanwhile: after half of it, grpcio could send no status."""
    task = asyncio.ensure_future(sending)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.gather(task, return_exceptions=True)
        raise
