"""The command ``grpc-api``."""

import sys
from typing import Final

import grpc
import typer
from book_runtime import logs, process, telemetry
from book_runtime.settings import SettingsError, load
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from grpc_api import application
from grpc_api.metrics import exposing
from grpc_api.server import PortTaken, address_of
from grpc_api.settings import AddressSettings, GrpcSettings

_PATIENCE: Final = 3.0
"""Seconds for the answer to a health check."""

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Colophon over gRPC, and the log of its events.",
)


@app.command()
def serve() -> None:
    """Run the gRPC service and the log of events."""
    settings = load(GrpcSettings)
    logs.configure("grpc-api", json=settings.log_format == "json", level=settings.log_level)
    telemetry.configure("grpc-api")
    with exposing(settings.metrics_port):
        process.run(application.serve(settings))


@app.command()
def healthcheck() -> None:
    """Ask the service on this machine whether it serves; the exit code says it."""
    settings = load(AddressSettings)
    target = address_of(_reachable(settings.grpc_host), settings.grpc_port)
    with grpc.insecure_channel(target, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            answer = HealthStub(channel).Check(HealthCheckRequest(), timeout=_PATIENCE)  # type: ignore[attr-defined]  # not in its stubs
        except grpc.RpcError as error:
            typer.echo(f"grpc-api: no answer from {target}: {error.code().name}", err=True)
            raise typer.Exit(1) from error
    if answer.status != HealthCheckResponse.SERVING:
        typer.echo(f"grpc-api: {HealthCheckResponse.ServingStatus.Name(answer.status)}", err=True)
        raise typer.Exit(1)


def main() -> None:
    """Runs the command; what an operator can mend is told in a sentence, without a traceback."""
    try:
        app()
    except (SettingsError, PortTaken) as error:
        typer.echo(f"grpc-api: {error}", err=True)
        sys.exit(2)


def _reachable(host: str) -> str:
    """Where a service is found that listens on every address."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # nothing listens here


if __name__ == "__main__":
    main()
