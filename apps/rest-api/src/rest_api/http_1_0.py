"""Answers to clients of HTTP/1.0, which know neither chunks nor interim answers.

uvicorn 0.54 answers them as those of HTTP/1.1, but that it closes the connection.
"""

import asyncio
import socket
import struct
from typing import Any, Final
from weakref import proxy

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

_RESET: Final = struct.pack("ii", 1, 0)
"""What SO_LINGER takes for a connection that is to end with a reset."""


def answer_as_1_0(cycle: RequestResponseCycle) -> None:
    """Has the answer of this request, which has not begun, follow HTTP/1.0."""
    cycle.waiting_for_100_continue = False  # RFC 9110, 10.1.1: this expectation is to be ignored
    # Proxies, since a cycle that held itself would be left to the garbage collector.
    cycle.transport = _WholeOrReset(proxy(cycle), cycle.transport)  # type: ignore[assignment]  # it calls these three
    cycle.send = _Unchunked(proxy(cycle)).send  # type: ignore[method-assign]  # uvicorn makes the cycle itself


class _Unchunked:
    """Sends an answer of no known length as it comes: it ends with the connection (RFC 9112, 6.3 and 7)."""

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self._is_of_known_length = True

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self._is_of_known_length = any(name.lower() == b"content-length" for name, _ in message["headers"])
            if not self._is_of_known_length:
                self._cycle.chunked_encoding = False
        elif not self._is_of_known_length:
            self._cycle.expected_content_length = len(message.get("body", b""))
        await RequestResponseCycle.send(self._cycle, message)


class _WholeOrReset:
    """The transport of an answer: where it ends before its end, the client must not take it for whole."""

    def __init__(self, cycle: RequestResponseCycle, transport: asyncio.Transport) -> None:
        self._cycle = cycle
        self._transport = transport

    def write(self, data: bytes) -> None:
        self._transport.write(data)

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def close(self) -> None:
        if self._cycle.response_complete:
            self._transport.close()
        else:
            self._reset()

    def _reset(self) -> None:
        self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()
