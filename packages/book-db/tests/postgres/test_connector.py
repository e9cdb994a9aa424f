"""Connections: what their sessions are given, whatever is set for the database, and which databases are refused."""

from collections.abc import AsyncIterator, Iterator
from datetime import date, timedelta
from uuid import UUID

import psycopg
import pytest
from book_db.accounts.users import Users
from book_db.books.cache import NoCache
from book_db.books.catalogue import Catalogue
from book_db.books.exporting import Exports
from book_db.books.selection import EVERYTHING, Order, Selection
from book_db.errors import ReadOnlyDatabase, UnfitDatabase
from book_db.events.outbox import Outbox, OutboxNotifier
from book_db.migrations import check, upgrade
from book_db.postgres import connector as connecting
from book_db.postgres.connector import Connector, parameters_of
from book_db.postgres.database import Database
from book_db.settings import StoreSettings
from book_runtime.settings import SettingsError, load
from psycopg import sql
from support.data_layer import a_draft
from support.postgresql import PostgreSQLServer

OTHERWISE = {
    "timezone": "Asia/Tokyo",
    "datestyle": "SQL, DMY",
    "intervalstyle": "iso_8601",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "client_encoding": "LATIN1",
    "standard_conforming_strings": "off",
    "escape_string_warning": "off",
    "array_nulls": "off",
    "transform_null_equals": "on",
    "quote_all_identifiers": "on",
    "gin_fuzzy_search_limit": "1",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "exit_on_error": "on",
    "lock_timeout": "1ms",
    "idle_in_transaction_session_timeout": "1ms",
    # Not so short that there is no time to set another one.
    "statement_timeout": "200ms",
    "transaction_timeout": "400ms",
    "idle_session_timeout": "400ms",
}
"""Settings of a database that are not those that the code was written with."""


def let_be_set(url: str, settings: dict[str, str]) -> None:
    """For every session of the database from now on."""
    with psycopg.connect(url, autocommit=True) as connection:
        name = sql.Identifier(connection.info.dbname)
        for setting, value in settings.items():
            command = sql.SQL("ALTER DATABASE {} SET {} = {}")
            connection.execute(command.format(name, sql.Identifier(setting), sql.Literal(value)))


@pytest.fixture
def own_name(postgresql: PostgreSQLServer, migrated_template: str) -> Iterator[str]:
    """A database of the test's own, which is dropped with its settings."""
    name = postgresql.create_database(template=migrated_template)
    yield name
    postgresql.drop_database(name)


@pytest.fixture(params=[*OTHERWISE, "all"])
def set_otherwise(request: pytest.FixtureRequest, postgresql: PostgreSQLServer, own_name: str) -> str:
    """The address of a database where one of these settings is so, or all of them."""
    url = postgresql.url_of(own_name)
    let_be_set(url, OTHERWISE if request.param == "all" else {request.param: OTHERWISE[request.param]})
    return url


@pytest.fixture
async def database(set_otherwise: str) -> AsyncIterator[Database]:
    database = Database.open(set_otherwise)
    yield database
    await database.close()


class TestADatabaseWhereItIsSetOtherwise:
    async def test_serves_as_any_other(self, database: Database, set_otherwise: str, actor: UUID) -> None:
        notifier = OutboxNotifier(database)
        catalogue = Catalogue(database, NoCache(), notifier)
        book = await catalogue.add(a_draft(title="Œuvres – 全集", publication_date=date(1871, 2, 1)), actor)
        assert await catalogue.get(book.id) == book
        assert book.created_at.utcoffset() == timedelta(0)
        page = await catalogue.page(selection=Selection(words=("全集",)), order=Order("created_at"))
        assert page.books == [book]
        user = await Users(database).add({"email": "ann@example.org", "hashed_password": "-"})
        assert await Users(database).by_email("ANN@example.org") is not None
        assert user.created_at.utcoffset() == timedelta(0)
        async with Outbox(database).acquire_lease() as lease:
            [(_, _, event)] = await lease.claim(10)
            assert (event.book.publication_date, event.occurred_at) == (date(1871, 2, 1), book.created_at)
        await notifier.close()

    async def test_exports_as_any_other(self, database: Database, set_otherwise: str, actor: UUID) -> None:
        notifier = OutboxNotifier(database)
        book = await Catalogue(database, NoCache(), notifier).add(a_draft(publication_date=date(1871, 2, 1)), actor)
        async with Exports(set_otherwise, at_once=1).open(EVERYTHING, "ndjson", actor) as blocks:
            assert b"".join([block async for block in blocks]) == book.to_json() + b"\n"
        await notifier.close()

    def test_is_set_up_as_any_other(self, postgresql: PostgreSQLServer) -> None:
        name = postgresql.create_database()
        let_be_set(postgresql.url_of(name), OTHERWISE)
        upgrade(postgresql.url_of(name))
        check(postgresql.url_of(name))
        postgresql.drop_database(name)


