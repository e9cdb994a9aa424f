"""`colophon run`: both services, the relay and the database in one process, with nothing to install beside it.

Each part is the one that runs as a process of its own elsewhere. Two things differ: PostgreSQL is embedded unless
DATABASE_URL names one, and without AMQP_URL the events go from the relay to the log inside the process.
"""

import logging
import os
import shlex
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from pathlib import Path

import typer
from book_contracts.events import EXCHANGE
from book_db import migrations
from book_db.events.log import EVENTS_RECORDED
from book_db.events.outbox import Outbox
from book_db.postgres import fitness
from book_db.postgres.failures import why
from book_db.postgres.grants import PRIVILEGES
from book_db.settings import OptionalDatabaseUrl
from book_db.store import Store, open_store
from book_runtime import logs, process, telemetry
from book_runtime.broker.amqp import AmqpConsumer, AmqpPublisher
from book_runtime.broker.local import LocalBroker
from book_runtime.broker.ports import Consumer, Publisher
from book_runtime.retry import Failure
from book_runtime.settings import AmqpUrl, load
from grpc_api import application as grpc
from grpc_api.consumer import BOOK_LOG
from grpc_api.settings import CallSettings
from rest_api import serving as rest
from rest_api.relay.relay import Relay
from rest_api.settings import RestSettings
from rest_api.users.keys import make_key_pair, verifier_of
from rest_api.users.settings import Registration

from colophon import DATA, embedded_postgres


class RunSettings(RestSettings, CallSettings):
    """Everything of both services, and the broker, which may be left out here."""

    amqp_url: AmqpUrl | None = None
    """The RabbitMQ broker; without it the events stay inside the process."""

    registration: Registration = "open"
    """Who gets an account and may sign in: everybody (`open`), those who have confirmed their address (`confirmed`), or
    nobody but whom a superuser invites (`closed`)."""


class DatabaseSettings(logs.LogSettings):
    """What has to be known before the database is there."""

    database_url: OptionalDatabaseUrl = None
    """The catalogue's database; without it PostgreSQL is started under the data folder."""


def run(data: Path, *, host: str, rest_port: int, grpc_port: int) -> None:
    """Runs everything until Ctrl-C or SIGTERM.

    Raises PortTaken, SettingsError, EmbeddedPostgresError or DatabaseUnavailable, and then nothing is running.
    """
    known = load(DatabaseSettings)
    logs.configure("colophon", json=known.log_format == "json", level=known.log_level)
    for chatty in ("alembic", "uvicorn.error"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    telemetry.configure("colophon")
    # A port that is taken is told before anything else is started.
    with rest.listen(host, rest_port, "REST_PORT") as listening:
        rest.listen(host, grpc_port, "GRPC_PORT").close()
        with _own_database(data) as url:
            migrations.upgrade(url, patience=30, on_wait=_say_why_waiting)
            private_key = data / "keys" / "private.pem"
            make_key_pair(private_key, data / "keys" / "public.pem")
            settings = load(
                RunSettings,
                database_url=url,
                jwt_private_key_file=private_key,
                rest_host=host,
                rest_port=rest_port,
                grpc_host=host,
                grpc_port=grpc_port,
                **_links(host, listening.getsockname()[1]),
            )
            with process.exposing_metrics(settings.metrics_port):
                process.run(_serve(settings, listening, data))


def _say_why_waiting(failure: Failure) -> None:
    if failure.attempt == 1:
        typer.echo(f"colophon: waiting for the database: {why(failure.exception)}", err=True)


def _links(host: str, port: int) -> dict[str, str]:
    """Where links in mails lead, unless PUBLIC_URL says it."""
    reachable = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104  # recognised, not bound
    return {} if os.environ.get("PUBLIC_URL") else {"public_url": f"http://{reachable}:{port}"}


def _own_database(data: Path) -> AbstractContextManager[str]:
    """As `database`, but the embedded one for this process alone: a second `colophon run` is refused."""
    url = load(DatabaseSettings).database_url
    return nullcontext(url) if url else embedded_postgres.EmbeddedPostgres(data / "postgres")


def database(data: Path) -> AbstractContextManager[str]:
    """The URL of the catalogue's database for the time of the block: that of DATABASE_URL, or the embedded one."""
    url = load(DatabaseSettings).database_url
    return nullcontext(url) if url else embedded_postgres.running(data / "postgres")


async def _serve(settings: RunSettings, listening: socket.socket, data: Path) -> None:
    verifier = verifier_of(settings.jwt_private_key_file)
    async with (
        process.stopping() as stop_requested,
        fitness.checked(settings.database_url, services=PRIVILEGES),
        open_store(settings, verifier, name="colophon", hears=[EVENTS_RECORDED]) as store,
        _broker(settings.amqp_url) as (publisher, consumer),
        grpc.serving(
            store,
            consumer,
            host=settings.grpc_host,
            port=settings.grpc_port,
            health_port=settings.grpc_health_port,
            tls=settings.tls(),
            authenticate=settings.grpc_auth == "on",
            drain_seconds=settings.drain_seconds,
            max_watchers=settings.max_watchers,
            event_log_days=settings.event_log_days,
            limits=settings.limits,
        ) as grpc_port,
        rest.serving(settings, listening),
    ):
        process.freeze_gc()
        typer.echo(_greeting(settings, listening.getsockname()[1], grpc_port, data, await _is_empty(store)))
        await process.run_until(stop_requested, Relay(Outbox(store.database), publisher).run())


@asynccontextmanager
async def _broker(url: AmqpUrl | None) -> AsyncIterator[tuple[Publisher, Consumer]]:
    if url is None:
        broker = LocalBroker()
        yield broker, broker
    else:
        async with AmqpPublisher(url, EXCHANGE) as publisher:
            yield publisher, AmqpConsumer(url, BOOK_LOG)


async def _is_empty(store: Store) -> bool:
    return not await store.users.page(1)


def _greeting(settings: RunSettings, rest_port: int, grpc_port: int, data: Path, nobody_yet: bool) -> str:
    lines = [
        "",
        "Colophon is running. Ctrl-C stops it.",
        "",
        f"  REST   http://{settings.rest_host}:{rest_port}/docs",
        f"  gRPC   {settings.grpc_host}:{grpc_port}",
        f"  data   {data}",
        "",
    ]
    if nobody_yet:
        lines += [
            "There is no account yet. Register one at /docs, or make a superuser in a second shell:",
            "",
            f"  {command()} create-superuser you@example.org{_naming(data)}",
            "",
        ]
    return "\n".join(lines)


def _naming(data: Path) -> str:
    return "" if data == DATA else f" --data {shlex.quote(str(data))}"


def command() -> str:
    """How this program was called: as people can call it again."""
    return os.path.relpath(sys.argv[0]) if os.sep in sys.argv[0] else sys.argv[0]
