"""Traces, by OpenTelemetry. Logs and messages always carry a trace id; spans are recorded and sent only with
OTEL_EXPORTER_OTLP_ENDPOINT, whose variables stand in https://opentelemetry.io/docs/specs/otel/protocol/exporter/."""

import os
from importlib.metadata import entry_points
from typing import Final, cast

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from book_runtime.settings import Problem, SettingsError

tracer: Final = trace.get_tracer("book_runtime")
"""Makes spans: `with tracer.start_as_current_span("publish"): ...`. Before `configure` it makes none."""

_W3C: Final = TraceContextTextMapPropagator()
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_EXPORTERS: Final = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}


def configure(service: str) -> None:
    """Starts tracing for this process; later calls change nothing. What is left to send is sent at exit.

    Raises SettingsError when spans are to be sent and cannot be.
    """
    if isinstance(trace.get_tracer_provider(), TracerProvider):
        return
    resource = Resource.create({SERVICE_NAME: service})
    if endpoint := _first_set(_ENDPOINTS):
        provider = TracerProvider(resource=resource)
        provider.add_span_processor(BatchSpanProcessor(_exporter(endpoint)))
    else:
        # What would be thrown away is not recorded: it would take a write a tenth of its time.
        provider = TracerProvider(ALWAYS_OFF, resource)
    trace.set_tracer_provider(provider)


def current_traceparent() -> str | None:
    """The W3C `traceparent` header of the span that the caller is in, None outside of one."""
    headers: dict[str, str] = {}
    _W3C.inject(headers)
    return headers.get("traceparent")


def context_of(traceparent: str | None) -> Context:
    """The context that a message or a request came from; an empty one when there is none or it is not W3C."""
    return _W3C.extract({"traceparent": traceparent} if traceparent else {}, Context())


def _first_set(variables: tuple[str, ...]) -> str | None:
    return next((name for name in variables if os.environ.get(name)), None)


def _exporter(endpoint: str) -> SpanExporter:
    variable = _first_set(_PROTOCOLS)
    protocol = os.environ[variable] if variable else "http/protobuf"
    if protocol not in _EXPORTERS:
        raise SettingsError(Problem(variable or "", "is not a protocol", f"{' or '.join(_EXPORTERS)} would do"))
    found = entry_points(group="opentelemetry_traces_exporter", name=_EXPORTERS[protocol])
    if not found:
        package = f"opentelemetry-exporter-{_EXPORTERS[protocol].replace('_', '-')}"
        raise SettingsError(
            Problem(endpoint, f"needs the package {package}, which is not installed", "install it, or unset it")
        )
    # The exporter reads its address, headers and certificates from the environment itself.
    return cast(SpanExporter, next(iter(found)).load()())
