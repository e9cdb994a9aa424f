"""Connections to Redis, for the cache and for whoever else needs some."""

from collections.abc import Iterable

from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError


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
