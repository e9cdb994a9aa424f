"""Which broker a connection goes to, where several stand behind one name."""

import asyncio
import random
import socket
from typing import Any, Final

import aio_pika
from aiormq.connection import TransportFactory
from aiormq.exceptions import AMQPConnectionError
from yarl import URL

from book_runtime.broker.amqp.reading import ContentReader

_CONNECT_TIMEOUT_SECONDS: Final = 9.0
"""For all addresses together; a little less than the connection as a whole may take."""


class Brokers(TransportFactory):
    """Connects to any address of the name, and to the next where one does not answer.

    The address that was used last is tried last: a broker that is frozen accepts connections all the same, and never
    answers on them. The resolver may give the same order each time, and the second broker would never be tried.
    """

    def __init__(self) -> None:
        self._last: tuple[Any, ...] | None = None
        self._writer: asyncio.StreamWriter | None = None

    def hang_up(self) -> None:
        """Abort the last connection, without a close handshake and without sending what is buffered."""
        if self._writer is not None:
            self._writer.transport.abort()

    async def create(self, url: URL, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A transport. Raises AMQPConnectionError with what the last address said."""
        context = kwargs.pop("ssl_context_provider")
        if url.scheme == "amqps":
            kwargs |= {"ssl": await context.get_context(), "server_hostname": url.host}
        try:
            addresses = await self._addresses(url)
            for address in addresses[:-1]:
                try:
                    return await self._connect(address, _CONNECT_TIMEOUT_SECONDS / len(addresses), kwargs)
                except OSError:
                    continue
            return await self._connect(addresses[-1], _CONNECT_TIMEOUT_SECONDS / len(addresses), kwargs)
        except OSError as error:
            raise AMQPConnectionError(*(error.args or [repr(error)])) from error

    async def _addresses(self, url: URL) -> list[tuple[Any, ...]]:
        found = await asyncio.get_running_loop().getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
        addresses = list({address: None for *_, address in found})
        random.shuffle(addresses)
        return sorted(addresses, key=lambda address: address == self._last)

    async def _connect(
        self, address: tuple[Any, ...], timeout: float, options: dict[str, Any]
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self._last = address
        loop = asyncio.get_running_loop()
        # As asyncio.open_connection does, which has no place for a reader of one's own.
        reader = ContentReader(loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        async with asyncio.timeout(timeout):
            transport, _ = await loop.create_connection(lambda: protocol, *address[:2], **options)
        self._writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        return reader, self._writer


class Connection(aio_pika.Connection):
    """One to any of the brokers that `connect` is given."""

    async def connect_to(self, brokers: Brokers, timeout: float) -> None:
        """As `connect`, which has no place for the brokers."""
        self.kwargs["transport_factory"] = brokers
        try:
            # aio-pika would time it with wait_for, which until Python 3.12 loses a cancellation that comes as it ends.
            async with asyncio.timeout(timeout):
                await self.connect()
        except BaseException:
            # One that never opened closes itself when it is collected: in a task, wherever that happens to be.
            await self.close()
            raise
