"""How the service runs as a process."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import structlog
import uvicorn
from book_db.postgres import fitness
from book_runtime.process import PortTaken, freeze_gc, stopping

from rest_api.app import create_app
from rest_api.http_protocol import bounded
from rest_api.security_headers import headers_for
from rest_api.settings import RestSettings
from rest_api.sparing import OF_UVICORN, Sparing

_log = structlog.get_logger(__name__)


class ServiceDidNotStart(Exception):
    """The REST service did not start; the log says why."""


def listen(host: str, port: int, variable: str, *, share: bool = False) -> socket.socket:
    """A socket that listens, on a port that others may share if they all do.

    Raises PortTaken, which tells that the variable names another port.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if share:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listening.bind((host, port))
        listening.listen(2_048)
    except OSError as error:
        listening.close()
        raise PortTaken(host, port, variable) from error
    return listening


class _Server(uvicorn.Server):
    """uvicorn without its own handling of signals, which ends the process by the signal even when all went well."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _spare(logger: logging.Logger) -> None:
    if not any(isinstance(each, Sparing) for each in logger.filters):
        logger.addFilter(Sparing(OF_UVICORN))


@asynccontextmanager
async def serving(settings: RestSettings, listening: socket.socket) -> AsyncIterator[None]:
    """Answers requests for the length of the block; those that run at its end are finished."""
    _spare(logging.getLogger("uvicorn.error"))
    server = _Server(
        uvicorn.Config(
            create_app(settings),
            http=bounded(settings.header_seconds, headers_for(settings.public_url)),
            ws="none",
            log_config=None,
            access_log=settings.access_log,
            server_header=False,
            # client_address.py does it, and only for the proxies that are named: uvicorn trusts 127.0.0.1 unasked.
            proxy_headers=False,
            timeout_graceful_shutdown=settings.drain_seconds,
        )
    )
    running = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        while not server.started:
            await asyncio.wait([running], timeout=0.01)
            if running.done():
                running.result()
                raise ServiceDidNotStart
        yield
    finally:
        server.should_exit = True
        await running


async def serve(settings: RestSettings) -> None:
    """Runs the REST service until SIGTERM or SIGINT. Raises PortTaken and UnfitDatabase."""
    host, port, share = settings.rest_host, settings.rest_port, settings.rest_share_port
    with listen(host, port, "REST_PORT", share=share) as listening:
        async with (
            stopping() as stop_requested,
            fitness.checked(settings.database_url, services=["rest"]),
            serving(settings, listening),
        ):
            freeze_gc()
            _log.info("listening", host=host, port=listening.getsockname()[1])
            await stop_requested.wait()
            _log.info("stopping")
