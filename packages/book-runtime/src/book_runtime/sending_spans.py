"""Spans on their way to a collector, which may be away, and is never waited for."""

import atexit
import logging
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import structlog
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from book_runtime.outage import Outage

if TYPE_CHECKING:
    import requests

_log = structlog.get_logger(__name__)

_FLUSH_TIMEOUT_SECONDS: Final = 2.0
"""For the spans that are left at exit. OpenTelemetry (1.45) would wait for half a minute."""

_QUEUE: Final = "opentelemetry.sdk._shared_internal"
"""Who says that spans had to be dropped before they were sent."""


def send_spans(provider: TracerProvider, exporter: SpanExporter) -> None:
    """Sends all spans of the provider, in a thread of its own, and at exit what is left."""
    troubles = _Troubles()
    for name in ("opentelemetry.exporter", _QUEUE):
        logger = logging.getLogger(name)
        logger.propagate = False
        logger.addHandler(troubles)
    provider.add_span_processor(BatchSpanProcessor(_Watched(exporter, troubles)))
    _shut_down_at_exit(provider)


def session_without_redirects() -> "requests.Session":
    """For the exporter of HTTP, which (1.45) takes a redirect for success: it follows none, and the spans are lost.

    http://, where the collector wants https://, is the address that meets one.
    """
    import requests  # noqa: PLC0415  # where spans are sent over gRPC it is not needed

    def refuse(answer: requests.Response, **_: object) -> None:
        if answer.is_redirect:
            raise requests.HTTPError(f"{answer.url} leads to {answer.headers['Location']}")

    session = requests.Session()
    session.hooks["response"].append(refuse)
    return session


def _shut_down_at_exit(provider: TracerProvider) -> None:
    ending = threading.Event()

    def shut_down() -> None:
        ending.wait()
        provider.shutdown()

    # Started now: at exit Python takes no new threads any more. The interpreter does not wait for daemons.
    thread = threading.Thread(target=shut_down, name="last-spans", daemon=True)
    thread.start()

    def end() -> None:
        ending.set()
        thread.join(_FLUSH_TIMEOUT_SECONDS)

    atexit.register(end)


class _Troubles(logging.Handler):
    """What OpenTelemetry says of its troubles, each of them each time; here it is said once."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.outage = Outage(_log, "the collector of spans", "they are lost")
        self.first = ""
        self._too_many_is_told = False

    def emit(self, record: logging.LogRecord) -> None:
        # The first one has the cause; the last may say no more than that it was tried often enough.
        self.first = self.first or record.getMessage()
        if record.name == _QUEUE and not (self.outage.is_on or self._too_many_is_told):
            self._too_many_is_told = True
            _log.warning("more spans than are sent in time: some are lost")


class _Watched(SpanExporter):
    """An exporter whose failures are an outage."""

    def __init__(self, exporter: SpanExporter, troubles: _Troubles) -> None:
        self._exporter = exporter
        self._troubles = troubles

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._send(spans)
        if result is not SpanExportResult.SUCCESS:
            self._troubles.outage.begin(self._troubles.first)
        elif self._troubles.outage.end():
            self._troubles.first = ""
        return result

    def _send(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            return self._exporter.export(spans)
        except Exception as error:  # noqa: BLE001  # whatever it is, it concerns spans alone
            self._troubles.first = self._troubles.first or repr(error)
            return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)