class TestTheSettingsOfASession:
    async def test_are_those_that_the_code_counts_on(self, postgresql: PostgreSQLServer, own_name: str) -> None:
        url = postgresql.url_of(own_name)
        let_be_set(url, OTHERWISE)
        connector = Connector(url, "a-service", statement_timeout=10)
        async with await connector.connect(psycopg.AsyncConnection) as connection:
            assert await settings_of(connection) == {**connecting._SESSION, "statement_timeout": "10s"}
            assert connection.info.encoding == "utf-8"

    async def test_stay_when_a_transaction_is_rolled_back(self, database_url: str) -> None:
        async with await Connector(database_url, "a-service").connect(psycopg.AsyncConnection) as connection:
            assert not connection.autocommit
            await connection.execute("SELECT 1")
            await connection.rollback()
            assert (await settings_of(connection))["transform_null_equals"] == "off"

    def test_are_the_same_for_what_does_not_wait_in_an_event_loop(
        self, postgresql: PostgreSQLServer, own_name: str
    ) -> None:
        url = postgresql.url_of(own_name)
        let_be_set(url, OTHERWISE)
        with Connector(url, "a-command").connect_now() as connection:
            rows = connection.execute("SHOW DateStyle").fetchone(), connection.execute("SHOW TimeZone").fetchone()
        assert rows == (("ISO, MDY",), ("UTC",))


async def settings_of(connection: psycopg.AsyncConnection) -> dict[str, str]:
    names = [*connecting._SESSION, "statement_timeout"]
    rows = await connection.execute("SELECT name, current_setting(name) FROM unnest(%s::text[]) AS name", [names])
    found = {name: value async for name, value in rows}
    return {name: "60s" if value == "1min" else value for name, value in found.items()}


class TestADatabaseThatCannotBeUsed:
    @pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
    async def test_has_another_encoding_than_utf8(self, postgresql: PostgreSQLServer, encoding: str) -> None:
        name = a_database_in(postgresql, encoding)
        with pytest.raises(UnfitDatabase) as refused:
            upgrade(postgresql.url_of(name))
        assert f"its encoding is {encoding} and must be UTF8" in refused.value.reason
        await is_refused_a_service(postgresql.url_of(name), f"its encoding is {encoding} and must be UTF8")
        postgresql.drop_database(name)

    @pytest.mark.parametrize(
        "path",
        [pytest.param("nowhere", id="not-there"), pytest.param("", id="empty"), pytest.param("$user", id="nobody's")],
    )
    async def test_has_a_search_path_that_leads_nowhere(
        self, postgresql: PostgreSQLServer, own_name: str, path: str
    ) -> None:
        let_be_set(postgresql.url_of(own_name), {"search_path": path})
        await is_refused_a_service(postgresql.url_of(own_name), "the search_path names no schema")

    async def test_is_older_than_what_is_supported(self, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connecting, "_OLDEST_RELEASE", 99)
        await is_refused_a_service(database_url, "it is PostgreSQL 18, and must be 99 or newer")

    async def test_lets_nobody_in_with_this_password(self, database_url: str) -> None:
        await is_refused_a_service(with_password(database_url, "sesame"), "password authentication failed")

    async def test_is_not_there(self, postgresql: PostgreSQLServer) -> None:
        await is_refused_a_service(postgresql.url_of("nowhere"), 'database "nowhere" does not exist')

    @pytest.mark.parametrize(
        ("address", "told"),
        [
            pytest.param("postgresql://ann:sesame@localhost/books?shelf=3", "shelf", id="unknown-option"),
            pytest.param("postgresql://ann:ses%zzame@localhost/books", "percent-encoded", id="bad-escape"),
        ],
    )
    @pytest.mark.parametrize("variable", ["DATABASE_URL", "DATABASE_REPLICA_URL"])
    def test_has_an_address_that_libpq_cannot_read(self, address: str, told: str, variable: str) -> None:
        with pytest.raises(SettingsError) as refused:
            load(StoreSettings, **{"database_url": "postgresql://localhost/books", variable.lower(): address})
        assert f"{variable}: " in str(refused.value)
        assert told in str(refused.value)
        assert "ses" not in str(refused.value)

    @pytest.mark.parametrize(
        ("option", "told"),
        [
            pytest.param("sslmode=sometimes", 'invalid sslmode value: "sometimes"', id="ssl-mode"),
            pytest.param("sslmode=require", "server does not support SSL", id="ssl-that-the-server-has-not"),
            pytest.param("target_session_attrs=mine", 'invalid target_session_attrs value: "mine"', id="target"),
            pytest.param("connect_timeout=soon", "soon", id="time-that-is-no-number"),
        ],
    )
    async def test_is_asked_for_in_a_way_that_cannot_be(self, database_url: str, option: str, told: str) -> None:
        await is_refused_a_service(f"{database_url}?{option}", told)

    async def test_tells_the_reason_to_those_who_run_it_alone(self, database_url: str) -> None:
        with pytest.raises(UnfitDatabase) as refused:
            await ping(with_password(database_url, "sesame"))
        assert "postgres" not in str(refused.value)


