"""What is seen of each request: its trace, its count, its time."""

import time
from collections.abc import Awaitable
from http import HTTPStatus
from typing import Final

from book_runtime.telemetry import begin_span, context_of
from opentelemetry import context as otel
from opentelemetry.trace import StatusCode, set_span_in_context
from prometheus_client import Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_READS: Final = frozenset(("GET", "HEAD", "OPTIONS"))

_REQUESTS: Final = Histogram(
    "colophon_http_request_seconds",
    "Requests by operation and status",
    ["operation", "status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)


class Observed:
    """ASGI middleware: goes on with the caller's trace (W3C Trace Context) and measures."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answered = _Answered(send)
        began = time.perf_counter()
        try:
            if scope["method"] in _READS:
                await self._read(scope, receive, answered)
            else:
                await self._write(scope, receive, answered)
        finally:
            _REQUESTS.labels(_operation(scope), answered.status).observe(time.perf_counter() - began)

    async def _read(self, scope: Scope, receive: Receive, answered: "_Answered") -> None:
        """A read leaves no event behind, so a span of its own would only cost it time."""
        traceparent = _traceparent(scope)
        if traceparent is None:
            await self._app(scope, receive, answered.send)
            return
        trace = otel.attach(context_of(traceparent))
        try:
            await self._app(scope, receive, answered.send)
        finally:
            otel.detach(trace)

    async def _write(self, scope: Scope, receive: Receive, answered: "_Answered") -> None:
        caller = context_of(_traceparent(scope))
        # By hand: start_as_current_span takes twice as long.
        span = begin_span(f"{scope['method']} {scope['path']}", caller)
        trace = otel.attach(set_span_in_context(span, caller))
        try:
            await self._app(scope, receive, answered.send)
        except Exception as error:
            span.record_exception(error)
            raise
        finally:
            if answered.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                span.set_status(StatusCode.ERROR)
            otel.detach(trace)
            span.end()


class _Answered:
    """Sends an answer, and notes its status: 500 until there is one."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 500

    def send(self, message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        return self._send(message)


def _operation(scope: Scope) -> str:
    """What OpenAPI calls it. Not the path, of which there are as many as a client cares to invent."""
    route = scope.get("route")
    return getattr(route, "operation_id", None) or getattr(route, "name", None) or "none"


def _traceparent(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"traceparent":
            return str(value, "latin-1")
    return None
