"""The command ``grpc-api``."""

import sys

import typer
from book_db.errors import UnfitDatabase
from book_runtime import process
from book_runtime.broker.ports import BrokerError
from book_runtime.settings import SettingsError, load

from grpc_api.dead_letters.commands import commands as dead_letters

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Colophon over gRPC, and the log of its events.",
)
app.add_typer(dead_letters, name="dead-letters")


@app.command()
def serve() -> None:
    """Run the gRPC service and the log of events."""
    with process.loading():
        from book_runtime import logs, telemetry

        from grpc_api import application
        from grpc_api.settings import GrpcSettings

    settings = load(GrpcSettings)
    logs.configure("grpc-api", json=settings.log_format == "json", level=settings.log_level)
    telemetry.configure("grpc-api")
    with process.exposing_metrics(settings.metrics_port):
        process.run(application.serve(settings))


@app.command()
def healthcheck() -> None:
    """Ask the service on this machine whether it serves; the exit code says it."""
    from grpc_api import probe

    raise typer.Exit(probe.exit_code())


def main() -> None:
    """Runs the command; what an operator can mend is told in a sentence, without a traceback."""
    process.hear_orders_to_stop()
    try:
        app()
    except (SettingsError, process.PortTaken) as error:
        typer.echo(f"grpc-api: {error}", err=True)
        sys.exit(2)
    except UnfitDatabase as error:
        typer.echo(f"grpc-api: DATABASE_URL: {error.reason}", err=True)
        sys.exit(2)
    except BrokerError as error:
        typer.echo(f"grpc-api: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
