"""A private Redis."""

import subprocess
from collections.abc import Sequence
from typing import ClassVar

import redis

from support.container import Container
from support.programs import find
from support.server import Server
from support.workspace import Workspace

_IN_MEMORY_ONLY = ["--save", "", "--appendonly", "no"]


class RedisServer(Server):
    """Redis without persistence: like the cache it stands for, it comes back empty.

    `options` are more of its command line: `["--cluster-enabled", "yes"]`.
    """

    name: ClassVar[str] = "redis"

    def __init__(self, workspace: Workspace, options: Sequence[str] = ()) -> None:
        self._options = [*_IN_MEMORY_ONLY, *options]
        super().__init__(workspace)
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def clear(self) -> None:
        """Forget every key of every database."""
        with redis.Redis.from_url(self.url) as client:
            client.flushall()

    def _make_container(self) -> Container | None:
        if find("redis-server"):
            return None
        # Only this machine reaches the published port; to the Redis inside it looks like a stranger all the same.
        arguments = ["redis-server", *self._options, "--protected-mode", "no"]
        return Container(self.workspace, "redis:8", ports={self.port: 6379}, arguments=arguments)

    def _spawn(self) -> subprocess.Popen[bytes]:
        if self.container:
            return self.workspace.spawn(self.container.command(), log=self.log, cwd=self.folder)
        address = ["--bind", "127.0.0.1", "--port", str(self.port)]
        return self.workspace.spawn(
            ["redis-server", *address, *self._options, "--dir", str(self.folder)], log=self.log, cwd=self.folder
        )

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url, socket_timeout=2) as client:
                return bool(client.ping())
        except (redis.ConnectionError, redis.TimeoutError):
            return False
