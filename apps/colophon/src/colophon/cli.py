"""`colophon`: the command people type."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from book_db.errors import DatabaseUnavailable, UnfitDatabase
from book_db.postgres.failures import has_answered, why
from book_runtime.broker.ports import BrokerError
from book_runtime.process import PortTaken, hear_orders_to_stop, loading
from book_runtime.settings import SettingsError
from grpc_api.dead_letters.commands import commands as dead_letters
from rest_api.users.keys import UnusableKeys

from colophon import DATA
from colophon.embedded_postgres import EmbeddedPostgresError
from colophon.importing.command import import_books
from colophon.unprivileged import NoWayToRunUnprivileged
from colophon.watching.command import watch

app = typer.Typer(
    name="colophon",
    help="A catalogue of books: run it, load books into it, watch it, look after its events.",
    no_args_is_help=True,
    add_completion=False,
    # A traceback with the values of all variables would show passwords.
    pretty_exceptions_enable=False,
)
app.command("import")(import_books)
app.command("watch")(watch)
app.add_typer(dead_letters, name="dead-letters")

_Data = Annotated[
    Path, typer.Option("--data", envvar="COLOPHON_DATA", help="The folder for the database and the keys.")
]


@app.command()
def run(
    data: _Data = DATA,
    host: Annotated[
        str, typer.Option(help="The address both services listen on; 0.0.0.0 takes calls from everywhere.")
    ] = "127.0.0.1",
    rest_port: Annotated[int, typer.Option(envvar="REST_PORT", min=0, max=65535, help="For REST.")] = 8000,
    grpc_port: Annotated[int, typer.Option(envvar="GRPC_PORT", min=0, max=65535, help="For gRPC.")] = 50051,
) -> None:
    """Run the whole catalogue in one process: REST, gRPC, the relay and, unless DATABASE_URL is set, PostgreSQL."""
    # Imported here: the other commands need none of the services, and start sooner without them.
    with loading():
        from colophon import running

    running.run(data, host=host, rest_port=rest_port, grpc_port=grpc_port)


@app.command("create-superuser")
def create_superuser(
    email: Annotated[str, typer.Argument(help="The address the superuser signs in with.")],
    data: _Data = DATA,
    *,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from the first line of standard input.")
    ] = False,
    promote: Annotated[
        bool,
        typer.Option("--promote", help="Make a user who is there already, and has confirmed the address, a superuser."),
    ] = False,
) -> None:
    """Make a superuser of the catalogue that `colophon run` runs, be it running or not."""
    from book_db import migrations
    from rest_api.users.superuser import make_superuser

    from colophon import running

    with running.database(data) as url:
        migrations.upgrade(url)
        make_superuser(url, email, password_stdin=password_stdin, to_promote=promote)


@app.command("rotate-keys")
def rotate_keys(
    data: _Data = DATA,
    *,
    compromised: Annotated[
        bool, typer.Option("--compromised", help="Keep no key of before: whatever it has signed is good no more.")
    ] = False,
) -> None:
    """Make a new signing key, with which `colophon run` signs from its next start on."""
    from rest_api.users.keys import rotate_keys as rotate

    rotate(data / "keys" / "private.pem", data / "keys" / "public.pem", compromised=compromised)
    typer.echo("colophon: there is a new key; the catalogue signs with it when it is started again")


@app.command("access")
def access(
    email: Annotated[str, typer.Argument(help="The address of the user.")],
    data: _Data = DATA,
    *,
    end: Annotated[bool, typer.Option("--end", help="End all of it at once.")] = False,
) -> None:
    """Show a user's sessions, tokens and logins in the catalogue that `colophon run` runs, or end them."""
    from book_db import migrations
    from rest_api.users.showing_access import show_access

    from colophon import running

    with running.database(data) as url:
        migrations.upgrade(url)
        show_access(url, email, end=end)


def main() -> None:
    """Runs the command; what its user can mend is told in a sentence, without a traceback."""
    hear_orders_to_stop()
    try:
        app()
    except (SettingsError, EmbeddedPostgresError, NoWayToRunUnprivileged, PortTaken, UnusableKeys) as error:
        typer.echo(f"colophon: {error}", err=True)
        sys.exit(2)
    except BrokerError as error:
        typer.echo(f"colophon: {error}", err=True)
        sys.exit(1)
    except UnfitDatabase as error:
        typer.echo(f"colophon: DATABASE_URL: {error.reason}", err=True)
        sys.exit(2)
    except DatabaseUnavailable as error:
        typer.echo(f"colophon: the database cannot be used: {why(error)}", err=True)
        sys.exit(2 if has_answered(error) else 1)
