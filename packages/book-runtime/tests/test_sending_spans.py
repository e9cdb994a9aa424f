"""Spans are sent beside the work: what becomes of them is said once, and holds up nothing."""

import os
import subprocess
import sys
import textwrap
import time

import pytest
from support.waiting import PATIENCE

CLOSED = "http://127.0.0.1:9"

AN_EXPORTER = """
import sys, threading, time
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from book_runtime import logs, telemetry
logs.configure("shop", json=False)

class Exporter(SpanExporter):
    def __init__(self, *results):
        self.results = list(results)
    def export(self, spans):
        result = self.results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

OK, FAILED = SpanExportResult.SUCCESS, SpanExportResult.FAILURE

def sending(exporter):
    telemetry._exporter = lambda _: exporter
    telemetry.configure("shop")

def send(spans=1):
    for _ in range(spans):
        telemetry.begin_span("a write", telemetry.context_of(None)).end()
    telemetry.trace.get_tracer_provider().force_flush()
"""


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: OpenTelemetry can be configured once in each."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return subprocess.run(
        [sys.executable, "-c", AN_EXPORTER + textwrap.dedent(code)],
        env=kept | {"OTEL_EXPORTER_OTLP_ENDPOINT": CLOSED, "OTEL_BSP_SCHEDULE_DELAY": "3600000"} | environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


class TestACollectorThatIsAway:
    def test_is_said_to_be_so_once_and_to_be_back_once(self) -> None:
        ended = run(
            """
            sending(Exporter(OK, FAILED, FAILED, ValueError("no such host"), OK, OK, FAILED, OK))
            for _ in range(8):
                send()
            """
        )
        said = [line.split("] ")[1].split("[")[0].strip() for line in ended.stderr.splitlines()]
        lost, back = "outage of the collector of spans: they are lost", "outage of the collector of spans is over"
        assert said == [lost, back, lost, back], ended.stderr

    @pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
    def test_is_said_with_its_reason_by_the_exporters_that_come_along(self, protocol: str) -> None:
        ended = run(
            """
            telemetry.configure("shop")
            send()
            """,
            OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
            OTEL_EXPORTER_OTLP_TIMEOUT="2",
        )
        [line] = ended.stderr.splitlines()
        assert "outage of the collector of spans" in line
        assert "reason=" in line
        assert "127.0.0.1" in line

    def test_may_be_elsewhere_than_the_address_says(self) -> None:
        """Whoever follows a redirect of a POST sends a GET, and the exporter would take it for success."""
        ended = run(
            """
            import os
            from http.server import BaseHTTPRequestHandler, HTTPServer

            class Elsewhere(BaseHTTPRequestHandler):
                def do_POST(self):
                    self.rfile.read(int(self.headers["Content-Length"]))
                    self.send_response(301)
                    self.send_header("Location", "https://collector/v1/traces")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                def log_message(self, *_):
                    pass

            server = HTTPServer(("127.0.0.1", 0), Elsewhere)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{server.server_port}"
            telemetry.configure("shop")
            send()
            """
        )
        [line] = ended.stderr.splitlines()
        assert "outage of the collector of spans" in line
        assert "leads to https://collector/v1/traces" in line

    def test_does_not_hold_up_the_end(self) -> None:
        began = time.monotonic()
        ended = run(
            """
            class Hanging(Exporter):
                def export(self, spans):
                    threading.Event().wait()
            sending(Hanging())
            telemetry.begin_span("a write", telemetry.context_of(None)).end()
            """
        )
        assert (ended.returncode, ended.stderr) == (0, "")
        assert time.monotonic() - began < 15, "OpenTelemetry itself would wait for 30 seconds"

    def test_gets_what_is_left_at_the_end(self) -> None:
        ended = run(
            """
            class Printing(Exporter):
                def export(self, spans):
                    print(*(span.name for span in spans))
                    return OK
            sending(Printing())
            telemetry.begin_span("a write", telemetry.context_of(None)).end()
            """
        )
        assert (ended.stdout, ended.stderr) == ("a write\n", "")

    def test_is_told_from_one_that_is_too_slow(self) -> None:
        ended = run(
            """
            sending(Exporter(OK, OK))
            for _ in range(10):
                telemetry.begin_span("a write", telemetry.context_of(None)).end()
            """,
            OTEL_BSP_MAX_QUEUE_SIZE="2",
            OTEL_BSP_MAX_EXPORT_BATCH_SIZE="2",
        )
        assert ended.stderr.count("more spans than are sent in time") <= 1
        assert "outage" not in ended.stderr


