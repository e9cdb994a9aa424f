"""What holds on RabbitMQ 3.10, which Debian has, holds on RabbitMQ 4: `make test-compose`."""

from collections.abc import Iterator

import pytest
from poison.between import outcome_of, passage, through
from poison.strange import HARD_ONES
from support.rabbitmq import RabbitMQServer
from support.workspace import Workspace

pytestmark = pytest.mark.compose


@pytest.fixture(scope="module")
def rabbitmq_4(workspace: Workspace) -> Iterator[RabbitMQServer]:
    with RabbitMQServer(workspace, newest=True) as server:
        yield server


class TestTheLog:
    async def test_cannot_be_poisoned(self, database_url: str, rabbitmq_4: RabbitMQServer) -> None:
        async with passage(database_url, rabbitmq_4.url) as way:
            assert b"versionS\x00\x00\x00\x054." in way.publisher.server
            await way.send(list(HARD_ONES.values()))
            await through(way, 200)
            print(await outcome_of(way))
