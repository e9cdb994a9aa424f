"""Connections to Redis, for the cache and for whoever else needs some, and what its failures mean."""

from collections.abc import Iterable
from typing import Final

from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    ClusterCrossSlotError,
    ClusterDownError,
    MasterDownError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from book_runtime.outage import Reason

TRIAL: Final = (b"trial:{a}", b"trial:{b}")
"""What the names of keys end with that something is written to only to see whether it can be. To a node of a cluster
they are in two slots (15495 and 3300), so that whatever names both is refused by it, also by the one that has both.
"""

_OF_A_CLUSTER: Final = (AskError, ClusterCrossSlotError, ClusterDownError, TryAgainError)
"""AskError is what MOVED is, too."""

_TEXT_MAX_CHARACTERS: Final = 300
"""What a protected instance says is a page of advice."""


def open_redis(url: str, *, timeout: float) -> Redis:
    """A client that raises RedisError after ``timeout`` seconds at the latest, and tries nothing a second time."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=50,
        timeout=timeout,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
    )
    pool.connection_class = _TELLING[pool.connection_class]
    return Redis.from_pool(pool)


def reason_of(error: Exception) -> Reason:
    """Why Redis is of no use, for operators. The kind says it to anybody, without addresses and names."""
    text = (str(error) or type(error).__name__)[:_TEXT_MAX_CHARACTERS]
    # A replica that has lost its primary says MASTERDOWN, which redis-py 8.1 counts among the errors of clusters.
    if isinstance(error, _OF_A_CLUSTER) and not isinstance(error, MasterDownError):
        return Reason(
            f"REDIS_URL leads to a node of a cluster, and Colophon needs a single Redis: {text}",
            "it is a node of a cluster",
        )
    if refusal := _refusal(error):
        return Reason(f"it refuses: {refusal} {text.removeprefix(refusal).lstrip()}", f"it refuses with {refusal}")
    return Reason(f"it does not answer: {text}", "it does not answer")


def _refusal(error: Exception) -> str | None:
    """The word that an answer of Redis begins with which is an error: OOM, READONLY, NOPERM."""
    # redis-py takes the word off those that it knows.
    word = error.status_code if isinstance(error, RedisError) else None
    if word is None and isinstance(error, ResponseError):
        word = str(error).partition(" ")[0]
    return word


class _Telling(AbstractConnection):
    """Tells of a connection that was reset while nobody used it as of any other that is lost.

    uvloop, unlike asyncio, raises RuntimeError when one writes to such a one, and redis-py lets that through.
    """

    async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:
        try:
            await super().send_packed_command(command, check_health)
        except RuntimeError as error:
            raise RedisConnectionError(str(error)) from error


class _Tcp(_Telling, Connection):
    pass


class _Tls(_Telling, SSLConnection):
    pass


class _Unix(_Telling, UnixDomainSocketConnection):
    pass


_TELLING: dict[type[AbstractConnection], type[_Telling]] = {
    Connection: _Tcp,
    SSLConnection: _Tls,
    UnixDomainSocketConnection: _Unix,
}
