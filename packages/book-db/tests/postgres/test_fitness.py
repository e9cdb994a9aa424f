"""What is found out about a database at the start: poolers that do not keep sessions, and rights that are missing."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from uuid import UUID

import psycopg
import pytest
from book_db.books.cache import NoCache
from book_db.books.catalogue import Catalogue
from book_db.books.exporting import Exports
from book_db.books.selection import EVERYTHING
from book_db.errors import DatabaseUnavailable, NotCommitted, UnfitDatabase
from book_db.events.outbox import Outbox, OutboxNotifier
from book_db.migrations import upgrade
from book_db.postgres import connector, fitness
from book_db.postgres.database import Database
from book_db.postgres.grants import PRIVILEGES
from book_db.postgres.listener import Listener
from book_runtime.tasks import background
from support.data_layer import Query, a_draft
from support.pgbouncer import PgBouncer
from support.ports import free_port
from support.postgresql import PostgreSQLServer
from support.proxy import Proxy
from support.roles import ROLES, with_roles
from support.waiting import patiently, until

StartPgBouncer = Callable[..., PgBouncer]


def name_of(url: str) -> str:
    return url.rpartition("/")[2]


class TestAPoolerOfTransactions:
    @pytest.mark.parametrize(
        "settings",
        [
            pytest.param({}, id="the-last-session-first"),
            pytest.param({"server_round_robin": 1}, id="sessions-in-turn"),
            pytest.param({"default_pool_size": 1}, id="one-session"),
            pytest.param(
                {"ignore_startup_parameters": "options,extra_float_digits"}, id="what-sessions-ask-for-is-lost"
            ),
        ],
    )
    @pytest.mark.parametrize("mode", ["transaction", "statement"])
    async def test_is_refused(
        self, pgbouncer: StartPgBouncer, database_url: str, mode: str, settings: dict[str, object]
    ) -> None:
        pooler = pgbouncer(pool_mode=mode, **settings)
        with pytest.raises(UnfitDatabase) as refused:
            await fitness.check(pooler.url_of(name_of(database_url)))
        assert "pool_mode = transaction" in refused.value.reason

    @pytest.mark.parametrize("sessions", [1, 2, 3, 8])
    async def test_is_refused_however_many_sessions_wait_in_it(
        self, pgbouncer: StartPgBouncer, database_url: str, sessions: int
    ) -> None:
        pooler = pgbouncer(pool_mode="transaction", server_round_robin=1)
        url = pooler.url_of(name_of(database_url))
        async with AsyncExitStack() as opening:
            clients = [
                await opening.enter_async_context(await psycopg.AsyncConnection.connect(url)) for _ in range(sessions)
            ]
            for client in clients:  # each in a transaction, and so with a session of its own
                await client.execute("SELECT 1")
        with pytest.raises(UnfitDatabase):
            await fitness.check(url)

    async def test_is_refused_while_others_use_it(self, pgbouncer: StartPgBouncer, database_url: str) -> None:
        url = pgbouncer(pool_mode="transaction").url_of(name_of(database_url))
        connections = [await psycopg.AsyncConnection.connect(url, autocommit=True) for _ in range(5)]

        async def use(connection: psycopg.AsyncConnection) -> None:
            while True:
                await connection.execute("SELECT 1", prepare=False)

        using = [asyncio.create_task(use(connection)) for connection in connections]
        with pytest.raises(UnfitDatabase):
            await fitness.check(url)
        for task in using:
            task.cancel()
        await asyncio.wait(using)
        for connection in connections:
            await connection.close()

    def test_is_refused_by_what_sets_up_the_schema(self, pgbouncer: StartPgBouncer, empty_database_url: str) -> None:
        with pytest.raises(UnfitDatabase):
            upgrade(pgbouncer(pool_mode="transaction").url_of(name_of(empty_database_url)))


class TestAPoolerOfSessions:
    @pytest.fixture
    def pooled(self, pgbouncer: StartPgBouncer, database_url: str) -> str:
        return pgbouncer(pool_mode="session").url_of(name_of(database_url))

    async def test_does(self, pooled: str) -> None:
        await fitness.check(pooled, services=PRIVILEGES)

    def test_lets_the_schema_be_set_up(self, pgbouncer: StartPgBouncer, empty_database_url: str) -> None:
        upgrade(pgbouncer(pool_mode="session").url_of(name_of(empty_database_url)))

    async def test_gives_utc_whatever_was_lost_on_the_way(
        self, pgbouncer: StartPgBouncer, database_url: str, query: Query
    ) -> None:
        name = name_of(database_url)
        query(f"ALTER DATABASE {name} SET timezone = 'Asia/Tokyo'")
        url = pgbouncer(pool_mode="session", ignore_startup_parameters="options").url_of(name)
        database = Database.open(url)
        [[zone]] = await database.fetch("SELECT current_setting('TimeZone')", {})
        assert zone == "UTC"
        await database.close()
        query(f"ALTER DATABASE {name} RESET timezone")

    async def test_exports_listens_and_holds_the_lease(self, pooled: str, actor: UUID) -> None:
        database, second = Database.open(pooled), Database.open(pooled)
        notifier = OutboxNotifier(database)
        heard, hearing = asyncio.Event(), asyncio.Event()
        listener = Listener(
            pooled, {"shelves": lambda _: heard.set()}, on_connected=hearing.set, on_disconnected=hearing.clear
        )
        book = await Catalogue(database, NoCache(), notifier).add(a_draft(), actor)
        async with Exports(pooled, at_once=1).open(EVERYTHING, "ndjson", actor) as blocks:
            assert b"".join([block async for block in blocks]) == book.to_json() + b"\n"
        async with background(listener.run()):
            await patiently(hearing.wait(), "it listens")
            await database.fetch("SELECT pg_notify('shelves', '')", {})
            await patiently(heard.wait(), "it hears")
        async with Outbox(database).acquire_lease() as lease:
            assert len(await lease.claim(10)) == 1
            [[free]] = await second.fetch("SELECT pg_try_advisory_lock(7214508362)", {})
            assert not free, "a second relay does not lead"
        await notifier.close()
        await database.close()
        await second.close()

    async def test_that_has_no_second_session_is_waited_for(
        self, pgbouncer: StartPgBouncer, database_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connector, "_CONNECT_TIMEOUT_SECONDS", 0.5)
        pooler = pgbouncer(pool_mode="session", default_pool_size=1)
        with pytest.raises(NotCommitted) as raised:
            await fitness.check(pooler.url_of(name_of(database_url)))
        assert "server closed the connection" in raised.value.reason


class TestRights:
    @pytest.mark.parametrize("service", PRIVILEGES)
    async def test_that_are_granted_do(self, database_url: str, service: str) -> None:
        await fitness.check(with_roles(database_url)[service], services=[service])

    @pytest.mark.parametrize(
        ("service", "revoked", "missing"),
        [
            pytest.param("rest", "INSERT ON outbox", "INSERT on outbox", id="one-table"),
            pytest.param("relay", "ALL ON outbox", "SELECT on outbox", id="a-table-as-a-whole"),
            pytest.param("grpc", "SELECT (is_editor) ON users", "SELECT on users (is_editor)", id="a-column"),
        ],
    )
    async def test_that_are_missing_are_named(
        self, database_url: str, query: Query, service: str, revoked: str, missing: str
    ) -> None:
        url = with_roles(database_url)[service]
        query(f"REVOKE {revoked} FROM {ROLES[service]}")
        with pytest.raises(UnfitDatabase) as refused:
            await fitness.check(url, services=[service])
        assert f"the role {ROLES[service]} lacks {missing}" in refused.value.reason

    async def test_on_tables_that_do_not_exist_yet_are_waited_for(self, empty_database_url: str) -> None:
        await fitness.check(empty_database_url, services=PRIVILEGES)

    def test_to_make_the_schema_are_named(self, postgresql: PostgreSQLServer, empty_database_url: str) -> None:
        with psycopg.connect(empty_database_url, autocommit=True) as connection:
            connection.execute("DROP ROLE IF EXISTS visitor")
            connection.execute("CREATE ROLE visitor LOGIN PASSWORD 'secret'")
        url = empty_database_url.replace("postgres:", "visitor:", 1)
        user, _, host = url.rpartition("@")
        with pytest.raises(UnfitDatabase) as refused:
            upgrade(f"{user.rpartition(':')[0]}:secret@{host}")
        assert "permission denied for schema public" in refused.value.reason


class TestABlockThatIsChecked:
    async def test_is_not_entered_with_a_database_that_does_not_do(self, postgresql: PostgreSQLServer) -> None:
        with pytest.raises(UnfitDatabase):
            async with fitness.checked(postgresql.url_of("nowhere")):
                pytest.fail("it was entered")

    async def test_is_entered_without_the_database_and_goes_on_when_it_comes(self, database_url: str) -> None:
        port = int(database_url.rpartition("/")[0].rpartition(":")[2])
        async with Proxy(port) as proxy:
            proxy.refuse()
            url = database_url.replace(f":{port}/", f":{proxy.port}/")
            async with fitness.checked(url):
                await proxy.heal()
                database = Database.open(url)
                await until(lambda: answers(database), "the database is there")
                await database.close()

    async def test_ends_when_the_database_that_comes_does_not_do(
        self, postgresql: PostgreSQLServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(fitness, "_RETRY_SECONDS", 0.05)
        ended = False
        async with Proxy(postgresql.port) as proxy:
            proxy.refuse()
            url = postgresql.url_of("nowhere").replace(f":{postgresql.port}/", f":{proxy.port}/")

            async def serve() -> None:
                nonlocal ended
                async with fitness.checked(url):
                    await proxy.heal()
                    try:
                        await asyncio.Event().wait()
                    finally:
                        ended = True

            with pytest.raises(UnfitDatabase, match="not one that this service can work with"):
                await patiently(serve(), "it ends")
        assert ended, "in order"

    async def test_lets_what_the_block_raises_through(self) -> None:
        with pytest.raises(KeyError):
            async with fitness.checked(f"postgresql://ann:sesame@127.0.0.1:{free_port()}/books"):
                raise KeyError

    async def test_lets_a_cancellation_through(self) -> None:
        async def serve() -> None:
            async with fitness.checked(f"postgresql://ann:sesame@127.0.0.1:{free_port()}/books"):
                await asyncio.Event().wait()

        serving = asyncio.create_task(serve())
        await asyncio.sleep(0)
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await patiently(serving, "it ends")


async def answers(database: Database) -> bool:
    try:
        await database.ping()
    except DatabaseUnavailable:
        return False
    return True
