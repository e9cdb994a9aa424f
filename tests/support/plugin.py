"""The fixtures that give tests their servers, and the hooks that start as few of them as the selected tests need."""

import os
import signal
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path

import pytest

from support import durations, evidence
from support.leftovers import Leftovers
from support.node import NodeProject, install
from support.pgbouncer import PgBouncer
from support.postgresql import PostgreSQLServer
from support.preloaded import PreloadedCommands
from support.programs import CHROMIUM, CURL, GO, JAVAC, NODE, NPM, PGBOUNCER, NotInstalled, find, require
from support.rabbitmq import RabbitMQServer
from support.redis import RedisServer
from support.workspace import Workspace

# Read when grpc is imported, so before any test is. With it, which is the default, a process that is forked while gRPC
# works crashes before it becomes the program it was to start: PostgreSQL, say, which is started as another user.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

_TEMPLATE = "migrated_template"

_KEPT_IN = ".test-logs"
"""Where the logs of failed tests are, at the root."""

_PROGRAMS = {
    "redis": "redis-server",
    "own_redis": "redis-server",
    "rabbitmq": "rabbitmq-server",
    "own_rabbitmq": "rabbitmq-server",
    "chromium": CHROMIUM,
    "node": NODE,
    "node_modules": NPM,
    "pgbouncer": PGBOUNCER,
    "curl": CURL,
    "java": JAVAC,
    "go": GO,
}
"""The fixtures that need a program which does not come with the Python packages."""

_STARTING = {"private_servers", *_PROGRAMS}
"""The fixtures that start a server, or need a program that not every machine has."""


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

    @cached_property
    def redis(self) -> RedisServer:
        server = RedisServer(self.workspace)
        server.start()
        return server

    @cached_property
    def rabbitmq(self) -> RabbitMQServer:
        """Launched here and slow to start: call `start` before use."""
        server = RabbitMQServer(self.workspace, managed=True)
        server.launch()
        return server

    @property
    def logs(self) -> Mapping[int, Path]:
        """The logs of these servers and of all else in the workspace, by the number of the process."""
        return {} if self._workspace is None else self._workspace.logs

    def close(self) -> None:
        if self._workspace is not None:
            self._workspace.close()


_SERVERS = pytest.StashKey[PrivateServers]()
_EVIDENCE = pytest.StashKey[evidence.Evidence]()


def pytest_configure(config: pytest.Config) -> None:
    is_worker = hasattr(config, "workerinput")
    if is_worker or not config.getoption("tx", default=None):
        _ignore_for_ourselves_alone()
    config.stash[_SERVERS] = PrivateServers()
    config.pluginmanager.register(Leftovers(config.stash[_SERVERS]))
    config.pluginmanager.register(durations.Durations(config))
    if not is_worker:
        evidence.forget(config.rootpath / _KEPT_IN)


def _ignore_for_ourselves_alone() -> None:
    """Lets what tests start hear the signals that this process was started to ignore, as `make test &` and nohup do.

    What is ignored is ignored by children too; what is handled, by doing nothing, is not. For a process that runs
    tests: workers of xdist are children too, and are to ignore what they should.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def pytest_xdist_auto_num_workers() -> int:
    return durations.workers()


def pytest_runtest_setup(item: pytest.Item) -> None:
    item.stash[_EVIDENCE] = evidence.Evidence(item.config.stash[_SERVERS])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Shows what the servers of a test that failed have said."""
    report = yield
    if report.failed and _EVIDENCE in item.stash:
        folder = item.config.rootpath / _KEPT_IN / evidence.folder_of(item.nodeid)
        report.sections += item.stash[_EVIDENCE].keep(folder)
    # What is printed may hold halves of surrogate pairs, which cannot be sent from a worker of xdist.
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[_SERVERS].close()


@pytest.hookimpl(tryfirst=True)  # before -m selects by the marker
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not _STARTING.isdisjoint(_fixtures_of(item)):
            item.add_marker(pytest.mark.server)
    # The broker starts in the background: whoever needs it comes last, a module as a whole.
    waiting = {item.path for item in items if "rabbitmq" in _fixtures_of(item)}
    items.sort(key=lambda item: item.path in waiting)


def pytest_collection_finish(session: pytest.Session) -> None:
    if session.config.option.collectonly:
        return
    needed = {fixture for item in session.items for fixture in _fixtures_of(item)}
    try:
        require(program for fixture, program in _PROGRAMS.items() if fixture in needed)
    except NotInstalled as error:
        # Not a UsageError: a worker of xdist cannot hand one on.
        session.shouldfail = str(error)
        raise session.Failed(session.shouldfail) from error
    if "rabbitmq" in needed:
        _ = session.config.stash[_SERVERS].rabbitmq


