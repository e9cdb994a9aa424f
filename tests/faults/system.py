"""The system that faults are injected into: all processes and servers, and a network between any two of them."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import aio_pika
import psycopg
from book_db.migrations import upgrade
from faults.schedule import LINKS, VICTIMS, Link
from grpc_api.consumer import BOOK_LOG
from support.ports import free_port
from support.postgresql import PostgreSQLServer
from support.proxy import Proxy
from support.rabbitmq import RabbitMQServer
from support.redis import RedisServer
from support.server import Server
from support.services import GrpcApi, OutboxRelay, RestApiThatHashesQuickly, Service
from support.workspace import Workspace

CACHE_SECONDS: Final = 30
"""As few as can be: what a cache may hold that is older than the database ends with them."""

_SETTINGS: Final = {
    "ACCESS_TOKEN_SECONDS": "86400",
    "RATE_LIMITS": "off",
    "CACHE_SECONDS": str(CACHE_SECONDS),
    "NOTICE_SECONDS": "0",
}

_VARIABLES: Final = {"postgresql": "DATABASE_URL", "rabbitmq": "AMQP_URL", "redis": "REDIS_URL"}

Backing = PostgreSQLServer | RabbitMQServer | RedisServer
"""What the services stand on."""


@dataclass(frozen=True)
class System:
    """Everything that runs, by name."""

    victims: Mapping[str, Server]
    links: Mapping[Link, Proxy]

    @property
    def rest_url(self) -> str:
        """Where the writers call."""
        return f"http://127.0.0.1:{self.links[Link('writers', 'rest-api')].port}"

    @property
    def grpc_address(self) -> str:
        """Where the watcher calls: all replicas."""
        ports = [proxy.port for link, proxy in self.links.items() if link.client == "watcher"]
        return "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports)

    @property
    def services(self) -> list[Service]:
        return [victim for victim in self.victims.values() if isinstance(victim, Service)]

    async def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of the database, past all networks that fail. Raises psycopg.OperationalError."""
        postgresql = self.victims["postgresql"]
        assert isinstance(postgresql, PostgreSQLServer)
        async with await psycopg.AsyncConnection.connect(postgresql.url, connect_timeout=2) as connection:
            return await (await connection.execute(sql.encode(), values)).fetchall()

    async def queued(self) -> dict[str, int]:
        """How many messages each queue holds that no consumer has in hand."""
        rabbitmq = self.victims["rabbitmq"]
        assert isinstance(rabbitmq, RabbitMQServer)
        async with await aio_pika.connect(rabbitmq.url) as connection:
            channel = await connection.channel()
            queues = [
                await channel.declare_queue(name, passive=True) for name in (BOOK_LOG.queue, BOOK_LOG.dead_letter_queue)
            ]
            return {queue.name: queue.declaration_result.message_count or 0 for queue in queues}


@asynccontextmanager
async def running_system(
    workspace: Workspace, servers: Mapping[str, Backing], settings: Mapping[str, str]
) -> AsyncIterator[System]:
    """The whole system, well, on servers that run."""
    await asyncio.to_thread(upgrade, servers["postgresql"].url)
    async with AsyncExitStack() as closing:
        links = await _links_to(servers, closing)
        services = {
            name: _service(kind, workspace, {**settings, **_addresses(name, servers, links)})
            for kind, names in VICTIMS.items()
            if kind not in servers
            for name in names
        }
        await _start(services.values(), closing)
        yield System({**servers, **services}, links | await _links_to(services, closing))


async def _start(services: Iterable[Service], closing: AsyncExitStack) -> None:
    for service in services:
        service.launch()
        closing.callback(service.dispose)
    for service in services:
        await asyncio.to_thread(service.wait_until_it_answers)


async def _links_to(servers: Mapping[str, Server], closing: AsyncExitStack) -> dict[Link, Proxy]:
    return {
        link: await closing.enter_async_context(Proxy(servers[link.server].port))
        for link in LINKS
        if link.server in servers
    }


def _addresses(name: str, servers: Mapping[str, Backing], links: Mapping[Link, Proxy]) -> dict[str, str]:
    """Where a service finds the servers: at the proxies that are on its way to them."""
    return {
        _VARIABLES[link.server]: servers[link.server].url.replace(f":{servers[link.server].port}", f":{proxy.port}")
        for link, proxy in links.items()
        if link.client == name
    }


def _service(kind: str, workspace: Workspace, settings: Mapping[str, str]) -> Service:
    match kind:
        case "rest-api":
            return RestApiThatHashesQuickly(workspace, {**_SETTINGS, **settings})
        case "relay":
            return OutboxRelay(workspace, {**_SETTINGS, **settings})
        case _:
            return GrpcApi(workspace, {**_SETTINGS, **settings, "METRICS_PORT": str(free_port())})
