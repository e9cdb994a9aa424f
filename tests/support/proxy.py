"""A TCP proxy that is the network between a client and a server, and fails as networks do when it is told to."""

import asyncio
import socket
import struct
from contextlib import suppress
from types import TracebackType
from typing import Final, Literal, Self

from support.ports import free_port

End = Literal["client", "server"]

_PIECE: Final = 65_536
_RESET_WHEN_CLOSED: Final = struct.pack("ii", 1, 0)


class Proxy:
    """Listens on a free port of 127.0.0.1 and passes everything on to another port, within the running event loop.

    What it does wrong lasts until `heal`; connections that were dropped or half closed do not come back by that.
    """

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self._target = target
        self._listening: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._lag = 0.0
        self._passable = asyncio.Event()
        self._passable.set()

    async def __aenter__(self) -> Self:
        await self.heal()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.refuse()
        ending = [connection.task for connection in self._connections]
        self.drop()
        await asyncio.gather(*ending, return_exceptions=True)

    def drop(self) -> None:
        """Resets all connections, at both ends. New ones are taken."""
        for connection in self._connections:
            connection.task.cancel()

    def half_close(self, towards: End) -> None:
        """Ends all connections in one direction: that end hears that nothing will come any more, the other end nothing.

        What goes in the other direction is passed on.
        """
        for connection in self._connections:
            connection.half_close(towards)

    def delay(self, seconds: float) -> None:
        """Holds every piece back for so long, in both directions."""
        self._lag = seconds

    def black_hole(self) -> None:
        """Lets nothing through, not even the news that an end is gone.

        What was sent arrives after `heal`, as when TCP repeats what was lost on its way.
        """
        self._passable.clear()

    def lead_to(self, target: int) -> None:
        """New connections lead to another port. Those that there are stay."""
        self._target = target

    def refuse(self) -> None:
        """Takes no new connections. Those that there are stay."""
        listening, self._listening = self._listening, None
        if listening is not None:
            listening.close()

    async def heal(self) -> None:
        """Passes everything on again, at once."""
        self._lag = 0.0
        self._passable.set()
        if self._listening is None:
            self._listening = await asyncio.start_server(self._take, "127.0.0.1", self.port)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the server. Raises OSError."""
        await self._passable.wait()
        return await asyncio.open_connection("127.0.0.1", self._target)

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Everything that comes and then its end, in the way of the moment. Raises OSError when a connection breaks."""
        try:
            while piece := await reader.read(_PIECE):
                await asyncio.sleep(self._lag)
                await self._passable.wait()
                writer.write(piece)
                await writer.drain()
        except OSError:
            await self._passable.wait()
            raise
        await self._passable.wait()
        writer.write_eof()

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(self, reader, writer)
        self._connections.add(connection)
        connection.task.add_done_callback(lambda _: self._connections.discard(connection))


class _Connection:
    """Two connections that are one to those at their ends."""

    def __init__(self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._reader = reader
        self._writers = {"client": writer}
        self._ways: dict[End, asyncio.Task[None]] = {}
        self.task = asyncio.create_task(self._live())

    def half_close(self, towards: End) -> None:
        if towards in self._ways:
            self._ways[towards].cancel()
            self._writers[towards].write_eof()

    async def _live(self) -> None:
        is_broken = True
        try:
            await self._open()
            await asyncio.wait(self._ways.values(), return_when=asyncio.FIRST_EXCEPTION)
            is_broken = any(map(_has_failed, self._ways.values()))
        except OSError:
            pass  # there is no server: the client is told by a reset
        finally:
            for way in self._ways.values():
                way.cancel()
            for writer in self._writers.values():
                _reset(writer) if is_broken else writer.close()
            await asyncio.gather(*self._ways.values(), return_exceptions=True)

    async def _open(self) -> None:
        reader, self._writers["server"] = await self._proxy.connect()
        self._ways["server"] = asyncio.create_task(self._proxy.pass_on(self._reader, self._writers["server"]))
        self._ways["client"] = asyncio.create_task(self._proxy.pass_on(reader, self._writers["client"]))


def _has_failed(way: asyncio.Task[None]) -> bool:
    return way.done() and not way.cancelled() and way.exception() is not None


def _reset(writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):  # it is closed already
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_WHEN_CLOSED)
    writer.transport.abort()
