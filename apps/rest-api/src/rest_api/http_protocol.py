"""What uvicorn leaves open: how long the headers of a request may be, and how long they may take to come."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, cast

import httptools
from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from rest_api.problems import problem
from rest_api.security_headers import Headers

MAX_HEAD_BYTES: Final = 32 * 1_024
"""Of the request line and all headers together. Browsers and proxies stay below 16 KiB."""

MAX_HEADERS: Final = 100

LEAST_RATE: Final = 1_024
"""Bytes of a body a second that a client must send at the least, on an average over its patience. A byte now and then
would keep a connection, and what was read, for days.
"""

_STREAMS: Final = frozenset({"/api/v1/books/import"})
"""Where a client may pause in the body: what it sends may be made while it is sent."""

_LINGER: Final = 1.0
"""Seconds in which what a refused client still sends is read and thrown away. Closing at once would reset the
connection, and the answer would be lost with it.
"""


class BoundedProtocol(HttpToolsProtocol):
    """HTTP/1.1 of uvicorn, which refuses heads that are too long and clients that do not go on.

    Answers that uvicorn would give in plain text are problem documents here.
    """

    def __init__(self, *args: Any, patience: float, security_headers: Headers, **options: Any) -> None:
        """``patience`` is how long, in seconds, the headers of a request may take, and so many bytes of its body as are
        to come in that time.
        """
        super().__init__(*args, **options)
        self._patience = patience
        self._security_headers = security_headers
        self._watch: asyncio.TimerHandle | None = None
        self._since = 0.0
        self._bytes_since = 0
        self._in_head = False
        self._went_on = False
        self._unread = 0
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        super().connection_made(transport)
        self._since = self.loop.time()
        self._watch = self.loop.call_later(self._patience, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._went_on = False
        super().data_received(data)
        # The parser keeps what is not complete yet: a header without an end would fill the memory.
        self._unread = 0 if self._went_on else self._unread + len(data)
        if self._unread > MAX_HEAD_BYTES:
            self._refuse(_head_too_long())

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = self._went_on = True
        if not self._is_busy:
            self._since = self.loop.time()

    def on_headers_complete(self) -> None:
        if len(self.headers) > MAX_HEADERS or self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(_head_too_long())
            raise _Refused
        if fault := self._fault_of_head():
            self._refuse(fault)
            raise _Refused
        self._in_head = False
        super().on_headers_complete()
        # uvicorn's own answer to a failure outside of what answers the app's failures is plain text.
        fail = partial(_fail, self.cycle.send, self._security_headers)
        self.cycle.send_500_response = fail  # type: ignore[method-assign]  # uvicorn makes the cycle itself
        self._since, self._bytes_since = self.loop.time(), 0

    def on_body(self, body: bytes) -> None:
        self._went_on = True
        self._bytes_since += len(body)
        if self._is_busy and self._bytes_since >= LEAST_RATE * self._patience:
            self._since, self._bytes_since = self.loop.time(), 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._went_on = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._since = self.loop.time()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        if not self._refused:
            self._in_head = True  # of something that is none
            self._refuse(problem(400, "not-http", "This is not HTTP as this service reads it."))

    def _fault_of_head(self) -> Response | None:
        """What the parser lets pass, and what is in front may read otherwise."""
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (not hosts and self.parser.get_http_version() == "1.1"):  # RFC 9112, 3.2
            return problem(400, "malformed-header", "A request must have one Host header.")
        codings = b",".join(value for name, value in self.headers if name == b"transfer-encoding").lower()
        if codings and codings.strip() != b"chunked":  # RFC 9112, 6.1
            return problem(501, "coding-not-known", "The only transfer coding that this service reads is chunked.")
        return None

    @property
    def _is_busy(self) -> bool:
        """Whether a request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _look(self) -> None:
        """Lets a client go that has kept this side waiting for too long."""
        if self._refused:
            return
        now = self.loop.time()
        if not self._waits_for_client:
            self._since = now
        left = self._since + self._patience - now
        if left > 0:
            self._watch = self.loop.call_later(left, self._look)
        else:
            self._refuse(problem(408, "too-slow", f"The headers did not come within {self._patience:g} seconds."))

    @property
    def _waits_for_client(self) -> bool:
        if not self._is_busy:
            return True
        return self.cycle.more_body and not self.flow.read_paused and self.cycle.scope["path"] not in _STREAMS

    def _refuse(self, answer: Response) -> None:
        """Answers and closes; where nothing was asked, or something else is being answered, it only closes."""
        self._refused = True
        if self._is_busy or not self._in_head:
            self.transport.close()
            return
        headers = [*self.server_state.default_headers, *self._security_headers, *answer.raw_headers]
        lines = [b"%s: %s\r\n" % header for header in [*headers, (b"connection", b"close")]]
        self.transport.write(b"".join([STATUS_LINE[answer.status_code], *lines, b"\r\n", bytes(answer.body)]))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(_LINGER, self.transport.close)


async def _fail(send: Callable[[Any], Awaitable[None]], security_headers: Headers) -> None:
    answer = problem(500, "internal", "Something went wrong here. The log of the service says what.")
    headers = [*security_headers, *answer.raw_headers, (b"connection", b"close")]
    await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": bytes(answer.body), "more_body": False})


class _Refused(httptools.HttpParserError):
    """Ends the parsing: the request was answered."""


def bounded(patience: float, security_headers: Headers) -> type[asyncio.Protocol]:
    """What `uvicorn.Config` takes as `http`."""
    made = partial(BoundedProtocol, patience=patience, security_headers=security_headers)
    return cast(type[asyncio.Protocol], made)  # it is called and nothing else


def _head_too_long() -> Response:
    detail = f"The request line and the headers are longer than {MAX_HEAD_BYTES} bytes, or more than {MAX_HEADERS}."
    return problem(431, "header-too-large", detail)
