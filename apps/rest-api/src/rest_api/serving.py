"""How the service and its relay run as processes."""

import socket

import uvicorn
from book_contracts.events import EXCHANGE
from book_db.database import Database
from book_db.outbox import Outbox
from book_runtime.broker.amqp import AmqpPublisher
from book_runtime.process import run_until, stopping

from rest_api.app import create_app
from rest_api.relay.relay import Relay
from rest_api.settings import RelaySettings, RestSettings


class PortTaken(Exception):
    """The address {host} port {port} is taken: stop what listens there, or set {variable} to another port."""

    def __init__(self, host: str, port: int, variable: str) -> None:
        super().__init__((PortTaken.__doc__ or "").format(host=host, port=port, variable=variable))


def listen(host: str, port: int, variable: str) -> socket.socket:
    """A socket that listens. Raises PortTaken, which tells that the variable names another port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(2_048)
    except OSError as error:
        listening.close()
        raise PortTaken(host, port, variable) from error
    return listening


def web_server(settings: RestSettings) -> uvicorn.Server:
    """The REST service as a server, which `serve(sockets=[...])` runs until it is told to stop."""
    return uvicorn.Server(
        uvicorn.Config(
            create_app(settings),
            log_config=None,
            access_log=settings.access_log,
            server_header=False,
            date_header=True,
            timeout_graceful_shutdown=settings.drain_seconds,
        )
    )


def serve(settings: RestSettings) -> None:
    """Runs the REST service until SIGTERM or SIGINT; requests that are running then are finished."""
    listening = listen(settings.rest_host, settings.rest_port, "REST_PORT")
    web_server(settings).run(sockets=[listening])


async def relay(settings: RelaySettings) -> None:
    """Runs the relay until SIGTERM or SIGINT. What is under way then is sent again by the next one."""
    async with stopping() as told, AmqpPublisher(settings.amqp_url, EXCHANGE) as publisher:
        database = Database.open(settings.database_url, pool_size=2, name="outbox-relay")
        try:
            await run_until(told, Relay(Outbox(database), publisher).run())
        finally:
            await database.close()
