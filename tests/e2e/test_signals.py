"""However it was started, a process of Colophon ends in order when it is told to."""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence

import httpx
import pytest
from support.services import Colophon, GrpcApi, OutboxRelay, RestApi, Service
from support.waiting import PATIENCE
from support.workspace import Workspace

# As a shell without job control starts what ends in `&`, and then some.
IGNORING = ("sh", "-c", 'trap "" INT TERM HUP PIPE; exec "$@"', "sh")
BLOCK = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])
os.execv(sys.argv[1], sys.argv[1:])
"""
BLOCKING = (sys.executable, "-c", BLOCK)


@pytest.fixture
def services(workspace: Workspace, database_url: str, amqp_url: str, keys: dict[str, str]) -> Iterator[list[Service]]:
    """All that run for long, not started yet."""
    environment = {"DATABASE_URL": database_url, "AMQP_URL": amqp_url, **keys}
    services: list[Service] = [kind(workspace, environment) for kind in (RestApi, OutboxRelay, GrpcApi)]
    services.append(Colophon(workspace))
    yield services
    for service in services:
        service.kill()


@pytest.mark.parametrize("started_by", [pytest.param(IGNORING, id="ignored"), pytest.param(BLOCKING, id="blocked")])
@pytest.mark.parametrize("order", [Service.interrupt, Service.terminate])
def test_what_a_process_was_started_not_to_hear_ends_it(
    services: list[Service], started_by: Sequence[str], order: Callable[[Service], int]
) -> None:
    for service in services:
        service.started_by = started_by
        service.launch()
    for service in services:
        service.wait_until_it_answers()
    assert {service.name: order(service) for service in services} == {service.name: 0 for service in services}
    assert not any("Traceback" in service.output for service in services)


def test_nohup_keeps_its_meaning(workspace: Workspace) -> None:
    colophon = Colophon(workspace)
    colophon.started_by = ("nohup",)
    with colophon, httpx.Client(base_url=colophon.url, timeout=PATIENCE) as client:
        os.kill(colophon.pid, signal.SIGHUP)
        assert client.get("/healthz/ready").is_success
        assert colophon.terminate() == 0