def with_password(url: str, password: str) -> str:
    user, _, host = url.rpartition("@")
    return f"{user.rpartition(':')[0]}:{password}@{host}"


def a_database_in(server: PostgreSQLServer, encoding: str) -> str:
    name = f"in_{encoding.lower()}"
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(
            f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0"
            " LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C' LOCALE 'C'".encode()
        )
    return name


async def ping(url: str) -> None:
    database = Database.open(url)
    try:
        await database.ping()
    finally:
        await database.close()


async def is_refused_a_service(url: str, reason: str) -> None:
    with pytest.raises(UnfitDatabase) as refused:
        await ping(url)
    assert reason in refused.value.reason
    assert "\n" not in refused.value.reason


class TestAnAddress:
    @pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
    def test_is_read_by_the_rules_of_libpq(self, scheme: str) -> None:
        read = parameters_of(f"{scheme}://ann:se%20same@/books?host=/a%20folder/a+b&port=5433")
        assert read == {
            "user": "ann", "password": "se same", "dbname": "books", "host": "/a folder/a+b", "port": "5433"
        }  # fmt: skip

    def test_may_name_several_hosts(self) -> None:
        read = parameters_of("postgresql://ann:sesame@one:5433,[::1]:5434,three/books")
        assert (read["host"], read["port"]) == ("one,::1,three", "5433,5434,")

    def test_asks_for_a_server_that_takes_writes_and_five_seconds_for_each(self) -> None:
        asked = Connector("postgresql://one,two/books", "a-service").parameters
        assert (asked["target_session_attrs"], asked["connect_timeout"]) == ("read-write", 5)

    def test_has_the_last_word(self) -> None:
        address = "postgresql://one,two/books?target_session_attrs=any&connect_timeout=2"
        asked = Connector(address, "a-service", target=connecting.REPLICA).parameters
        assert (asked["target_session_attrs"], asked["connect_timeout"]) == ("any", "2")


class TestADatabaseThatIsReadOnlyByDefault:
    """As providers set it where a disk is full, and operators while they move one."""

    @pytest.fixture
    def read_only(self, postgresql: PostgreSQLServer, own_name: str) -> str:
        let_be_set(postgresql.url_of(own_name), {"default_transaction_read_only": "on"})
        return postgresql.url_of(own_name)

    async def test_is_waited_for(self, read_only: str) -> None:
        with pytest.raises(ReadOnlyDatabase):
            await ping(read_only)

    async def test_is_read_where_the_address_says_that_any_will_do(self, read_only: str, actor: UUID) -> None:
        database = Database.open(f"{read_only}?target_session_attrs=any", pool_size=1)
        await database.ping()
        with pytest.raises(ReadOnlyDatabase):
            await database.ping(writes=True)
        notifier = OutboxNotifier(database)
        with pytest.raises(ReadOnlyDatabase):
            await Catalogue(database, NoCache(), notifier).add(a_draft(), actor)
        await notifier.close()
        await database.close()

    async def test_takes_writes_again_on_a_new_connection(self, read_only: str, actor: UUID) -> None:
        database = Database.open(f"{read_only}?target_session_attrs=any", pool_size=1)
        [[before]] = await database.fetch("SELECT pg_backend_pid()", {})
        let_be_set_no_more(read_only, "default_transaction_read_only")
        with pytest.raises(ReadOnlyDatabase):
            await database.fetch("DELETE FROM books RETURNING id", {})
        assert await database.fetch("DELETE FROM books RETURNING id", {}) == []
        [[backend]] = await database.fetch("SELECT pg_backend_pid()", {})
        assert backend != before
        await database.close()


def let_be_set_no_more(url: str, setting: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("SET TRANSACTION READ WRITE")
        command = sql.SQL("ALTER DATABASE {} RESET {}")
        connection.execute(command.format(sql.Identifier(connection.info.dbname), sql.Identifier(setting)))
