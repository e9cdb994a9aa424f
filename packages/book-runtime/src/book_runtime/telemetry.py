"""Traces, by OpenTelemetry. Logs and messages always carry a trace id; spans are sent only with
OTEL_EXPORTER_OTLP_ENDPOINT, whose variables stand in https://opentelemetry.io/docs/specs/otel/protocol/exporter/."""

import os
import time
from collections.abc import Iterable
from functools import cache
from importlib.metadata import entry_points
from random import Random
from typing import Any, Final, NamedTuple, cast
from urllib.parse import urlsplit

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from book_runtime.settings import Problem, SettingsError

tracer: Final = trace.get_tracer("book_runtime")
"""Makes spans: `with tracer.start_as_current_span("publish"): ...`. Before `configure` it makes none. For each request
there is `begin_span`.
"""

_RANDOM: Final = Random()  # noqa: S311  # ids are no secrets
"""Not the generator of the module `random`: a seed there would give two processes the same ids."""

_FLAGS: Final = TraceFlags(TraceFlags.SAMPLED | TraceFlags.RANDOM_TRACE_ID)
"""As of a span that is recorded: that this process sends none must not keep others from sending theirs."""

_TRACEPARENT: Final = "00-{:032x}-{:016x}-{:02x}"
_W3C: Final = TraceContextTextMapPropagator()
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_OWN_SESSIONS: Final = (
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER",
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_TRACES_CREDENTIAL_PROVIDER",
)
_EXPORTERS: Final = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}


class Cause(NamedTuple):
    """A message, and the trace in which it was caused."""

    message_id: str
    traceparent: str | None


def configure(service: str) -> None:
    """Starts tracing for this process; later calls change nothing. What is left to send is sent at exit.

    Raises SettingsError when spans are to be sent and cannot be.
    """
    if isinstance(trace.get_tracer_provider(), TracerProvider):
        return
    resource = Resource.create({SERVICE_NAME: service})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    if endpoint := _endpoint():
        # Imported here, as the exporter is: what sends spans takes memory, and a thread.
        from book_runtime.sending_spans import send_spans  # noqa: PLC0415

        send_spans(provider, _exporter(endpoint))
    trace.set_tracer_provider(provider)


def begin_span(name: str, caller: Context) -> Span:
    """The span of a request in the trace of its caller, or in a new one. Whoever begins it ends it.

    Where spans are sent nowhere it has its ids and no more: to record it would take a write a tenth of its time.
    """
    if _sends_spans():
        return tracer.start_span(name, caller, SpanKind.SERVER)
    known = trace.get_current_span(caller).get_span_context()
    trace_id, flags = (known.trace_id, known.trace_flags) if known.is_valid else (_new_id(bits=128), _FLAGS)
    return NonRecordingSpan(SpanContext(trace_id, _new_id(bits=64), is_remote=False, trace_flags=flags))


def began() -> int:
    """The time, for `record_spans`."""
    return time.time_ns()


def record_spans(name: str, kind: SpanKind, causes: Iterable[Cause], began: int) -> None:
    """A span in the trace of each cause, of what was done for all of them together and is done now.

    Where spans are sent nowhere there are none, and messages that belong to no trace begin none.
    """
    if not _sends_spans():
        return
    for cause in causes:
        of = context_of(cause.traceparent)
        if trace.get_current_span(of).get_span_context().is_valid:
            attributes = {"messaging.system": "rabbitmq", "messaging.message.id": cause.message_id}
            tracer.start_span(name, of, kind, attributes, start_time=began).end()


def current_traceparent() -> str | None:
    """The W3C `traceparent` header of the span that the caller is in, None outside of one."""
    span = trace.get_current_span().get_span_context()
    return _TRACEPARENT.format(span.trace_id, span.span_id, span.trace_flags) if span.is_valid else None


def current_trace_id() -> str | None:
    """The id of the trace that the caller is in, 32 hexadecimal digits; None outside of one."""
    span = trace.get_current_span().get_span_context()
    return f"{span.trace_id:032x}" if span.is_valid else None


def context_of(traceparent: str | None) -> Context:
    """The context that a message or a request came from; an empty one when there is none or it is not W3C."""
    return _W3C.extract({"traceparent": traceparent} if traceparent else {}, Context())


def _new_id(*, bits: int) -> int:
    return _RANDOM.getrandbits(bits) or 1  # 0 is none, by W3C Trace Context


@cache
def _sends_spans() -> bool:
    return _endpoint() is not None


def _endpoint() -> str | None:
    """The variable that says where spans are sent."""
    is_off = (
        os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or os.environ.get("OTEL_TRACES_EXPORTER") == "none"
    )
    return None if is_off else _first_set(_ENDPOINTS)


def _first_set(variables: tuple[str, ...]) -> str | None:
    return next((name for name in variables if os.environ.get(name)), None)


def _exporter(endpoint: str) -> SpanExporter:
    variable = _first_set(_PROTOCOLS)
    protocol = os.environ[variable] if variable else "http/protobuf"
    if protocol not in _EXPORTERS:
        raise SettingsError(Problem(variable or "", "is not a protocol", f"{' or '.join(_EXPORTERS)} would do"))
    # gRPC takes more than URLs: `collector:4317`, `dns:///collector`.
    if protocol != "grpc" and not _is_address(os.environ[endpoint]):
        raise SettingsError(Problem(endpoint, "is not the address of a collector", "http://collector:4318 would do"))
    found = entry_points(group="opentelemetry_traces_exporter", name=_EXPORTERS[protocol])
    if not found:
        package = f"opentelemetry-exporter-{_EXPORTERS[protocol].replace('_', '-')}"
        raise SettingsError(
            Problem(endpoint, f"needs the package {package}, which is not installed", "install it, or unset it")
        )
    try:
        # The exporter reads its address, headers and certificates from the environment itself.
        exporter = cast(SpanExporter, next(iter(found)).load()(**_options(protocol)))
    except (ValueError, OSError) as error:
        problem = Problem("OTEL_EXPORTER_OTLP_*", f"one of them cannot be used: {type(error).__name__}", "unset it")
        raise SettingsError(problem) from error
    return exporter


def _options(protocol: str) -> dict[str, Any]:
    if protocol == "grpc" or _first_set(_OWN_SESSIONS):
        return {}
    from book_runtime.sending_spans import session_without_redirects  # noqa: PLC0415  # as above

    return {"session": session_without_redirects()}


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
