"""What grpc-api is told by its environment."""

from pathlib import Path
from typing import Annotated, Literal

from book_db.settings import StoreSettings
from book_runtime.logs import LogSettings
from book_runtime.settings import AmqpUrl, ExistingFile, Port, Settings
from book_runtime.tokens import TokenVerifier
from pydantic import AfterValidator, Field

from grpc_api.limits import Limits


def _holds_a_public_key(path: Path) -> Path:
    TokenVerifier(path.read_bytes())
    return path


class AddressSettings(Settings):
    """Where the service listens."""

    grpc_host: str = "127.0.0.1"
    """The address to listen on; 0.0.0.0 takes calls from everywhere."""

    grpc_port: Port = 50051
    """The TCP port to listen on."""


class CallSettings(AddressSettings):
    """How calls are taken, be it in a process of their own or in `colophon run`."""

    grpc_auth: Literal["on", "off"] = "on"
    """Whether calls need an access token; off is for networks where every caller may read."""

    max_calls: Annotated[int, Field(ge=1)] = 1_000
    """How many calls may be in hand at a time in one process, those of WatchBooks apart."""

    max_connection_seconds: Annotated[int, Field(ge=0)] = 0
    """How old a connection gets before its client is told to make a new one; 0 lets it live."""

    max_watchers: Annotated[int, Field(ge=0)] = 2_000
    """How many calls of WatchBooks may be open at a time in one process."""

    notice_seconds: Annotated[float, Field(ge=0, le=300)] = 0.5
    """How long the gRPC service goes on taking calls after its health has said NOT_SERVING, when it is told to stop."""

    drain_seconds: Annotated[int, Field(ge=0)] = 10
    """How long requests and calls that are running may take to finish when the service is told to stop."""

    @property
    def limits(self) -> Limits:
        return Limits(calls=self.max_calls, connection_seconds=self.max_connection_seconds)


class GrpcSettings(CallSettings, StoreSettings, LogSettings):
    """The gRPC service and the log of events."""

    amqp_url: AmqpUrl
    """The RabbitMQ broker that events come from."""

    jwt_public_key_file: Annotated[ExistingFile, AfterValidator(_holds_a_public_key)]
    """The PEM file of the key that access tokens are verified with; `rest-api setup` makes one."""

    metrics_port: Port | None = None
    """The TCP port for Prometheus; without it no metrics are served."""
