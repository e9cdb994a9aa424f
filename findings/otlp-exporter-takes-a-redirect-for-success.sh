#!/usr/bin/env bash
# opentelemetry-exporter-otlp-proto-http 1.45.2: a collector that answers 301, as one behind http:// does that wants
# https://, gets no spans, and the exporter says SUCCESS. The redirect is not followed, and nothing is logged.
# One would expect a failure for whatever is not 2xx.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check opentelemetry-exporter-otlp-proto-http==1.45.2 opentelemetry-sdk==1.45.2

cat >"$folder/expected" <<'OUTPUT'
SpanExportResult.SUCCESS
asked: [('POST', '/v1/traces')]
OUTPUT

"$folder/venv/bin/python" - >"$folder/seen" <<'PROGRAM'
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider

asked = []


class Collector(BaseHTTPRequestHandler):
    def answer(self):
        asked.append((self.command, self.path))
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(301 if self.path == "/v1/traces" else 200)
        self.send_header("Location", "/secure/v1/traces")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Collector)
threading.Thread(target=server.serve_forever, daemon=True).start()
span = TracerProvider().get_tracer("shop").start_span("a sale")
span.end()
print(OTLPSpanExporter(f"http://127.0.0.1:{server.server_port}/v1/traces").export([span]))
print("asked:", asked)
server.shutdown()
PROGRAM

diff "$folder/expected" "$folder/seen"
cat "$folder/seen"