def _fixtures_of(item: pytest.Item) -> list[str]:
    """All fixtures that a test uses, also through other fixtures."""
    return getattr(item, "fixturenames", [])


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
    from book_db.migrations import upgrade  # noqa: PLC0415  # a run without a database need not load Alembic

    postgresql.create_database(name=_TEMPLATE)
    upgrade(postgresql.url_of(_TEMPLATE))
    return _TEMPLATE


@pytest.fixture
def database_url(postgresql: PostgreSQLServer, migrated_template: str) -> Iterator[str]:
    """A database of the test's own with the newest schema and no rows."""
    name = postgresql.lend_database(migrated_template)
    yield postgresql.url_of(name)
    postgresql.take_back(name)


@pytest.fixture
def empty_database_url(postgresql: PostgreSQLServer) -> Iterator[str]:
    """A database of the test's own with nothing in it, for the migrations."""
    name = postgresql.create_database()
    yield postgresql.url_of(name)
    postgresql.drop_database(name)


@pytest.fixture
def own_postgresql(workspace: Workspace) -> Iterator[PostgreSQLServer]:
    """A PostgreSQL for this test alone, which it may stop, kill and start again."""
    with PostgreSQLServer(workspace) as server:
        yield server


@pytest.fixture
def pgbouncer(workspace: Workspace, postgresql: PostgreSQLServer) -> Iterator[Callable[..., PgBouncer]]:
    """`pgbouncer(pool_mode="session")` starts one in front of the PostgreSQL that all tests share."""
    with ExitStack() as running:
        yield lambda **settings: running.enter_context(PgBouncer(workspace, postgresql, **settings))


@pytest.fixture(scope="session")
def redis(private_servers: PrivateServers) -> RedisServer:
    """The Redis that all tests share."""
    return private_servers.redis


@pytest.fixture
def empty_redis(redis: RedisServer) -> RedisServer:
    """The shared Redis with no key in it."""
    redis.clear()
    return redis


@pytest.fixture
def redis_url(empty_redis: RedisServer) -> str:
    """A Redis with no key in it."""
    return empty_redis.url


@pytest.fixture
def own_redis(workspace: Workspace) -> Iterator[RedisServer]:
    """A Redis for this test alone, which it may stop, kill and start again on the same port."""
    with RedisServer(workspace) as server:
        yield server


@pytest.fixture(scope="session")
def rabbitmq(private_servers: PrivateServers) -> RabbitMQServer:
    """The RabbitMQ that all tests share: for those who ask its management API."""
    private_servers.rabbitmq.start()
    return private_servers.rabbitmq


@pytest.fixture
def amqp_url(rabbitmq: RabbitMQServer) -> Iterator[str]:
    """A virtual host of the test's own with nothing in it."""
    name = rabbitmq.create_vhost()
    yield rabbitmq.url_of(name)
    rabbitmq.drop_vhost(name)


@pytest.fixture
def own_rabbitmq(workspace: Workspace) -> Iterator[RabbitMQServer]:
    """A RabbitMQ for this test alone, which it may stop, kill and start again on the same port; slow to come."""
    with RabbitMQServer(workspace) as server:
        yield server


@pytest.fixture(scope="session")
def commands() -> Iterator[PreloadedCommands]:
    """Runs commands of Colophon to their end: `commands.run("book-db", "check", environment=..., folder=...)`."""
    with PreloadedCommands() as commands:
        yield commands


@pytest.fixture(scope="session")
def chromium() -> Path:
    """The browser, to be started by Playwright: none is downloaded."""
    return _there(CHROMIUM)


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The packages of tests/node, installed by npm when the lock file has changed since the last run."""
    return install(_there(NPM))


@pytest.fixture(scope="session")
def node(node_modules: Path) -> NodeProject:
    """Node with the programs and packages of tests/node: `node.run("client.js", ...)`."""
    return NodeProject(_there(NODE))


def _there(name: str) -> Path:
    program = find(name)
    assert program is not None  # pytest_collection_finish has looked
    return program


@pytest.fixture(scope="session")
def curl() -> Path:
    return _there(CURL)


@pytest.fixture(scope="session")
def java() -> Path:
    """Of a JDK: it compiles what it is given as source."""
    return _there(JAVAC).with_name("java")


@pytest.fixture(scope="session")
def go() -> Path:
    return _there(GO)
