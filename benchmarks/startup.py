"""How long a service takes until it is ready, and how much memory it has when it then idles.

`python -m benchmarks.startup` prints both for each service.
"""

import http.client
import socket
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Final, NamedTuple

import grpc
import psutil  # type: ignore[import-untyped]  # psutil ships no types
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from support.services import GrpcApi, RestApi, Service

from benchmarks.catalogue import Catalogue, a_catalogue

_STARTS: Final = 7
_POLL_SECONDS: Final = 0.005
_SETTLING_SECONDS: Final = 3.0
"""Seconds after which a service has done what it puts off until it is ready: listening for notifications, sweeping."""
_START_TIMEOUT_SECONDS: Final = 30.0


class StartUp(NamedTuple):
    """Of one start, or the medians of several."""

    seconds: float
    """From the start of the process until it says that it is ready."""
    megabytes: float
    """Of a million bytes: the resident set of the idle process. It is what `ps` and `top` show."""
    own_megabytes: float
    """The part of it that is the process's own. The rest is files, libraries mostly, which a second worker shares."""


class NotReady(Exception):
    """A service has not said that it is ready."""


def start_and_idle(service: type[Service], catalogue: Catalogue, starts: int = _STARTS) -> StartUp:
    """The medians of so many starts. One goes ahead that is not counted: its files are not in memory yet."""
    start_once(service, catalogue)
    measured = [start_once(service, catalogue) for _ in range(starts)]
    return StartUp(*(statistics.median(figures) for figures in zip(*measured, strict=True)))


def start_once(service: type[Service], catalogue: Catalogue) -> StartUp:
    """Starts the service beside the servers of the catalogue, and ends it. Raises NotReady."""
    process = service(catalogue.workspace, catalogue.environment)
    try:
        began = time.perf_counter()
        process.launch()
        while not _IS_READY[service](process.port):
            if not process.is_running or time.perf_counter() - began > _START_TIMEOUT_SECONDS:
                raise NotReady(process.name)
            time.sleep(_POLL_SECONDS)
        seconds = time.perf_counter() - began
        time.sleep(_SETTLING_SECONDS)
        memory = psutil.Process(process.pid).memory_info()
        return StartUp(seconds, memory.rss / 1e6, (memory.rss - memory.shared) / 1e6)
    finally:
        process.dispose()


def _rest_is_ready(port: int) -> bool:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=_START_TIMEOUT_SECONDS)) as connection:
        try:
            connection.request("GET", "/healthz/ready")
            return connection.getresponse().status == http.client.OK
        except ConnectionError:
            return False


def _grpc_is_ready(port: int) -> bool:
    # A channel waits before it knocks a second time, for longer than the service needs to start.
    with socket.socket() as client:
        if client.connect_ex(("127.0.0.1", port)):
            return False
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.enable_http_proxy", 0)]) as channel:
        answer = HealthStub(channel).Check(HealthCheckRequest(), timeout=_START_TIMEOUT_SECONDS)  # type: ignore[attr-defined]  # not in its stubs
        return bool(answer.status == HealthCheckResponse.SERVING)


_IS_READY: Final[Mapping[type[Service], Callable[[int], bool]]] = {RestApi: _rest_is_ready, GrpcApi: _grpc_is_ready}


def main() -> None:
    with a_catalogue(books=1_000) as catalogue:
        for service in _IS_READY:
            measured = start_and_idle(service, catalogue)
            print(
                f"{service.name}: ready after {measured.seconds:.2f} s, "
                f"idle with {measured.megabytes:.0f} MB, {measured.own_megabytes:.0f} MB of them its own"
            )


if __name__ == "__main__":
    main()
