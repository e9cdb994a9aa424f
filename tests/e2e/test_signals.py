"""However it was started, a process of Colophon ends in order when it is told to."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from support.ports import free_port
from support.services import Colophon, GrpcApi, OutboxRelay, RestApi, Service
from support.waiting import PATIENCE
from support.workspace import Workspace

# As a shell without job control starts what ends in `&`, and then some: everything is ignored, and blocked too.
IGNORE = 'trap "" INT TERM HUP PIPE; exec "$@"'
BLOCK = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])
os.execv(sys.argv[1], sys.argv[1:])
"""
DEAFENING = ("sh", "-c", IGNORE, "sh", sys.executable, "-c", BLOCK)


@pytest.fixture
def services(workspace: Workspace, database_url: str, amqp_url: str, keys: dict[str, str]) -> Iterator[list[Service]]:
    """All that run for long, not started yet."""
    environment = {"DATABASE_URL": database_url, "AMQP_URL": amqp_url, **keys}
    services: list[Service] = [kind(workspace, environment) for kind in (RestApi, OutboxRelay, GrpcApi)]
    services.append(Colophon(workspace))
    yield services
    for service in services:
        service.kill()


@pytest.mark.parametrize("order", [Service.interrupt, Service.terminate])
def test_what_a_process_was_started_not_to_hear_ends_it(
    services: list[Service], order: Callable[[Service], int]
) -> None:
    for service in services:
        service.started_by = DEAFENING
        service.launch()
    for service in services:
        service.wait_until_it_answers()
    assert {service.name: order(service) for service in services} == {service.name: 0 for service in services}
    assert not any("Traceback" in service.output for service in services)


@pytest.mark.parametrize(("order", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_a_command_that_waits_ends_too(order: signal.Signals, status: int) -> None:
    nowhere = f"postgresql://127.0.0.1:{free_port()}/colophon"
    command = (*DEAFENING, str(Path(sys.executable).with_name("book-db")), "upgrade", "--wait", "3600")
    with subprocess.Popen(command, env={"DATABASE_URL": nowhere}, stderr=subprocess.PIPE, text=True) as waiting:
        assert waiting.stderr
        assert waiting.stderr.readline().startswith("book-db: waiting for the database: ")
        waiting.send_signal(order)
        _, said = waiting.communicate(timeout=PATIENCE)
    assert waiting.returncode == status
    assert "Traceback" not in said


def test_nohup_keeps_its_meaning(workspace: Workspace) -> None:
    colophon = Colophon(workspace)
    colophon.started_by = ("nohup",)
    with colophon, httpx.Client(base_url=colophon.url, timeout=PATIENCE) as client:
        os.kill(colophon.pid, signal.SIGHUP)
        assert client.get("/healthz/ready").is_success
        assert colophon.terminate() == 0
