"""Calls: with a token, within a deadline, and with errors in words of the domain."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Generic, TypeVar, cast

import betterproto2
import grpc
from books.v1 import book_service_pb2 as answers
from google.protobuf.message import DecodeError

from book_contracts.checking import invalid
from book_contracts.client.channel import SERVICE, open_channel
from book_contracts.client.tokens import TokenSource
from book_contracts.errors import CatalogueError, DeadlineExceeded, NotSignedIn, ServiceFailed, Unavailable, error_of

Answer = TypeVar("Answer")
Result = TypeVar("Result")


_TIMEOUT_MAX_SECONDS: Final = 10**9
"""More than thirty years. The clock of gRPC ends somewhere behind that."""


class CatalogueClosed(CatalogueError):
    """This BookCatalogue is not open: use it inside of `async with`."""

    code = "FAILED_PRECONDITION"


@dataclass(frozen=True, slots=True)
class Method(Generic[Answer]):
    """A method of the service."""

    path: str
    decode: Callable[[bytes], Answer]

    def read(self, answer: bytes) -> Answer:
        """Raises ServiceFailed for what is no answer of this method."""
        try:
            return self.decode(answer)
        except DecodeError as error:
            raise ServiceFailed(message="The answer is none of this contract.", reason="UNDECODABLE_ANSWER") from error


GET: Final = Method(f"/{SERVICE}/GetBook", answers.GetBookResponse.FromString)
BATCH_GET: Final = Method(f"/{SERVICE}/BatchGetBooks", answers.BatchGetBooksResponse.FromString)
LIST: Final = Method(f"/{SERVICE}/ListBooks", answers.ListBooksResponse.FromString)
WATCH: Final = Method(f"/{SERVICE}/WatchBooks", answers.WatchBooksResponse.FromString)


class Connection:
    """The channel of a catalogue, and who calls over it."""

    def __init__(
        self,
        address: str,
        credentials: grpc.ChannelCredentials | None,
        tokens: TokenSource | None,
        timeout: float,
    ) -> None:
        self._address = address
        self._credentials = credentials
        self._tokens = tokens
        self._channel: grpc.aio.Channel | None = None
        self.timeout = timeout
        """Seconds that a call may take which says nothing else."""

    def open(self) -> None:
        self._channel = open_channel(self._address, self._credentials)

    async def close(self) -> None:
        """Breaks off what is running."""
        if self._channel is not None:
            channel, self._channel = self._channel, None
            await channel.close()

    async def ask(self, method: Method[Answer], request: betterproto2.Message, timeout: float | None) -> Answer:
        """The answer of a unary call. With a token that is refused the call is repeated once, if there is another.

        Raises InvalidRequest for what is no request, before anything is sent.
        """
        asked = bytes(request)
        until = time.monotonic() + _seconds(self.timeout if timeout is None else timeout)
        async with _within(until):
            token = await self._token()
        try:
            return await self._ask(method, asked, token, until)
        except NotSignedIn:
            async with _within(until):
                renewed = await self.renewed(token)
            if renewed is None:
                raise
            return await self._ask(method, asked, renewed, until)

    async def stream(self, method: Method[Answer], request: betterproto2.Message) -> "Stream[Answer]":
        """Begins a call with many answers, without a deadline. Raises InvalidRequest as `ask` does."""
        asked = bytes(request)
        token = await self._token()
        call: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = self._open_channel.unary_stream(method.path)
        return Stream(self, method, call(asked, metadata=_metadata(token)), token)

    async def renewed(self, refused: str | None) -> str | None:
        """A token in place of one that was refused, or None."""
        return None if self._tokens is None or refused is None else await self._tokens.renewed(refused)

    async def _token(self) -> str | None:
        return None if self._tokens is None else await self._tokens.token()

    async def _ask(self, method: Method[Answer], asked: bytes, token: str | None, until: float) -> Answer:
        # With neither a serializer nor a deserializer: where one raises, grpc.aio (1.85) logs that and goes on with
        # None. It sends None as an empty message, which asks for all books and watches all.
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self._open_channel.unary_unary(method.path)
        left = max(until - time.monotonic(), 0)
        return method.read(await self.answered(call(asked, metadata=_metadata(token), timeout=left)))

    async def answered(self, answer: Awaitable[Result]) -> Result:
        """Waits for an answer. Raises CatalogueError."""
        try:
            return await answer
        except grpc.aio.AioRpcError as error:
            raise (CatalogueClosed() if self._channel is None else error_of(error)) from error
        except asyncio.CancelledError:
            if self._channel is None and not _is_cancelled():
                raise CatalogueClosed from None
            raise

    @property
    def _open_channel(self) -> grpc.aio.Channel:
        if self._channel is None:
            raise CatalogueClosed
        return self._channel


class Stream(Generic[Answer]):
    """The answers of one call, until it breaks."""

    def __init__(
        self,
        connection: Connection,
        method: Method[Answer],
        call: "grpc.aio.UnaryStreamCall[bytes, bytes]",
        token: str | None,
    ) -> None:
        self._connection = connection
        self._method = method
        self._call = call
        self.token = token
        """The one that it was begun with."""

    async def next(self) -> Answer:
        """Raises CatalogueError, Unavailable also when the stream has ended without an error."""
        answer = await self._connection.answered(self._call.read())
        if answer is grpc.aio.EOF:
            raise Unavailable("The stream has ended.")
        return self._method.read(cast(bytes, answer))

    def cancel(self) -> None:
        self._call.cancel()

    def __del__(self) -> None:
        # gRPC holds on to a call that runs, and the service would go on with it for nobody.
        self.cancel()


@asynccontextmanager
async def _within(until: float) -> AsyncIterator[None]:
    """Raises DeadlineExceeded when the block takes longer."""
    limit = asyncio.timeout(until - time.monotonic())
    try:
        async with limit:
            yield
    except TimeoutError as error:
        if limit.expired():
            raise DeadlineExceeded from error
        raise


def _seconds(timeout: float) -> float:
    """As it is, unless it is no number of seconds; NaN is within no bounds."""
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not abs(timeout) <= _TIMEOUT_MAX_SECONDS:
        raise invalid("timeout", f"must be a number of seconds, {_TIMEOUT_MAX_SECONDS:,} at most")
    return timeout


def _metadata(token: str | None) -> list[tuple[str, str]]:
    if token is None:
        return []
    if not (token.isascii() and token.isprintable()):
        # grpc.aio would raise errors of its own, and log the token's place in the metadata.
        raise NotSignedIn("The token is none: it has characters that cannot be sent in metadata.")
    return [("authorization", f"Bearer {token}")]


def _is_cancelled() -> bool:
    """Whether it is the running task that was cancelled, not something that it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
