"""A collector of OpenTelemetry's: takes spans over OTLP/HTTP, and keeps them."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans


class Collected(NamedTuple):
    """One span, as it was sent."""

    service: str
    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    """Empty for one that begins a trace."""


class Collector:
    """What was collected, from whomever."""

    def __init__(self, port: int) -> None:
        self.endpoint = f"http://127.0.0.1:{port}"
        """For OTEL_EXPORTER_OTLP_ENDPOINT."""
        self._spans: list[Collected] = []
        self._lock = threading.Lock()

    def of_trace(self, trace_id: str) -> list[Collected]:
        """The spans of one trace, by service."""
        with self._lock:
            return sorted(span for span in self._spans if span.trace_id == trace_id)

    def collect(self, path: str, body: bytes) -> None:
        assert path == "/v1/traces", path
        with self._lock:
            for sent in ExportTraceServiceRequest.FromString(body).resource_spans:
                self._spans += _spans_of(sent)


def _spans_of(sent: ResourceSpans) -> Sequence[Collected]:
    [service] = [each.value.string_value for each in sent.resource.attributes if each.key == "service.name"]
    return [
        Collected(service, span.name, span.kind, span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex())
        for scope in sent.scope_spans
        for span in scope.spans
    ]


@contextmanager
def collecting(port: int = 0) -> Iterator[Collector]:
    """A collector for the length of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collector.collect(self.path, self.rfile.read(int(self.headers["Content-Length"])))
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's name
            """Nothing to say."""

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        collector = Collector(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()
