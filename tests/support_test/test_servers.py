"""The private servers themselves."""

import asyncio
import contextlib
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import aio_pika
import psycopg
import pytest
import redis
from aio_pika import DeliveryMode
from support import postgresql as postgresql_module
from support.postgresql import PostgreSQLServer
from support.rabbitmq import RabbitMQServer
from support.redis import RedisServer
from support.server import ServerDidNotStart
from support.waiting import PATIENCE, until
from support.workspace import Workspace


@pytest.fixture(scope="module", autouse=True)
def occupied_standard_ports() -> Iterator[None]:
    """Someone listens on the standard ports of all servers, and of Erlang's name server."""
    with contextlib.ExitStack() as stack:
        for port in (5432, 6379, 5672, 15672, 25672, 4369):
            with contextlib.suppress(OSError):  # somebody does already
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
        yield


class TestPostgreSQL:
    def test_it_is_as_new_as_the_one_of_colophon_run(self, empty_database_url: str) -> None:
        with psycopg.connect(empty_database_url) as connection:
            assert connection.info.server_version // 10_000 == 18

    @pytest.mark.parametrize("time", ["first", "second"])
    def test_each_test_has_a_database_of_its_own(self, empty_database_url: str, time: str) -> None:
        with psycopg.connect(empty_database_url) as connection:
            connection.execute("CREATE TABLE only_once ()")

    def test_database_url_leads_to_the_newest_schema(self, database_url: str) -> None:
        with psycopg.connect(database_url) as connection:
            assert connection.execute("SELECT count(*) FROM books").fetchone() == (0,)

    def test_a_database_goes_even_from_under_a_connected_client(self, postgresql: PostgreSQLServer) -> None:
        name = postgresql.create_database()
        with psycopg.connect(postgresql.url_of(name)) as client:
            postgresql.drop_database(name)
            with pytest.raises(psycopg.OperationalError):
                client.execute("SELECT 1")

    def test_committed_rows_survive_a_kill(self, own_postgresql: PostgreSQLServer) -> None:
        with psycopg.connect(own_postgresql.url) as connection:
            connection.execute("CREATE TABLE kept ()")
        own_postgresql.kill()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(own_postgresql.url)
        own_postgresql.start()
        with psycopg.connect(own_postgresql.url) as connection:
            assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)

    def test_it_starts_from_a_folder_that_its_user_cannot_enter(
        self, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        closed = tmp_path / "site-packages"
        closed.mkdir(mode=0o700)
        package = postgresql_module.INSTALLATION.parent
        for folder in package.parent.glob(f"{package.name}*"):
            shutil.copytree(folder, closed / folder.name, symlinks=True, ignore=shutil.ignore_patterns("pginstall"))
        monkeypatch.setattr(
            postgresql_module, "INSTALLATION", closed / package.name / postgresql_module.INSTALLATION.name
        )
        with PostgreSQLServer(workspace) as server, psycopg.connect(server.url):
            assert closed.stat().st_mode & 0o777 == 0o700

    def test_what_it_logged_is_shown_when_it_does_not_start(self, workspace: Workspace) -> None:
        server = PostgreSQLServer(workspace)
        with (
            socket.create_server(("127.0.0.1", server.port)),
            pytest.raises(ServerDidNotStart, match="Address already in use"),
        ):
            server.start()


class TestRedis:
    @pytest.mark.parametrize("time", ["first", "second"])
    def test_each_test_begins_without_keys(self, redis_url: str, time: str) -> None:
        with redis.Redis.from_url(redis_url) as client:
            assert client.set("only", "once", nx=True)

    def test_an_own_one_comes_back_empty_on_its_port(self, own_redis: RedisServer) -> None:
        with redis.Redis.from_url(own_redis.url) as client:
            client.set("name", "value")
            own_redis.kill()
            with pytest.raises(redis.ConnectionError):
                client.get("name")
            own_redis.start()
            assert client.get("name") is None


class TestRabbitMQ:
    @pytest.mark.parametrize("time", ["first", "second"])
    async def test_each_test_has_a_virtual_host_of_its_own(self, amqp_url: str, time: str) -> None:
        connection = await aio_pika.connect(amqp_url)
        async with connection, connection.channel() as channel:
            with pytest.raises(aio_pika.exceptions.ChannelNotFoundEntity):
                await channel.get_queue("only-once")
        connection = await aio_pika.connect(amqp_url)
        async with connection, connection.channel() as channel:
            await channel.declare_queue("only-once", durable=True)

    def test_the_management_api_tells_who_is_connected(self, rabbitmq: RabbitMQServer) -> None:
        assert rabbitmq.manage("GET", "/connections") == []

    @pytest.mark.slow
    async def test_an_own_one_keeps_confirmed_messages_through_a_kill(self, own_rabbitmq: RabbitMQServer) -> None:
        connection = await aio_pika.connect(own_rabbitmq.url)
        async with connection, connection.channel(publisher_confirms=True) as channel:
            await channel.declare_queue("kept", durable=True, arguments={"x-queue-type": "quorum"})
            await channel.default_exchange.publish(
                aio_pika.Message(b"precious", delivery_mode=DeliveryMode.PERSISTENT), "kept"
            )
            await asyncio.sleep(1)  # see RabbitMQServer.kill
            own_rabbitmq.kill()
        own_rabbitmq.start()

        async def kept() -> bytes | None:
            # A quorum queue elects its leader after the broker answers, and ends connections that ask it before.
            with contextlib.suppress(aio_pika.exceptions.AMQPError, ConnectionError):
                connection = await aio_pika.connect(own_rabbitmq.url)
                async with connection, connection.channel() as channel:
                    message = await (await channel.get_queue("kept")).get(fail=False, timeout=PATIENCE)
                    return message.body if message else None
            return None

        assert await until(kept, "the queue gives what it has kept") == b"precious"
