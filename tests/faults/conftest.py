"""The system of this folder's tests, and the seed of what goes wrong with it."""

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from faults.system import Backing, System, running_system
from rest_api.users.keys import make_key_pair
from support.postgresql import PostgreSQLServer
from support.rabbitmq import RabbitMQServer
from support.redis import RedisServer
from support.workspace import Workspace


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves the long run to `make test-faults`, which asks for it by its marker: it takes ten minutes."""
    if "faults" in config.option.markexpr:
        return
    long = [item for item in items if item.get_closest_marker("faults")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


@pytest.fixture
def seed() -> str:
    """That of FAULT_SEED, or another one each time."""
    return os.environ.get("FAULT_SEED") or secrets.token_hex(4)


@pytest.fixture
async def system(workspace: Workspace, own_rabbitmq: RabbitMQServer, tmp_path: Path) -> AsyncIterator[System]:
    """Everything, running, on servers of its own."""
    async with system_with(workspace, own_rabbitmq, tmp_path) as system:
        yield system


@pytest_asyncio.fixture(scope="class", loop_scope="class")
async def shared_system(
    workspace: Workspace, rabbitmq: RabbitMQServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[System]:
    """The same for all tests of a class, which spare the broker: it is the one that everybody uses."""
    async with system_with(workspace, rabbitmq, tmp_path_factory.mktemp("system")) as system:
        yield system


@asynccontextmanager
async def system_with(workspace: Workspace, broker: RabbitMQServer, folder: Path) -> AsyncIterator[System]:
    keys = {"JWT_PRIVATE_KEY_FILE": str(folder / "private.pem"), "JWT_PUBLIC_KEY_FILE": str(folder / "public.pem")}
    make_key_pair(folder / "private.pem", folder / "public.pem")
    with PostgreSQLServer(workspace, settings=()) as postgresql, RedisServer(workspace) as redis:
        servers: dict[str, Backing] = {"postgresql": postgresql, "rabbitmq": broker, "redis": redis}
        async with running_system(workspace, servers, keys) as system:
            yield system
