"""The system of this folder's tests, and the seed of what goes wrong with it."""

import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
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
def broker(own_rabbitmq: RabbitMQServer) -> RabbitMQServer:
    """That of the system; a test class that spares it names the one that all share, which is quicker there."""
    return own_rabbitmq


@pytest.fixture
async def system(
    workspace: Workspace, broker: RabbitMQServer, own_redis: RedisServer, tmp_path: Path
) -> AsyncIterator[System]:
    """Everything, running, on servers of its own."""
    keys = {"JWT_PRIVATE_KEY_FILE": str(tmp_path / "private.pem"), "JWT_PUBLIC_KEY_FILE": str(tmp_path / "public.pem")}
    make_key_pair(tmp_path / "private.pem", tmp_path / "public.pem")
    with PostgreSQLServer(workspace, settings=()) as postgresql:
        servers: dict[str, Backing] = {"postgresql": postgresql, "rabbitmq": broker, "redis": own_redis}
        async with running_system(workspace, servers, keys) as system:
            yield system
