"""Several processes of a service share one port where all of them say so: a worker for each core."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.services import GrpcApi, RestApi, Service
from support.waiting import wait_until
from support.workspace import Workspace

Launch = Callable[..., Service]

SOCKETS = [Path("/proc/net/tcp"), Path("/proc/net/tcp6")]
"""Where Linux shows them. grpcio listens on IPv4 addresses in the form that IPv6 has for them."""


@pytest.fixture(params=[RestApi, GrpcApi])
def launch(
    request: pytest.FixtureRequest, workspace: Workspace, database_url: str, amqp_url: str, keys: dict[str, str]
) -> Iterator[Launch]:
    """Starts a process of a service, on the port of another one if it is given, and does not wait for it."""
    environment = {"DATABASE_URL": database_url, "AMQP_URL": amqp_url, "NOTICE_SECONDS": "0", **keys}
    prefix = "REST" if request.param is RestApi else "GRPC"
    with ExitStack() as stopping:

        def launch(*, beside: Service | None = None, share: bool) -> Service:
            service: Service = request.param(workspace, {**environment, f"{prefix}_SHARE_PORT": str(share)})
            if beside is not None:
                service.environment[f"{prefix}_PORT"] = str(beside.port)
            stopping.callback(service.kill)
            service.launch()
            return service

        yield launch


def listeners(port: int) -> int:
    """How many sockets listen on the port."""
    rows = [line.split() for shown in SOCKETS for line in shown.read_text().splitlines()[1:]]
    return sum(row[1].endswith(f":{port:04X}") and row[3] == "0A" for row in rows)


@pytest.mark.skipif(not SOCKETS[0].exists(), reason="Linux alone divides connections")
def test_a_port_is_shared_by_those_who_say_so(launch: Launch) -> None:
    first = launch(share=True)
    first.wait_until_it_answers()
    second = launch(beside=first, share=True)
    wait_until(lambda: listeners(first.port) == 2, "both listen")
    assert second.terminate() == 0
    wait_until(lambda: listeners(first.port) == 1, "one listens no more")
    assert first._answers()


def test_it_is_refused_to_who_does_not(launch: Launch) -> None:
    first = launch(share=True)
    first.wait_until_it_answers()
    second = launch(beside=first, share=False)
    assert second.wait_for_the_end() == 2
    assert "it is taken" in second.output
