"""The probes say what a process is like, quickly and in a sentence."""

import http.server
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any

import pytest
from rest_api import probe
from support.ports import free_port
from support.waiting import PATIENCE


class Process:
    """An HTTP server that answers as it is told, in place of the service or of the relay's metrics."""

    def __init__(self) -> None:
        self.status = HTTPStatus.OK
        self.body = ""
        self.asked_for = ""
        process = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                process.asked_for = self.path
                self.send_response(process.status)
                self.end_headers()
                self.wfile.write(process.body.encode())

            def log_message(self, *_: Any) -> None:
                """Says nothing."""

        self.server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Iterator[Process]:
    process = Process()
    monkeypatch.setenv("REST_PORT", str(process.port))
    monkeypatch.setenv("METRICS_PORT", str(process.port))
    monkeypatch.setattr(probe, "_TIMEOUT_SECONDS", PATIENCE)
    thread = threading.Thread(target=process.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield process
    process.server.shutdown()
    process.server.server_close()
    thread.join()


def metrics(*, seconds_ago: float) -> str:
    return f"# TYPE {probe.HEARTBEAT} gauge\n{probe.HEARTBEAT} {time.time() - seconds_ago}\nother 1.0\n"


both = pytest.mark.parametrize("question", [probe.service, probe.relay])


class TestService:
    def test_a_service_that_is_ready_is_well(self, process: Process) -> None:
        probe.service()
        assert process.asked_for == "/healthz/ready"

    def test_a_service_that_is_not_ready_is_not_well(self, process: Process) -> None:
        process.status, process.body = HTTPStatus.SERVICE_UNAVAILABLE, "no database"
        with pytest.raises(probe.NotWell, match="503: no database"):
            probe.service()

    def test_a_service_that_listens_everywhere_is_found(
        self, process: Process, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("REST_HOST", "0.0.0.0")  # noqa: S104 - what containers say
        probe.service()

    def test_no_proxy_is_asked(self, process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
        probe.service()


class TestRelay:
    @pytest.fixture(autouse=True)
    def _the_clock_stands(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now)

    @pytest.mark.parametrize(
        "seconds_ago", [pytest.param(0, id="just now"), pytest.param(45, id="a slow broker and a slow database")]
    )
    def test_a_relay_that_went_round_lately_is_well(self, process: Process, seconds_ago: float) -> None:
        process.body = metrics(seconds_ago=seconds_ago)
        probe.relay()
        assert process.asked_for == "/metrics"

    def test_a_relay_that_stopped_going_round_is_not_well(self, process: Process) -> None:
        process.body = metrics(seconds_ago=90)
        with pytest.raises(probe.NotWell, match="for the last time 90 seconds ago"):
            probe.relay()

    def test_metrics_of_something_else_are_not_well(self, process: Process) -> None:
        process.body = "other 1.0\n"
        with pytest.raises(probe.NotWell, match=probe.HEARTBEAT):
            probe.relay()

    def test_a_relay_without_a_metrics_port_cannot_be_asked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("METRICS_PORT", raising=False)
        with pytest.raises(probe.NotWell, match="METRICS_PORT must be the port"):
            probe.relay()


class TestBoth:
    @both
    def test_nobody_there_is_not_well(self, question: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
        port = str(free_port())
        monkeypatch.setenv("REST_PORT", port)
        monkeypatch.setenv("METRICS_PORT", port)
        with pytest.raises(probe.NotWell, match=f"no answer from 127.0.0.1:{port}"):
            question()

    @pytest.mark.parametrize("program", [["rest_api.probe"], ["rest_api.cli", "healthcheck"]], ids=" ".join)
    def test_the_exit_code_says_it(self, process: Process, program: list[str]) -> None:
        command = [sys.executable, "-m", *program]
        assert subprocess.run(command, check=False).returncode == 0
        process.status = HTTPStatus.SERVICE_UNAVAILABLE
        unwell = subprocess.run(command, check=False, capture_output=True, text=True)
        assert (unwell.returncode, unwell.stderr) == (1, "rest-api: the service answers 503: \n")

    def test_a_probe_loads_nothing_but_the_standard_library(self) -> None:
        code = "import sys, rest_api.probe; print(*{name.partition('.')[0] for name in sys.modules})"
        loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
        assert not {"pydantic", "fastapi", "sqlalchemy", "prometheus_client", "structlog"} & set(loaded)
