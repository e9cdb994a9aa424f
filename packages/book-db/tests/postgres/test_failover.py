"""A failover: the address leads to a standby for a while, or one of two hosts takes over."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from uuid import UUID

import psycopg
import pytest
from book_db.books.cache import NoCache
from book_db.books.catalogue import Catalogue
from book_db.books.exporting import Exports
from book_db.books.selection import EVERYTHING
from book_db.errors import DatabaseUnavailable, ReadOnlyDatabase
from book_db.events.outbox import Outbox, OutboxNotifier
from book_db.migrations import upgrade
from book_db.postgres.connector import REPLICA
from book_db.postgres.database import Database
from book_db.postgres.listener import Listener
from book_runtime.tasks import background
from structlog.testing import capture_logs
from support.data_layer import a_draft
from support.pgbouncer import PgBouncer
from support.ports import free_port
from support.postgresql import PostgreSQLReplica, PostgreSQLServer
from support.proxy import Proxy
from support.waiting import patiently, until
from support.workspace import Workspace

WITH_A_LOG_FOR_OTHERS = ("full_page_writes=off", "wal_keep_size=1GB")

IS_STANDBY = "SELECT pg_is_in_recovery()"


@pytest.fixture(scope="module")
def primary(workspace: Workspace) -> Iterator[PostgreSQLServer]:
    with PostgreSQLServer(workspace, settings=WITH_A_LOG_FOR_OTHERS) as server:
        upgrade(server.url)
        yield server


@pytest.fixture(scope="module")
def standby(primary: PostgreSQLServer) -> Iterator[PostgreSQLReplica]:
    with primary.replica() as server:
        yield server


@pytest.fixture
async def proxy(primary: PostgreSQLServer) -> AsyncIterator[Proxy]:
    async with Proxy(primary.port) as proxy:
        yield proxy


@pytest.fixture
def address(primary: PostgreSQLServer, proxy: Proxy) -> str:
    return primary.url.replace(f":{primary.port}/", f":{proxy.port}/")


@pytest.fixture
async def database(address: str) -> AsyncIterator[Database]:
    database = Database.open(address)
    yield database
    await database.close()


@asynccontextmanager
async def a_catalogue(database: Database) -> AsyncIterator[Catalogue]:
    notifier = OutboxNotifier(database)
    yield Catalogue(database, NoCache(), notifier)
    await notifier.close()


def fail_over(proxy: Proxy, to: PostgreSQLServer) -> None:
    """Everybody who was connected is cut off, and connects to another server from now on."""
    proxy.lead_to(to.port)
    proxy.drop()


class TestAnAddressThatLeadsToAStandbyForAWhile:
    @pytest.mark.parametrize("target", ["", "?target_session_attrs=any"], ids=["by-default", "any-server"])
    async def test_takes_no_writes_meanwhile_and_takes_them_again(
        self,
        primary: PostgreSQLServer,
        standby: PostgreSQLReplica,
        proxy: Proxy,
        address: str,
        target: str,
        actor: UUID,
    ) -> None:
        database = Database.open(address + target)
        async with a_catalogue(database) as catalogue:
            book = await catalogue.add(a_draft(), actor)
            fail_over(proxy, to=standby)
            await until(lambda: is_refused(catalogue, actor), "the standby is met")
            with pytest.raises(ReadOnlyDatabase):
                await database.ping(writes=True)
            fail_over(proxy, to=primary)
            await until(lambda: is_written(catalogue, actor), "it is written again")
            assert await catalogue.get(book.id) == book
        await database.close()

    async def test_may_be_read_meanwhile_where_any_server_will_do(
        self, standby: PostgreSQLReplica, proxy: Proxy, address: str
    ) -> None:
        database = Database.open(f"{address}?target_session_attrs=any")
        fail_over(proxy, to=standby)
        assert await database.fetch(IS_STANDBY, {}) == [(True,)]
        await database.ping()
        await database.close()

    async def test_takes_writes_where_a_connection_was_before_though_it_still_stands(
        self, primary: PostgreSQLServer, standby: PostgreSQLReplica, proxy: Proxy, address: str, actor: UUID
    ) -> None:
        """The address leads to the new primary, and what was connected to the standby is not cut off."""
        proxy.lead_to(standby.port)
        database = Database.open(f"{address}?target_session_attrs=any", pool_size=1)
        async with a_catalogue(database) as catalogue:
            await database.ping()
            proxy.lead_to(primary.port)
            await catalogue.add(a_draft(), actor)
        await database.close()

    @pytest.mark.parametrize(
        ("target", "said"),
        [
            pytest.param("", "session is read-only", id="by-default"),
            pytest.param("?target_session_attrs=any", "cannot execute LISTEN during recovery", id="any-server"),
        ],
    )
    async def test_is_listened_to_again(
        self, primary: PostgreSQLServer, standby: PostgreSQLReplica, proxy: Proxy, address: str, target: str, said: str
    ) -> None:
        heard, hearing = asyncio.Event(), asyncio.Event()
        channels = {"shelves": lambda _: heard.set()}
        listener = Listener(address + target, channels, on_connected=hearing.set, on_disconnected=hearing.clear)
        proxy.lead_to(standby.port)
        with capture_logs() as logs:
            async with background(listener.run()):
                await until(lambda: logs, "it says that it is deaf")
                assert said in logs[0]["reason"]
                fail_over(proxy, to=primary)
                await patiently(hearing.wait(), "it listens")
                with psycopg.connect(primary.url, autocommit=True) as connection:
                    connection.execute("NOTIFY shelves")
                await patiently(heard.wait(), "it hears")
        assert logs[1]["event"] == "outage of PostgreSQL's notifications is over"

    async def test_has_no_lead_meanwhile_and_then_one_again(
        self, primary: PostgreSQLServer, standby: PostgreSQLReplica, proxy: Proxy, database: Database
    ) -> None:
        async def lead_until_it_is_lost() -> None:
            async with Outbox(database).acquire_lease() as lease:
                fail_over(proxy, to=standby)
                await lease.wait(3_600)

        with pytest.raises(DatabaseUnavailable):
            await patiently(lead_until_it_is_lost(), "it is lost")
        with pytest.raises(ReadOnlyDatabase):
            await lead_until_it_is_lost()
        fail_over(proxy, to=primary)
        async with Outbox(database).acquire_lease() as lease:
            await lease.claim(1)

    def test_is_not_set_up(self, standby: PostgreSQLReplica) -> None:
        with pytest.raises(ReadOnlyDatabase):
            upgrade(standby.url)


async def is_refused(catalogue: Catalogue, actor: UUID) -> bool:
    try:
        await catalogue.add(a_draft(), actor)
    except DatabaseUnavailable as error:
        return isinstance(error, ReadOnlyDatabase)
    return False


async def is_written(catalogue: Catalogue, actor: UUID) -> bool:
    try:
        await catalogue.add(a_draft(), actor)
    except DatabaseUnavailable:
        return False
    return True


def address_of(*servers: PostgreSQLServer, port: int | None = None) -> str:
    """One address with the hosts of several servers; with a port, the first host is one where nobody listens."""
    hosts = [f"127.0.0.1:{each}" for each in ([port] if port else []) + [server.port for server in servers]]
    before, _, after = servers[0].url.partition(f"127.0.0.1:{servers[0].port}")
    return f"{before}{','.join(hosts)}{after}"


@pytest.mark.usefixtures("pgbouncer")  # which sees to it that the program is there
class TestAPoolerThatWasConnectedToTheStandby:
    """It goes on to say that the server is one."""

    async def test_leads_to_it_when_it_was_promoted(self, workspace: Workspace, actor: UUID) -> None:
        with (
            PostgreSQLServer(workspace, settings=WITH_A_LOG_FOR_OTHERS) as primary,
            primary.replica() as standby,
            PgBouncer(workspace, standby, pool_mode="session") as pooler,
        ):
            upgrade(primary.url)
            database = Database.open(pooler.url_of("postgres"))
            with pytest.raises(ReadOnlyDatabase):
                await database.ping(writes=True)
            standby.promote()
            async with a_catalogue(database) as catalogue:
                await until(lambda: is_written(catalogue, actor), "it is written to")
            with psycopg.connect(pooler.url_of("postgres")) as connection:
                assert connection.info.parameter_status("in_hot_standby") == "on", "as it says"
            await database.close()


class TestAnAddressOfSeveralHosts:
    @pytest.mark.parametrize("first_is_down", [False, True], ids=["a-standby-first", "a-host-that-is-down-first"])
    async def test_leads_everybody_to_the_one_that_takes_writes(
        self, primary: PostgreSQLServer, standby: PostgreSQLReplica, first_is_down: bool, actor: UUID
    ) -> None:
        address = address_of(primary, port=free_port()) if first_is_down else address_of(standby, primary)
        upgrade(address)
        database = Database.open(address)
        async with a_catalogue(database) as catalogue:
            await catalogue.add(a_draft(), actor)
        async with Exports(address, at_once=1).open(EVERYTHING, "ndjson", actor) as blocks:
            assert b"Middlemarch" in b"".join([block async for block in blocks])
        hearing = asyncio.Event()
        async with background(Listener(address, {}, on_connected=hearing.set, on_disconnected=hearing.clear).run()):
            await patiently(hearing.wait(), "it listens")
        await database.close()

    @pytest.mark.parametrize("first", ["primary", "standby"])
    async def test_leads_readers_of_a_replica_to_the_standby(
        self, primary: PostgreSQLServer, standby: PostgreSQLReplica, first: str
    ) -> None:
        servers = (primary, standby) if first == "primary" else (standby, primary)
        database = Database.open(address_of(*servers), target=REPLICA)
        assert await database.fetch(IS_STANDBY, {}) == [(True,)]
        await database.close()

    async def test_follows_a_promotion(self, workspace: Workspace, actor: UUID) -> None:
        with PostgreSQLServer(workspace, settings=WITH_A_LOG_FOR_OTHERS) as primary, primary.replica() as standby:
            upgrade(primary.url)
            database = Database.open(address_of(primary, standby))
            async with a_catalogue(database) as catalogue:
                book = await catalogue.add(a_draft(), actor)
                primary.stop()
                with pytest.raises(ReadOnlyDatabase):
                    await catalogue.add(a_draft(), actor)
                standby.promote()
                await until(lambda: is_written(catalogue, actor), "the new primary is written to")
                assert await catalogue.get(book.id) == book
            await database.close()