class TestWithoutACollector:
    @pytest.mark.parametrize(
        "environment",
        [
            pytest.param({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, id="none-is-named"),
            pytest.param({"OTEL_SDK_DISABLED": "true"}, id="opentelemetry-is-off"),
            pytest.param({"OTEL_TRACES_EXPORTER": "none"}, id="traces-are-not-sent"),
        ],
    )
    def test_nothing_is_loaded_that_would_send(self, environment: dict[str, str]) -> None:
        ended = run(
            """
            telemetry.configure("shop")
            causes = [telemetry.Cause("1", None)]
            telemetry.record_spans("publish", telemetry.SpanKind.PRODUCER, causes, telemetry.began())
            span = telemetry.begin_span("a write", telemetry.context_of(None))
            senders = ("requests", "grpc", "opentelemetry.exporter", "opentelemetry.proto", "book_runtime.sending")
            print([name for name in sys.modules if name.startswith(senders)])
            print(span.get_span_context().is_valid, threading.active_count())
            """,
            **environment,
        )
        assert (ended.stdout, ended.stderr) == ("[]\nTrue 1\n", "")


class TestAnAddress:
    @pytest.mark.parametrize(
        "address",
        [
            pytest.param("secret:4318", id="without-a-scheme"),
            pytest.param("secret", id="a-name"),
            pytest.param("ftp://secret", id="another-protocol"),
            pytest.param("http:///secret", id="without-a-host"),
            pytest.param("http://secret:port", id="a-port-that-is-none"),
            pytest.param("http://[::1", id="half-an-address"),
        ],
    )
    def test_that_is_none_is_refused_by_the_name_of_its_variable(self, address: str) -> None:
        ended = run(
            """
            try:
                telemetry.configure("shop")
            except telemetry.SettingsError as error:
                print(error)
            """,
            OTEL_EXPORTER_OTLP_ENDPOINT=address,
        )
        assert "OTEL_EXPORTER_OTLP_ENDPOINT: is not the address of a collector" in ended.stdout
        assert "secret" not in ended.stdout

    def test_has_settings_beside_it_that_may_be_wrong_too(self) -> None:
        """The exporter of HTTP says that itself, and goes on with what is there by default."""
        ended = run(
            """
            try:
                telemetry.configure("shop")
            except telemetry.SettingsError as error:
                print(error)
            """,
            OTEL_EXPORTER_OTLP_TIMEOUT="soon",
            OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
        )
        assert "OTEL_EXPORTER_OTLP_*: one of them cannot be used" in ended.stdout, ended.stderr


class TestRecordedSpans:
    def test_are_one_in_each_trace(self) -> None:
        ended = run(
            """
            class Printing(Exporter):
                def export(self, spans):
                    for span in spans:
                        took = span.end_time - span.start_time
                        print(span.name, f"{span.context.trace_id:x} {span.parent.span_id:x}", took >= 5)
                        print(*span.attributes.values())
                    return OK
            sending(Printing())
            traced, other = f"00-{'a' * 32}-{'b' * 16}-01", f"00-{'c' * 32}-{'d' * 16}-01"
            causes = map(telemetry.Cause, ("m1", "m2", "m3", "m4"), (traced, None, "garbage", other))
            telemetry.record_spans("publish", telemetry.SpanKind.PRODUCER, causes, telemetry.began() - 5)
            """
        )
        assert ended.stdout.splitlines() == [
            f"publish {'a' * 32} {'b' * 16} True",
            "rabbitmq m1",
            f"publish {'c' * 32} {'d' * 16} True",
            "rabbitmq m4",
        ], ended.stderr
