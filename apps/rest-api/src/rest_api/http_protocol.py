"""What uvicorn leaves open: how long a head may be, how long it may take to come, and what HTTP asks of servers."""

import asyncio
from functools import partial
from typing import Any, Final, cast
from weakref import proxy

import httptools
from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from rest_api.http_1_0 import answer_as_1_0
from rest_api.http_rules import DECISIVE, fault_of, origin_form_of
from rest_api.problems.document import problem
from rest_api.security_headers import Headers

MAX_HEAD_BYTES: Final = 32 * 1_024
"""Of the request line and all headers together. Browsers and proxies stay below 16 KiB."""

MAX_HEADERS: Final = 100

MIN_BYTES_PER_SECOND: Final = 1_024
"""Bytes of a body a second that a client must send at the least, on an average over its patience. A byte now and then
would keep a connection, and what was read, for days.
"""

_STREAMS: Final = frozenset({"/api/v1/books/import"})
"""Where a client may pause in the body: what it sends may be made while it is sent."""

_LINGER_SECONDS: Final = 1.0
"""Seconds in which what a refused client still sends is read and thrown away. Closing at once would reset the
connection, and the answer would be lost with it.
"""


class BoundedProtocol(HttpToolsProtocol):
    """HTTP/1.1 of uvicorn, which refuses heads that are too long and clients that do not go on.

    Answers that uvicorn would give in plain text are problem documents here. Offers of another protocol are passed over
    (RFC 9110, 7.8): what is offered most is HTTP/2, on the first request of a client, with its body.
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
        self._in_body = False
        self._went_on = False
        self._unread = 0
        self._is_offer = False
        self._head_bytes = 0
        self._decisive: list[tuple[bytes, bytes]] = []
        self._refused = False
        self._refusal: Response | None = None

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
        self._unset_keepalive_if_required()
        left: bytes | memoryview = data
        while left:
            left = self._read(left)
        # The parser keeps what is not complete yet: a header without an end would fill the memory.
        self._unread = 0 if self._went_on else self._unread + len(data)
        if self._unread > MAX_HEAD_BYTES and not self._refused:
            self._refuse(self._too_long())

    def _read(self, data: bytes | memoryview) -> bytes | memoryview:
        """As uvicorn 0.54, but that what comes after an offer is left to be read.

        httptools 0.9 takes what follows an offer for the other protocol, the body of the request too, and cannot be
        told otherwise. uvicorn drops what is left of the packet, and takes the next one for another request. So a new
        parser reads the head once more, without the offer.
        """
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as stopped:
            head = self._head_without_offer()
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn: see there
            self._read(head)
            return b"" if self._refused else memoryview(data)[stopped.args[0] :]
        except httptools.HttpParserError:
            self.logger.warning("Invalid HTTP request received.")
            self.send_400_response("")
        return b""

    def _head_without_offer(self) -> bytes:
        request_line = b"%s %s HTTP/%s\r\n" % (
            self.parser.get_method(),
            self.url,
            self.parser.get_http_version().encode(),
        )
        fields = [b"%s: %s\r\n" % (name, value) for name, value in self.headers if name != b"upgrade"]
        return b"".join([request_line, *fields, b"\r\n"])

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_offer = False
        self._head_bytes = 0
        self._decisive = []
        self._in_head = self._went_on = True
        if not self._is_busy:
            self._since = self.loop.time()

    def on_header(self, name: bytes, value: bytes) -> None:
        """As uvicorn 0.54, and all else that is to be known of a field: a head is gone through once."""
        name = name.lower()
        value = value.rstrip(b" \t")  # httptools 0.9 leaves the blanks behind it (RFC 9110, 5.5)
        self.headers.append((name, value))
        self._head_bytes += len(name) + len(value) + 4
        if name in DECISIVE:
            self._decisive.append((name, value))
        elif name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True

    def on_headers_complete(self) -> None:
        version = self.parser.get_http_version()
        if fault := self._fault_of_head(version):
            self._refuse(fault)
            raise _Refused
        self._is_offer = self.parser.should_upgrade()
        if self._is_offer:
            return
        if not self.url.startswith(b"/"):
            self.url = origin_form_of(self.url)
        super().on_headers_complete()
        self._in_head, self._in_body = False, True
        # Fields after the body are none of the head (RFC 9110, 6.5.1). uvicorn adds them to it as long as nobody has
        # looked: those of a request that comes in one packet.
        self.headers = []
        if version == "1.0":
            answer_as_1_0(self.cycle)
        # uvicorn's own answer to a failure outside of what answers the app's failures is plain text. The cycle must not
        # hold itself: it would be left to the garbage collector, which took 12 % of the time of a GET.
        fail = partial(_fail, proxy(self.cycle), self._security_headers)
        self.cycle.send_500_response = fail  # type: ignore[method-assign]  # uvicorn makes the cycle itself
        self._since, self._bytes_since = self.loop.time(), 0

    def on_body(self, body: bytes) -> None:
        self._went_on = True
        self._bytes_since += len(body)
        if self._is_busy and self._bytes_since >= MIN_BYTES_PER_SECOND * self._patience:
            self._since, self._bytes_since = self.loop.time(), 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._went_on = True
        if not self._is_offer:
            self._in_body = False
            super().on_message_complete()

    def on_response_complete(self) -> None:
        self._since = self.loop.time()
        super().on_response_complete()
        if self._refusal is not None and not self._is_busy and not self.transport.is_closing():
            self._answer_and_close(self._refusal)

    def send_400_response(self, msg: str) -> None:
        if not self._refused:
            self._refuse(problem(400, "not-http", "This is not HTTP as this service reads it."))

    def _fault_of_head(self, version: str) -> Response | None:
        if len(self.headers) > MAX_HEADERS or len(self.url) + self._head_bytes > MAX_HEAD_BYTES:
            return self._too_long()
        return fault_of(self.parser.get_method(), self.url, version, self._decisive)

    def _too_long(self) -> Response:
        if 2 * len(self.url) > MAX_HEAD_BYTES:  # RFC 9112, 3
            detail = f"The address is too long: with the headers it has {MAX_HEAD_BYTES} bytes at the most."
            return problem(414, "address-too-long", detail)
        detail = f"The request line and the headers are longer than {MAX_HEAD_BYTES} bytes, or more than {MAX_HEADERS}."
        return problem(431, "header-too-large", detail)

    @property
    def _is_busy(self) -> bool:
        """Whether a request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

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
        elif self._in_head and not self._is_busy:
            self._refuse(problem(408, "too-slow", f"The headers did not come within {self._patience:g} seconds."))
        else:
            self._refused = True
            self.transport.close()

    @property
    def _waits_for_client(self) -> bool:
        if not self._is_busy:
            return True
        return self.cycle.more_body and not self.flow.read_paused and self.cycle.scope["path"] not in _STREAMS

    def _refuse(self, answer: Response) -> None:
        """Reads no more, and answers after what was asked before: in the order of the requests (RFC 9112, 9.3.2)."""
        self._refused = True
        if self._in_body:
            self._refuse_the_last(answer)
        elif self._is_busy:
            self._refusal = answer
        else:
            self._answer_and_close(answer)

    def _refuse_the_last(self, answer: Response) -> None:
        """Answers in place of the app, which has a part of the body, unless it has begun to answer itself."""
        if self._is_busy and not self.cycle.response_started and not self.pipeline:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            self._answer_and_close(answer)
        else:
            self.transport.close()

    def _answer_and_close(self, answer: Response) -> None:
        headers = [*self.server_state.default_headers, *self._security_headers, *answer.raw_headers]
        lines = [b"%s: %s\r\n" % header for header in [*headers, (b"connection", b"close")]]
        content = b"" if self.parser.get_method() == b"HEAD" else bytes(answer.body)  # RFC 9110, 9.3.2
        self.transport.write(b"".join([STATUS_LINE[answer.status_code], *lines, b"\r\n", content]))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(_LINGER_SECONDS, self.transport.close)


async def _fail(cycle: RequestResponseCycle, security_headers: Headers) -> None:
    answer = problem(500, "internal", "Something went wrong here. The log of the service says what.")
    headers = [*security_headers, *answer.raw_headers, (b"connection", b"close")]
    await cycle.send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
    await cycle.send({"type": "http.response.body", "body": bytes(answer.body), "more_body": False})


class _Refused(httptools.HttpParserError):
    """Ends the parsing: the request was answered."""


def bounded(patience: float, security_headers: Headers) -> type[asyncio.Protocol]:
    """What `uvicorn.Config` takes as `http`."""
    made = partial(BoundedProtocol, patience=patience, security_headers=security_headers)
    return cast(type[asyncio.Protocol], made)  # it is called and nothing else
