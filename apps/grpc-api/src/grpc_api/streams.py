"""The open streams: their callers are authenticated again and again, and they end when the service stops."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, Final, TypeAlias

from book_db.accounts.authentication import Caller
from book_db.errors import DatabaseUnavailable
from book_runtime.errors import DocumentedError

_REVIEW_SECONDS: Final = 2.0
"""Callers are cached, so a review of all streams costs next to nothing."""

_CURRENT: Final[ContextVar["_Stream"]] = ContextVar("stream")

_Authenticate: TypeAlias = Callable[[], Awaitable[Caller | None]]


class ServiceStopping(DocumentedError):
    """The service stops. Another replica answers, or this one when it is back."""


class Streams:
    """The calls that stream answers until they are ended by either side."""

    def __init__(self) -> None:
        self._open: set[_Stream] = set()
        self._stopping = False

    @asynccontextmanager
    async def open(self, authenticate: _Authenticate) -> AsyncIterator[None]:
        """A block that ends early when ``authenticate``, which is asked first and repeatedly, raises its error.

        Raises that error, then or later, and ServiceStopping. That the database is away ends no stream that has begun.
        """
        if self._stopping:
            raise ServiceStopping
        stream = _Stream(authenticate)
        self._open.add(stream)
        _CURRENT.set(stream)
        try:
            async with stream.endable():
                stream.caller = await authenticate()
                yield
        finally:
            self._open.remove(stream)

    async def review(self, *, every: float = _REVIEW_SECONDS) -> None:
        """Authenticates all callers every so many seconds, and ends the streams of those who may call no longer."""
        while True:
            await asyncio.sleep(every)
            await asyncio.gather(*(stream.review() for stream in self._open))

    def stop(self) -> None:
        """Ends all streams, and from now on each new one as it begins, with ServiceStopping."""
        self._stopping = True
        for stream in self._open:
            stream.end(ServiceStopping())


def end_of_this_stream() -> Callable[[Exception], None]:
    """Ends the stream that is open in this task with an error, from wherever it is called."""
    return _CURRENT.get().end


def caller_of_this_stream() -> Caller | None:
    """Who has opened the stream that is open in this task, as last authenticated; None where everybody may call."""
    return _CURRENT.get().caller


class _Stream:
    def __init__(self, authenticate: _Authenticate) -> None:
        self.caller: Caller | None = None
        self._authenticate = authenticate
        self._task: asyncio.Task[Any] | None = None
        self._why: Exception | None = None

    @asynccontextmanager
    async def endable(self) -> AsyncIterator[None]:
        self._task = task = asyncio.current_task()
        assert task is not None
        cancellations = task.cancelling()
        try:
            yield
        except asyncio.CancelledError:
            # As asyncio.timeout does it: a cancellation that is not ours, by a caller who is gone, goes on its way.
            if self._why is None or task.uncancel() > cancellations:
                raise
            raise self._why from None
        finally:
            self._task = None

    async def review(self) -> None:
        try:
            self.caller = await self._authenticate()
        except DatabaseUnavailable:
            pass  # who was good a moment ago is good until it is known otherwise
        except Exception as error:  # noqa: BLE001  # it is handed on to the caller
            self.end(error)

    def end(self, why: Exception) -> None:
        if self._task is not None and self._why is None:
            self._why = why
            self._task.cancel()
