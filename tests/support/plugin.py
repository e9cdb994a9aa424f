"""The fixtures that give tests their servers, and the hooks that start as few of them as the selected tests need."""

from collections.abc import Iterator
from functools import cached_property

import pytest

from support.postgresql import PostgreSQLServer
from support.workspace import Workspace

_TEMPLATE = "migrated_template"


class PrivateServers:
    """The servers that tests share for the length of a run, each started when it is first asked for."""

    def __init__(self) -> None:
        self._workspace: Workspace | None = None

    @property
    def workspace(self) -> Workspace:
        if self._workspace is None:
            self._workspace = Workspace()
        return self._workspace

    @cached_property
    def postgresql(self) -> PostgreSQLServer:
        server = PostgreSQLServer(self.workspace)
        server.start()
        return server

    def close(self) -> None:
        if self._workspace is not None:
            self._workspace.close()


_SERVERS = pytest.StashKey[PrivateServers]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_SERVERS] = PrivateServers()


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[_SERVERS].close()


@pytest.fixture(scope="session")
def private_servers(pytestconfig: pytest.Config) -> PrivateServers:
    return pytestconfig.stash[_SERVERS]


@pytest.fixture(scope="session")
def workspace(private_servers: PrivateServers) -> Workspace:
    """Where a test starts a server of its own: `with PostgreSQLServer(workspace) as server: ...`."""
    return private_servers.workspace


@pytest.fixture(scope="session")
def postgresql(private_servers: PrivateServers) -> PostgreSQLServer:
    """The PostgreSQL that all tests share: for those who need another database than the two below."""
    return private_servers.postgresql


@pytest.fixture(scope="session")
def migrated_template(postgresql: PostgreSQLServer) -> str:
    """The name of a database that all migrations have run in, there to be copied."""
    # Imported here, so that a run without a database does not load SQLAlchemy and Alembic.
    from book_db.migrations import upgrade

    postgresql.create_database(name=_TEMPLATE)
    upgrade(postgresql.url_of(_TEMPLATE))
    return _TEMPLATE


@pytest.fixture
def database_url(postgresql: PostgreSQLServer, migrated_template: str) -> Iterator[str]:
    """A database of the test's own with the newest schema and no rows."""
    name = postgresql.create_database(template=migrated_template)
    yield postgresql.url_of(name)
    postgresql.drop_database(name)


@pytest.fixture
def empty_database_url(postgresql: PostgreSQLServer) -> Iterator[str]:
    """A database of the test's own with nothing in it, for the migrations."""
    name = postgresql.create_database()
    yield postgresql.url_of(name)
    postgresql.drop_database(name)
