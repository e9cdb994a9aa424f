"""What is seen of each request: its trace, its count, its time."""

import time
from typing import Final

from book_runtime.telemetry import context_of, tracer
from opentelemetry import context as otel
from opentelemetry.trace import INVALID_SPAN, SpanKind, set_span_in_context
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
        status = 500
        began = time.perf_counter()

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._within_trace(scope, receive, sending)
        finally:
            _REQUESTS.labels(_operation(scope), status).observe(time.perf_counter() - began)

    async def _within_trace(self, scope: Scope, receive: Receive, send: Send) -> None:
        traceparent = _traceparent(scope)
        # A read leaves no event behind, so a span of its own would only cost it time.
        is_read = scope["method"] in _READS
        if is_read and traceparent is None:
            await self._app(scope, receive, send)
            return
        caller = context_of(traceparent)
        # By hand: start_as_current_span takes twice as long.
        span = INVALID_SPAN if is_read else tracer.start_span(_name(scope), caller, SpanKind.SERVER)
        trace = otel.attach(caller if is_read else set_span_in_context(span, caller))
        try:
            await self._app(scope, receive, send)
        except Exception as error:
            span.record_exception(error)
            raise
        finally:
            otel.detach(trace)
            span.end()


def _name(scope: Scope) -> str:
    return f"{scope['method']} {scope['path']}"


def _operation(scope: Scope) -> str:
    """What OpenAPI calls it. Not the path, of which there are as many as a client cares to invent."""
    route = scope.get("route")
    return getattr(route, "operation_id", None) or getattr(route, "name", None) or "none"


def _traceparent(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"traceparent":
            return str(value, "latin-1")
    return None
