"""The service, from its start to its end: the server that answers and the log of events."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import TextIO

import grpc
import structlog
from book_db.events.log import EVENTS_RECORDED
from book_db.postgres import fitness
from book_db.store import Store, open_store
from book_runtime.broker.amqp import AmqpConsumer
from book_runtime.broker.ports import Consumer
from book_runtime.process import freeze_gc, stopping
from book_runtime.tasks import background
from book_runtime.tokens import TokenVerifier

from grpc_api.consumer import BOOK_LOG, EventRecorder
from grpc_api.guard import Guard
from grpc_api.health import Health
from grpc_api.limits import Limits
from grpc_api.server import BOOK_SERVICE, listen, make_health_server, make_server
from grpc_api.service import BookService
from grpc_api.settings import GrpcSettings
from grpc_api.streams import Streams
from grpc_api.tls import Tls
from grpc_api.watching.tail import Tail
from grpc_api.watching.watch import Watches

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def serving(
    store: Store,
    consumer: Consumer,
    *,
    host: str,
    port: int,
    share_port: bool = False,
    health_port: int | None = None,
    tls: Tls | None = None,
    authenticate: bool = True,
    notice_seconds: float = 0,
    drain_seconds: float = 10,
    max_watchers: int = 2_000,
    event_log_days: int | None = None,
    limits: Limits = Limits(),  # noqa: B008  # it cannot be changed
    console: TextIO | None = None,
) -> AsyncIterator[int]:
    """Answers calls and records events for the length of the block, and gives the port.

    ``share_port`` lets other processes listen on the port as well. ``health_port`` is where health alone is told,
    always without TLS; None is nowhere.

    At the end of the block health says NOT_SERVING, and calls are answered for ``notice_seconds`` more while clients
    turn to other replicas. Then no call is taken any more, streams are ended, other calls that run may finish within
    ``drain_seconds``, and the batch of events in hand is finished. ``console``, which is standard output when it is
    None, gets a line for each event. Raises PortTaken.
    """
    health, streams = Health([BOOK_SERVICE]), Streams()
    tail = Tail(store.event_log, store.database.local_bus)
    watches = Watches(store.event_log, tail, max_watchers)
    guard = Guard(store.authenticator if authenticate else None, streams, limits.calls)
    server = make_server(BookService(store.catalogue, watches), health, guard, limits, share_port=share_port)
    port = listen(server, host, port, tls)
    book_log = EventRecorder(store.event_log, console, store.cache)
    async with (
        consumer.consuming(book_log),
        _watching(health, store),
        _telling_health(health, host, health_port),
        tail.following(),
        _sweeping(store, event_log_days),
        background(streams.review()),
        _answering(server, health, streams, notice_seconds, drain_seconds),
    ):
        yield port


async def serve(settings: GrpcSettings) -> None:
    """Runs the service until the process is told to stop. Raises PortTaken and UnfitDatabase."""
    public_keys = settings.jwt_public_key_file.read_bytes
    verifier = TokenVerifier(public_keys(), public_keys)
    consumer = AmqpConsumer(settings.amqp_url, BOOK_LOG)
    async with (
        stopping() as stop_requested,
        fitness.checked(settings.database_url, services=["grpc"]),
        open_store(settings, verifier, name="grpc-api", hears=[EVENTS_RECORDED]) as store,
        serving(
            store,
            consumer,
            host=settings.grpc_host,
            port=settings.grpc_port,
            share_port=settings.grpc_share_port,
            health_port=settings.grpc_health_port,
            tls=settings.tls(),
            authenticate=settings.grpc_auth == "on",
            notice_seconds=settings.notice_seconds,
            drain_seconds=settings.drain_seconds,
            max_watchers=settings.max_watchers,
            event_log_days=settings.event_log_days,
            limits=settings.limits,
        ) as port,
    ):
        freeze_gc()
        _log.info("listening", host=settings.grpc_host, port=port, auth=settings.grpc_auth)
        await stop_requested.wait()
        _log.info("stopping")
    _log.info("stopped")


def _sweeping(store: Store, days: int | None) -> AbstractAsyncContextManager[None]:
    return nullcontext() if days is None else store.event_log.kept_swept(days)


@asynccontextmanager
async def _answering(
    server: grpc.aio.Server, health: Health, streams: Streams, notice_seconds: float, drain_seconds: float
) -> AsyncIterator[None]:
    await server.start()
    try:
        yield
    finally:
        health.drain()
        # A call that is on its way when the server stops taking calls is lost.
        await asyncio.sleep(notice_seconds)
        draining = asyncio.create_task(server.stop(drain_seconds))
        # By then the clients know that this server takes no calls any more, and do not come back to it.
        await asyncio.sleep(0)
        streams.stop()
        await draining


@asynccontextmanager
async def _telling_health(health: Health, host: str, port: int | None) -> AsyncIterator[None]:
    if port is None:
        yield
        return
    server = make_health_server(health)
    listen(server, host, port, variable="GRPC_HEALTH_PORT")
    await server.start()
    try:
        yield
    finally:
        await server.stop(None)


@asynccontextmanager
async def _watching(health: Health, store: Store) -> AsyncIterator[None]:
    watching = asyncio.create_task(health.watch(store.database))
    try:
        yield
    finally:
        # Not by cancellation: one that meets a connection in the making leaves the server with half of it for a minute.
        health.drain()
        await watching
