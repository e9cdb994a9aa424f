"""Ways in which a Redis is there and refuses what is asked of it; but for one that cannot save, all answer PING."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import redis
from structlog.typing import EventDict

from support.ports import free_port
from support.redis import RedisServer
from support.waiting import wait_until
from support.workspace import Workspace

Act = Callable[[redis.Redis, RedisServer], object]


@dataclass(frozen=True, slots=True)
class Refusal:
    """How it comes to be and how it is mended, and the word that the answers begin with."""

    word: str
    begin: Act
    end: Act
    cuts: bool = False
    """Whether connections that there were are lost first, which is another kind of reason."""

    def is_told_in(self, logs: "Sequence[EventDict]", begun: str) -> bool:
        """Whether the warnings are one line, or one for each kind, the last of which names it."""
        return [line["event"] for line in logs] in ([begun], [begun, begun][: 1 + self.cuts]) and logs[-1][
            "reason"
        ].startswith(f"it refuses: {self.word} ")

    @contextmanager
    def at(self, server: RedisServer) -> Iterator[Callable[[], object]]:
        """From the beginning of the block it refuses; the block is given what ends that."""
        with redis.Redis.from_url(server.url) as operator:
            operator.ping()
            self.begin(operator, server)
            yield lambda: self.end(operator, server)


def _fail_to_save(operator: redis.Redis, server: RedisServer) -> None:
    (server.folder / "dump.rdb").mkdir()  # nothing can be renamed to this
    operator.config_set("save", "3600 1000000")
    operator.bgsave()
    wait_until(lambda: operator.info("persistence")["rdb_last_bgsave_status"] == "err", "it could not save")


def _save(operator: redis.Redis, server: RedisServer) -> None:
    (server.folder / "dump.rdb").rmdir()
    operator.bgsave()
    wait_until(lambda: operator.info("persistence")["rdb_last_bgsave_status"] == "ok", "it has saved")


def _demand_a_password(operator: redis.Redis, _: RedisServer) -> None:
    operator.config_set("requirepass", "a-new-one")
    operator.client_kill_filter(_type="normal", skipme=True)


def _allow(*rules: str) -> Act:
    return lambda operator, _: operator.execute_command("ACL", "SETUSER", "default", *rules)  # type: ignore[no-untyped-call]  # redis-py leaves it so


each_refusal = pytest.mark.parametrize(
    "refusal",
    [
        pytest.param(
            Refusal(
                "OOM",
                lambda operator, _: operator.config_set("maxmemory", 1),
                lambda operator, _: operator.config_set("maxmemory", 0),
            ),
            id="full",
        ),
        pytest.param(
            Refusal(
                "READONLY",
                lambda operator, _: operator.replicaof("127.0.0.1", free_port()),
                lambda operator, _: operator.replicaof("NO", "ONE"),
            ),
            id="a-replica",
        ),
        pytest.param(Refusal("MISCONF", _fail_to_save, _save), id="cannot-save"),
        pytest.param(
            Refusal(
                "NOAUTH", _demand_a_password, lambda operator, _: operator.config_set("requirepass", ""), cuts=True
            ),
            id="wants-a-password",
        ),
        pytest.param(
            Refusal("NOPERM", _allow("resetkeys", "~others:*"), _allow("allkeys")), id="lets-us-touch-none-of-our-keys"
        ),
        pytest.param(Refusal("NOPERM", _allow("-evalsha"), _allow("+@all")), id="lets-us-run-no-scripts"),
        pytest.param(Refusal("NOPERM", _allow("-del"), _allow("+@all")), id="lets-us-delete-nothing"),
    ],
)


def a_node_of_a_cluster(workspace: Workspace, *, serving: bool) -> RedisServer:
    """With all slots, or with none."""
    options = ["--cluster-enabled", "yes", "--cluster-port", str(free_port())]
    server = RedisServer(workspace, options)
    server.start()
    if serving:
        with redis.Redis.from_url(server.url) as operator:
            operator.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16_383)
            wait_until(
                lambda: b"cluster_state:ok" in operator.execute_command("CLUSTER", "INFO"), "the cluster is well"
            )
    return server
