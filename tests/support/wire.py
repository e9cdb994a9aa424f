"""Bytes on a socket: a connection on which a test sends what it wants, and reads answers by the rules of HTTP/1.1."""

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from support.waiting import patiently

_WITHOUT_CONTENT = (204, 304)


def a_request(line: str, *fields: str, body: bytes = b"", version: str = "1.1") -> bytes:
    """A request as it should be, of which a test says only what matters: `a_request("GET /healthz/live")`."""
    of_body = [f"Content-Length: {len(body)}"] if body else []
    return "\r\n".join([f"{line} HTTP/{version}", "Host: colophon", *fields, *of_body, "", ""]).encode() + body


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    """By their names in small letters."""
    body: bytes

    @property
    def problem(self) -> Any:
        assert self.headers["content-type"] == "application/problem+json"
        return json.loads(self.body)


class Wire:
    """A connection to the service."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def to(cls, port: int) -> "Wire":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        with suppress(ConnectionError):  # a service that has heard enough
            await self._writer.drain()

    async def ask(self, line: str, *fields: str, body: bytes = b"", version: str = "1.1") -> Answer:
        """What the service answers to such a request."""
        await self.send(a_request(line, *fields, body=body, version=version))
        return await self.answer(to=line.partition(" ")[0])

    async def answer(self, to: str = "GET") -> Answer:
        """The next one, be it an interim one; ``to`` is the method of its request."""
        return await patiently(self._read_answer(to), "the service answers")

    async def is_closed(self) -> bool:
        """Whether the service ends the connection, with nothing more to say."""
        with suppress(ConnectionError):
            return await patiently(self._reader.read(1), "the service ends the connection") == b""
        return True

    async def close(self) -> None:
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()

    async def _read_answer(self, method: str) -> Answer:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status_line, *lines = head.rstrip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        status = int(status_line.split()[1])
        has_content = method != "HEAD" and status >= 200 and status not in _WITHOUT_CONTENT
        return Answer(status, headers, await self._read_content(headers) if has_content else b"")

    async def _read_content(self, headers: dict[str, str]) -> bytes:
        """RFC 9112, 6.3."""
        if headers.get("transfer-encoding") == "chunked":
            return b"".join([chunk async for chunk in self._chunks()])
        if "content-length" in headers:
            return await self._reader.readexactly(int(headers["content-length"]))
        return await self._reader.read()

    async def _chunks(self) -> Any:
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            yield (await self._reader.readexactly(size + 2))[:-2]
        assert await self._reader.readexactly(2) == b"\r\n"
