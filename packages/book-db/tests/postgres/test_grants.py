"""What services may do with roles of their own. That it is enough, tests/e2e says: its system comes as these."""

import psycopg
import pytest
from book_db.postgres.grants import PRIVILEGES, grant
from book_db.tables import Base
from psycopg import sql
from psycopg.errors import InsufficientPrivilege, UndefinedObject
from support.roles import ROLES, with_roles

RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")


@pytest.fixture
def urls(database_url: str) -> dict[str, str]:
    return with_roles(database_url)


class TestARole:
    @pytest.mark.parametrize("service", PRIVILEGES)
    def test_has_what_is_listed_and_nothing_else(self, urls: dict[str, str], database_url: str, service: str) -> None:
        tables = PRIVILEGES[service]
        with psycopg.connect(database_url) as connection:
            for table in Base.metadata.tables:
                found = [
                    right
                    for right in RIGHTS
                    if connection.execute(
                        "SELECT has_table_privilege(%s, %s, %s)", [ROLES[service], table, right]
                    ).fetchone()
                    == (True,)
                ]
                listed = tables.get(table, "")
                assert found == ([] if "(" in listed else [right for right in RIGHTS if right in listed]), table

    @pytest.mark.parametrize(
        ("service", "statement"),
        [
            pytest.param("relay", "SELECT email FROM users", id="relay-reads-users"),
            pytest.param("relay", "SELECT title FROM books", id="relay-reads-books"),
            pytest.param("grpc", "SELECT hashed_password FROM users", id="grpc-reads-hashes"),
            pytest.param("grpc", "SELECT email FROM users", id="grpc-reads-addresses"),
            pytest.param("grpc", "DELETE FROM books", id="grpc-deletes-books"),
            pytest.param("grpc", "UPDATE users SET is_superuser = true", id="grpc-makes-superusers"),
            pytest.param("rest", "SELECT title FROM event_log", id="rest-reads-the-log"),
            pytest.param("rest", "DELETE FROM outbox", id="rest-takes-events-away"),
            pytest.param("rest", "TRUNCATE books", id="rest-empties-tables"),
            pytest.param("rest", "DROP TABLE books", id="rest-drops-tables"),
            pytest.param("rest", "CREATE TABLE mine (id int)", id="rest-makes-tables"),
            pytest.param("rest", "COPY books TO PROGRAM 'cat'", id="rest-runs-programs"),
        ],
    )
    def test_is_refused_what_its_service_does_not_do(self, urls: dict[str, str], service: str, statement: str) -> None:
        with psycopg.connect(urls[service]) as connection, pytest.raises(InsufficientPrivilege):
            connection.execute(statement.encode())

    def test_loses_what_it_had_before(self, urls: dict[str, str], database_url: str) -> None:
        with psycopg.connect(database_url) as connection:
            connection.execute(sql.SQL("GRANT SELECT ON users TO {}").format(sql.Identifier(ROLES["relay"])))
        grant(database_url, ROLES)
        with psycopg.connect(urls["relay"]) as connection, pytest.raises(InsufficientPrivilege):
            connection.execute("SELECT FROM users")

    def test_that_is_not_there_changes_nothing(self, urls: dict[str, str], database_url: str) -> None:
        with pytest.raises(UndefinedObject, match="nobody_at_all"):
            grant(database_url, {"relay": ROLES["grpc"], "grpc": "nobody_at_all"})
        with psycopg.connect(urls["grpc"]) as connection:
            assert connection.execute("SELECT count(*) FROM books").fetchone() == (0,)


def test_every_table_is_given_to_somebody() -> None:
    given = {table for tables in PRIVILEGES.values() for table in tables}
    assert given == Base.metadata.tables.keys()
