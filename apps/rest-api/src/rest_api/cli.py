"""The command ``rest-api``."""

import sys

import typer
from book_runtime import logs, process, telemetry
from book_runtime.retry import Failure, retry
from book_runtime.settings import SettingsError, load
from sqlalchemy.exc import OperationalError

from rest_api import probe, serving
from rest_api.relay import parking
from rest_api.settings import ProcessSettings, RelaySettings, RestSettings, SetupSettings
from rest_api.users.keys import UnusableKeys, make_key_pair
from rest_api.users.superuser import create_superuser_command

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Colophon over REST, and the relay that publishes every change.",
)
app.command("create-superuser")(create_superuser_command)
app.add_typer(parking.commands, name="parked")


@app.command()
def serve() -> None:
    """Run the REST service."""
    settings = load(RestSettings)
    _begin("rest-api", settings)
    with process.exposing_metrics(settings.metrics_port):
        process.run(serving.serve(settings))


@app.command()
def relay() -> None:
    """Run the relay, which brings the events of the outbox to the broker."""
    settings = load(RelaySettings)
    _begin("outbox-relay", settings)
    with process.exposing_metrics(settings.metrics_port):
        process.run(serving.relay(settings))


@app.command()
def setup() -> None:
    """Make the signing keys where there are none, and bring the database to the newest schema."""
    settings = load(SetupSettings)
    from book_db import migrations  # noqa: PLC0415  # the services need no Alembic, and start sooner without it

    make_key_pair(settings.jwt_private_key_file, settings.jwt_public_key_file)
    # A database that is just starting is given half a minute.
    wait = retry(times=30, delay=1, exceptions=OperationalError, on_retry=_say_why_waiting)
    wait(migrations.upgrade)(settings.database_url)
    typer.echo("rest-api: the keys are there, the database is at the newest schema")


@app.command()
def healthcheck() -> None:
    """Ask the service on this machine whether it is ready; the exit code says it."""
    raise typer.Exit(probe.exit_code(probe.service))


@app.command()
def healthcheck_relay() -> None:
    """Ask the relay on this machine, at METRICS_PORT, whether it goes round; the exit code says it."""
    raise typer.Exit(probe.exit_code(probe.relay))


def _say_why_waiting(failure: Failure) -> None:
    if failure.attempt == 1:
        typer.echo("rest-api: waiting for the database", err=True)


def main() -> None:
    """Runs the command; what an operator can mend is told in a sentence, without a traceback."""
    try:
        app()
    except (SettingsError, process.PortTaken, UnusableKeys) as error:
        typer.echo(f"rest-api: {error}", err=True)
        sys.exit(2)
    except OperationalError as error:
        typer.echo(f"rest-api: the database cannot be reached: {error.orig}", err=True)
        sys.exit(1)


def _begin(service: str, settings: ProcessSettings) -> None:
    logs.configure(service, json=settings.log_format == "json", level=settings.log_level)
    telemetry.configure(service)


if __name__ == "__main__":
    main()
