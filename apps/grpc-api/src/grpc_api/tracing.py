"""Traces that began elsewhere (W3C Trace Context): what is logged on their behalf carries their id."""

from collections.abc import Iterator
from contextlib import contextmanager

from book_runtime.telemetry import context_of
from opentelemetry import context as otel
from opentelemetry.trace import format_trace_id, get_current_span


@contextmanager
def on_behalf_of(traceparent: str | None) -> Iterator[None]:
    """Lets the log lines of the block carry the trace id that the header names, if it names one."""
    token = otel.attach(context_of(traceparent))
    try:
        yield
    finally:
        otel.detach(token)


def trace_id_of(traceparent: str | None) -> str | None:
    """The trace id that the header names, in hexadecimal."""
    if not traceparent:
        return None
    span = get_current_span(context_of(traceparent)).get_span_context()
    return format_trace_id(span.trace_id) if span.is_valid else None
