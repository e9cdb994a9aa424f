"""The command ``rest-api``."""

import sys
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from book_db.errors import UnfitDatabase
from book_runtime import process
from book_runtime.settings import SettingsError, load

from rest_api.relay import parked_commands

if TYPE_CHECKING:
    from book_runtime.logs import LogSettings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Colophon over REST, and the relay that publishes every change.",
)
app.add_typer(parked_commands.commands, name="parked")


@app.command()
def serve() -> None:
    """Run the REST service."""
    with process.loading():
        from rest_api import serving
        from rest_api.settings import RestSettings

    settings = load(RestSettings)
    _begin("rest-api", settings)
    with process.exposing_metrics(settings.metrics_port):
        process.run(serving.serve(settings))


@app.command()
def relay() -> None:
    """Run the relay, which brings the events of the outbox to the broker."""
    with process.loading():
        from rest_api.relay import running
        from rest_api.relay.settings import RelaySettings

    settings = load(RelaySettings)
    _begin("outbox-relay", settings)
    with process.exposing_metrics(settings.metrics_port):
        process.run(running.relay(settings))


@app.command()
def setup() -> None:
    """Make the signing keys where there are none, and bring the database to the newest schema."""
    import psycopg
    from book_db.errors import DatabaseUnavailable
    from book_db.postgres.failures import has_answered, why

    from rest_api.setting_up import SetupSettings, set_up
    from rest_api.users.keys import UnusableKeys

    try:
        set_up(load(SetupSettings))
    except UnusableKeys as error:
        _fail(error, exit_code=2)
    except UnfitDatabase:
        raise
    except DatabaseUnavailable as error:
        _fail(f"the database cannot be set up: {why(error)}", exit_code=2 if has_answered(error) else 1)
    except psycopg.Error as error:
        _fail(f"the services were not given their rights: {why(error)}", exit_code=2)
    typer.echo("rest-api: the keys are there, the database is at the newest schema")


@app.command()
def rotate_keys(
    *,
    compromised: Annotated[
        bool, typer.Option("--compromised", help="Keep no key of before: whatever it has signed is good no more.")
    ] = False,
) -> None:
    """Make a new signing key. Services sign with it from their next start on, and know it at once."""
    from rest_api.setting_up import KeySettings
    from rest_api.users.keys import UnusableKeys
    from rest_api.users.keys import rotate_keys as rotate

    settings = load(KeySettings)
    try:
        rotate(settings.jwt_private_key_file, settings.jwt_public_key_file, compromised=compromised)
    except UnusableKeys as error:
        _fail(error, exit_code=2)
    typer.echo("rest-api: there is a new key; REST signs with it when it is started again")


@app.command()
def create_superuser(
    email: Annotated[str, typer.Argument(help="The address the superuser signs in with.")],
    *,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from the first line of standard input.")
    ] = False,
    promote: Annotated[
        bool,
        typer.Option(
            "--promote",
            help="Make a user who is there already, and has confirmed the address, a superuser.",
        ),
    ] = False,
) -> None:
    """Make a superuser in the database of DATABASE_URL."""
    from book_db.settings import StoreSettings

    from rest_api.users.superuser import make_superuser

    make_superuser(load(StoreSettings).database_url, email, password_stdin=password_stdin, to_promote=promote)


@app.command()
def access(
    email: Annotated[str, typer.Argument(help="The address of the user.")],
    *,
    end: Annotated[bool, typer.Option("--end", help="End all of it at once.")] = False,
) -> None:
    """Show a user's sessions, tokens and logins in the database of DATABASE_URL, or end them."""
    from book_db.settings import StoreSettings

    from rest_api.users.showing_access import show_access

    show_access(load(StoreSettings).database_url, email, end=end)


@app.command()
def healthcheck() -> None:
    """Ask the service on this machine whether it is ready; the exit code says it."""
    from rest_api import probe

    raise typer.Exit(probe.exit_code(probe.service))


@app.command()
def healthcheck_relay() -> None:
    """Ask the relay on this machine, at METRICS_PORT, whether it goes round; the exit code says it."""
    from rest_api import probe

    raise typer.Exit(probe.exit_code(probe.relay))


def main() -> None:
    """Runs the command; what an operator can mend is told in a sentence, without a traceback."""
    process.hear_orders_to_stop()
    try:
        app()
    except (SettingsError, process.PortTaken) as error:
        _fail(error, exit_code=2)
    except UnfitDatabase as error:
        _fail(f"DATABASE_URL: {error.reason}", exit_code=2)


def _begin(service: str, settings: "LogSettings") -> None:
    from book_runtime import logs, telemetry

    logs.configure(service, json=settings.log_format == "json", level=settings.log_level)
    telemetry.configure(service)


def _fail(why: object, *, exit_code: int) -> NoReturn:
    typer.echo(f"rest-api: {why}", err=True)
    sys.exit(exit_code)


if __name__ == "__main__":
    main()
