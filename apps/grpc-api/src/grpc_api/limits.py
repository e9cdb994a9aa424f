"""How much of the service one caller, one connection, and all callers together may use."""

from dataclasses import dataclass
from typing import Final

from book_runtime.errors import DocumentedError

_KIB: Final = 1_024


class TooManyCalls(DocumentedError):
    """This service has {most} calls in hand, and takes no more."""

    def __init__(self, most: int) -> None:
        self.most = most


@dataclass(frozen=True, slots=True)
class Limits:
    """What may differ from one installation to another; what may not stands in ``options``."""

    calls: int = 1_000
    """How many calls may run in this process at a time. Streams and health checks do not count."""

    connection_seconds: int = 0
    """How old a connection gets before its client is told to make a new one; 0 lets it live."""

    keepalive_seconds: float = 30
    """How long a client may be silent before it is asked for a sign of life, for which it has a third of that time."""

    def options(self) -> list[tuple[str, int]]:
        """The channel arguments of gRPC's server."""
        keepalive = round(self.keepalive_seconds * 1_000)
        return [
            # Requests are an id or a token. Responses are bounded where pages are made; their clients take no more.
            ("grpc.max_receive_message_length", 64 * _KIB),
            ("grpc.max_send_message_length", 4 * _KIB * _KIB),
            # Both, or what is between the two would be refused at random.
            ("grpc.max_metadata_size", 16 * _KIB),
            ("grpc.absolute_max_metadata_size", 16 * _KIB),
            ("grpc.max_concurrent_streams", 1_000),
            ("grpc.keepalive_time_ms", keepalive),
            ("grpc.keepalive_timeout_ms", keepalive // 3),
            # What bounds the wait for the answer to a ping, which would else be a minute.
            ("grpc.http2.ping_timeout_ms", keepalive // 3),
            ("grpc.keepalive_permit_without_calls", 1),
            # Clients may ask for signs of life too: more often, and they are sent away (too_many_pings).
            ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            *self._age(),
        ]

    def _age(self) -> list[tuple[str, int]]:
        if not self.connection_seconds:
            return []
        return [
            ("grpc.max_connection_age_ms", self.connection_seconds * 1_000),
            # Calls that are running then have time to finish; a stream does not finish, and is cut.
            ("grpc.max_connection_age_grace_ms", 60_000),
        ]
