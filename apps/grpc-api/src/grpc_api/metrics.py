"""The process's metrics over HTTP, for Prometheus."""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import start_http_server

from grpc_api.server import PortTaken


@contextmanager
def exposing(port: int | None) -> Iterator[None]:
    """Serves the metrics on every address for the length of the block, or does nothing without a port.

    Raises PortTaken.
    """
    if port is None:
        yield
        return
    try:
        server, thread = start_http_server(port)
    except OSError as error:
        raise PortTaken("0.0.0.0", port) from error  # noqa: S104  # prometheus_client's default
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
