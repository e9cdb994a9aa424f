import os
import random
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from book_runtime.telemetry import begin_span, context_of, current_traceparent
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from support.waiting import PATIENCE

TRACER = TracerProvider().get_tracer("test")
HEADER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class TestTraceparent:
    def test_is_the_header_of_the_current_span(self) -> None:
        with TRACER.start_as_current_span("a span") as span:
            context = span.get_span_context()
            assert (
                current_traceparent() == f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
            )

    @pytest.mark.parametrize("flags", range(4))
    def test_is_written_as_opentelemetry_writes_it(self, flags: int) -> None:
        of = SpanContext(trace_id=0xAB, span_id=2**64 - 1, is_remote=False, trace_flags=TraceFlags(flags))
        headers: dict[str, str] = {}
        with trace.use_span(NonRecordingSpan(of)):
            TraceContextTextMapPropagator().inject(headers)
            assert current_traceparent() == headers["traceparent"]

    def test_is_none_outside_of_a_span(self) -> None:
        assert current_traceparent() is None

    def test_carries_a_trace_from_one_process_to_the_next(self) -> None:
        with TRACER.start_as_current_span("writer"):
            header = current_traceparent()
        with TRACER.start_as_current_span("reader", context=context_of(header)):
            assert (current_traceparent() or "")[:35] == (header or "")[:35]

    @pytest.mark.parametrize(
        "header",
        [
            pytest.param(None, id="none"),
            pytest.param("", id="empty"),
            pytest.param("garbage", id="garbage"),
            pytest.param(HEADER.upper(), id="capitals"),
            pytest.param(HEADER + "-extra", id="too-many-parts"),
            pytest.param(HEADER.replace("00-", "ff-", 1), id="forbidden-version"),
            pytest.param("00-" + "0" * 32 + "-b7ad6b7169203331-01", id="trace-id-of-zeros"),
            pytest.param("x" * 100_000, id="very-long"),
            pytest.param("00-é", id="not-ascii"),
        ],
    )
    def test_that_is_not_one_gives_an_empty_context(self, header: str | None) -> None:
        with TRACER.start_as_current_span("around"):
            assert trace.get_current_span(context_of(header)) is trace.INVALID_SPAN


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: OpenTelemetry can be configured once in each."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return subprocess.run(
        [sys.executable, "-c", "from book_runtime import telemetry\n" + textwrap.dedent(code)],
        env=kept | environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


ENDPOINT = "http://127.0.0.1:9"


class TestBeginSpan:
    def test_goes_on_with_the_trace_of_its_caller_and_what_that_one_has_decided(self) -> None:
        for flags in ("00", "01"):
            context = begin_span("a write", context_of(HEADER[:-2] + flags)).get_span_context()
            assert f"{context.trace_id:032x}" == HEADER.split("-")[1]
            assert f"{context.span_id:016x}" != HEADER.split("-")[2]
            assert f"{context.trace_flags:02x}" == flags

    def test_begins_a_trace_that_others_may_record(self) -> None:
        one, other = (begin_span("a write", context_of(None)).get_span_context() for _ in range(2))
        assert one.trace_id != other.trace_id
        assert one.trace_flags.sampled

    def test_leaves_the_random_numbers_of_others_alone(self) -> None:
        before = random.getstate()
        begin_span("a write", context_of(None))
        assert random.getstate() == before

    def test_records_where_spans_are_sent(self) -> None:
        ended = run(
            """
            from opentelemetry.sdk.trace.export import ConsoleSpanExporter
            telemetry._exporter = lambda _: ConsoleSpanExporter(formatter=lambda span: span.name)
            telemetry.configure("shop")
            telemetry.begin_span("a write", telemetry.context_of(None)).end()
            """,
            OTEL_EXPORTER_OTLP_ENDPOINT=ENDPOINT,
        )
        assert (ended.stdout, ended.stderr) == ("a write", "")


class TestConfigure:
    def test_makes_spans_without_a_place_to_send_them(self) -> None:
        ended = run(
            """
            with telemetry.tracer.start_as_current_span("before"):
                print(telemetry.current_traceparent())
            telemetry.configure("shop")
            telemetry.configure("another name")
            with telemetry.tracer.start_as_current_span("after") as span:
                print(telemetry.current_traceparent()[:3], span.resource.attributes["service.name"])
            """
        )
        assert (ended.stdout, ended.stderr) == ("None\n00- shop\n", "")

    @pytest.mark.parametrize(
        ("variables", "package"),
        [
            pytest.param({}, "opentelemetry-exporter-otlp-proto-http", id="http-by-default"),
            pytest.param({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "opentelemetry-exporter-otlp-proto-grpc", id="grpc"),
        ],
    )
    def test_names_the_package_that_is_missing_to_send_them(self, variables: dict[str, str], package: str) -> None:
        ended = run(
            """
            import importlib.metadata
            telemetry.entry_points = lambda **_: importlib.metadata.EntryPoints()
            try:
                telemetry.configure("shop")
            except telemetry.SettingsError as error:
                print(error)
            """,
            OTEL_EXPORTER_OTLP_ENDPOINT=ENDPOINT,
            **variables,
        )
        assert f"OTEL_EXPORTER_OTLP_ENDPOINT: needs the package {package}, which is not installed" in ended.stdout

    def test_refuses_a_protocol_that_there_is_not(self) -> None:
        ended = run(
            "telemetry.configure('shop')",
            OTEL_EXPORTER_OTLP_ENDPOINT=ENDPOINT,
            OTEL_EXPORTER_OTLP_PROTOCOL="carrier-pigeon",
        )
        assert "SettingsError" in ended.stderr
        assert "OTEL_EXPORTER_OTLP_PROTOCOL: is not a protocol\n      http/protobuf or grpc would do" in ended.stderr

    def test_sends_spans_through_the_exporter_that_is_installed(self, tmp_path: Path) -> None:
        (tmp_path / "exporter_of_test.py").write_text(
            textwrap.dedent(
                """
                from opentelemetry.sdk.trace.export import ConsoleSpanExporter

                class Exporter(ConsoleSpanExporter):
                    def __init__(self, session):
                        super().__init__(formatter=lambda span: span.name)
                """
            )
        )
        package = tmp_path / "exporter_of_test-1.dist-info"
        package.mkdir()
        (package / "METADATA").write_text("Metadata-Version: 2.1\nName: exporter-of-test\nVersion: 1\n")
        (package / "entry_points.txt").write_text(
            "[opentelemetry_traces_exporter]\notlp_proto_http = exporter_of_test:Exporter\n"
        )
        ended = run(
            """
            telemetry.configure("shop")
            with telemetry.tracer.start_as_current_span("sent at exit"):
                pass
            """,
            PYTHONPATH=str(tmp_path),
            OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=ENDPOINT,
        )
        assert (ended.stdout, ended.stderr) == ("sent at exit", "")
