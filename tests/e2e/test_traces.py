"""One trace of a change: from the request over outbox, relay and broker to the line of the log."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from support.collector import Collector, collecting
from support.people import Person
from support.ports import free_port
from support.services import Colophon
from support.waiting import PATIENCE, until
from support.workspace import Workspace

from .conftest import System, running_system

A_BOOK = {"title": "Middlemarch", "author": "George Eliot", "publication_date": "1871-12-01"}
EXPORT_SOON = {"OTEL_BSP_SCHEDULE_DELAY": "50"}
"""Milliseconds that a span waits for others; five seconds by default."""

SERVER, PRODUCER, CONSUMER = Span.SPAN_KIND_SERVER, Span.SPAN_KIND_PRODUCER, Span.SPAN_KIND_CONSUMER


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="module")
def system(
    workspace: Workspace, stores: dict[str, str], keys: dict[str, str], collector: Collector
) -> Iterator[System]:
    """The system of a module, which sends its spans."""
    told = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint}
    with running_system(workspace, stores | keys | told | EXPORT_SOON) as system:
        yield system


@asynccontextmanager
async def signed_in(url: str) -> AsyncIterator[Person]:
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE) as client:
        person = await Person.register(client)
        await person.sign_in()
        yield person


def trace_of_the_line(lines: list[str]) -> str:
    """The trace id in the only line of the log."""
    [line] = lines
    found = re.search(r"  trace ([0-9a-f]{32})$", line)
    assert found, line
    return found[1]


class TestOneTrace:
    async def test_leads_from_the_request_to_the_line_of_the_log(
        self, system: System, person: Person, collector: Collector
    ) -> None:
        assert (await person.call("POST", "/books", json=A_BOOK)).status_code == 201
        await until(lambda: len(system.grpc.events) == 1, "the log has a line")
        trace_id = trace_of_the_line(system.grpc.events)
        await until(lambda: len(collector.of_trace(trace_id)) == 3, "three processes have sent their spans")
        consumed, published, request = collector.of_trace(trace_id)
        assert [(span.service, span.name, span.kind) for span in (request, published, consumed)] == [
            ("rest-api", "POST /api/v1/books", SERVER),
            ("outbox-relay", "publish books.events", PRODUCER),
            ("grpc-api", "process grpc-api.book-log", CONSUMER),
        ]
        assert (request.parent_id, published.parent_id, consumed.parent_id) == ("", request.span_id, request.span_id)

    async def test_may_begin_with_the_caller(self, system: System, person: Person, collector: Collector) -> None:
        trace_id, caller = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
        headers = {"traceparent": f"00-{trace_id}-{caller}-01"}
        assert (await person.call("POST", "/books", json=A_BOOK, headers=headers)).status_code == 201
        await until(lambda: len(collector.of_trace(trace_id)) == 3, "three processes have sent their spans")
        assert collector.of_trace(trace_id)[2].parent_id == caller


class TestColophonRun:
    async def test_sends_spans_too_and_says_once_that_it_cannot(self, workspace: Workspace) -> None:
        port = free_port()
        told = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"}
        # So long is one batch tried: two seconds are what it has to be sent again.
        with Colophon(workspace, told | EXPORT_SOON | {"OTEL_EXPORTER_OTLP_TIMEOUT": "1"}) as colophon:
            async with signed_in(colophon.url) as person:
                await until(
                    lambda: "outage of the collector of spans:" in colophon.output, "it is said that nobody collects"
                )
                with collecting(port) as collector:

                    async def is_sent_again() -> bool:
                        await person.call("POST", "/books", json=A_BOOK)
                        return "outage of the collector of spans is over" in colophon.output

                    await until(is_sent_again, "spans are sent again")
                    book = (await person.call("POST", "/books", json=A_BOOK)).json()
                    line = f"  book {book['id']} v1  "
                    await until(lambda: line in colophon.output, "the log has a line")
                    [logged] = [each for each in colophon.output.splitlines() if line in each]
                    trace_id = trace_of_the_line([logged])
                    await until(lambda: len(collector.of_trace(trace_id)) == 3, "all spans are sent")
                    assert {span.service for span in collector.of_trace(trace_id)} == {"colophon"}
            assert colophon.terminate() == 0
            assert colophon.output.count("outage of the collector of spans:") == 1
            assert "Traceback" not in colophon.output
