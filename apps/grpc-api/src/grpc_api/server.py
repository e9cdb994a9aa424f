"""The gRPC server, put together."""

from typing import Final

import grpc
from book_runtime.process import PortTaken
from books.v1 import book_service_pb2
from books.v1.book_service_pb2_grpc import add_BookServiceServicer_to_server
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server

from grpc_api.guard import Guard
from grpc_api.health import Health
from grpc_api.limits import Limits
from grpc_api.reflection import add_reflection
from grpc_api.sending import forgive_callers_who_are_gone
from grpc_api.service import BookService
from grpc_api.tls import Tls

BOOK_SERVICE: Final = book_service_pb2.DESCRIPTOR.services_by_name["BookService"].full_name
HEALTH: Final = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name

_SHARE_PORT: Final = "grpc.so_reuseport"
"""On by default: a second server on the same port would start unasked, and take half of the calls."""


def make_server(
    books: BookService, health: Health, guard: Guard, limits: Limits, *, share_port: bool = False
) -> grpc.aio.Server:
    """A server with everything on it that does not listen yet."""
    forgive_callers_who_are_gone()
    server = grpc.aio.server(options=[(_SHARE_PORT, int(share_port)), *limits.options()])
    add_BookServiceServicer_to_server(books, guard.around(server))  # type: ignore[arg-type]  # as much of a server as it needs
    # What anyone may call.
    add_HealthServicer_to_server(health, server)
    add_reflection((BOOK_SERVICE, HEALTH), server)
    return server


def make_health_server(health: Health) -> grpc.aio.Server:
    """A server that tells of health alone, and does not listen yet."""
    server = grpc.aio.server(options=[(_SHARE_PORT, 0)])
    add_HealthServicer_to_server(health, server)
    return server


def listen(server: grpc.aio.Server, host: str, port: int, tls: Tls | None = None, variable: str = "GRPC_PORT") -> int:
    """Takes the port and returns it; 0 stands for any that is free. Raises PortTaken, which names the variable."""
    address = address_of(host, port)
    try:
        if tls is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, tls.credentials())
    except RuntimeError as error:
        raise PortTaken(host, port, variable) from error


def address_of(host: str, port: int) -> str:
    """Host and port in the form that gRPC takes."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
