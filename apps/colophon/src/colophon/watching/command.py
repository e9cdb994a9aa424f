"""What people type: `colophon watch`."""

from pathlib import Path
from typing import Annotated

import typer

from colophon.asking import asked_for

_PURPOSE = "watches"


def watch(
    *,
    after: Annotated[
        int | None,
        typer.Option(
            min=0, help="Begin after this position; 0 shows everything since the catalogue began. Without, now."
        ),
    ] = None,
    author: Annotated[str, typer.Option(help="Show the books of this author only.")] = "",
    book: Annotated[
        list[int] | None, typer.Option(min=1, help="Show the book with this id only; up to 300 times.")
    ] = None,
    server: Annotated[str, typer.Option(envvar="COLOPHON_GRPC", help="Where the gRPC service is.")] = "127.0.0.1:50051",
    token: Annotated[
        str | None, typer.Option(envvar="COLOPHON_TOKEN", help="A token for programs. Without one, sign in:")
    ] = None,
    url: Annotated[str, typer.Option(envvar="COLOPHON_URL", help="Where the REST API is.")] = "http://127.0.0.1:8000",
    email: Annotated[str | None, typer.Option(envvar="COLOPHON_EMAIL", help="Who watches.")] = None,
    password: Annotated[
        str | None,
        typer.Option(envvar="COLOPHON_PASSWORD", help="Better in the environment, or asked for, than typed here."),
    ] = None,
    tls: Annotated[
        bool, typer.Option("--tls", help="Encrypt, and trust the authorities that everybody trusts.")
    ] = False,
    ca: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, readable=True, help="Encrypt, and trust the authority in this file."),
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Let token and password go unencrypted over a network that is trusted.")
    ] = False,
) -> None:
    """Show every change of the catalogue, one line for each, until Ctrl-C.

    It goes on by itself when the service restarts or the connection breaks, and shows each change once. At the end it
    says the position to continue after another day.

    Exit code: 0 after Ctrl-C, 1 when the catalogue refused, 2 for a wrong command line.
    """
    # Imported here: they take a while, which the other commands need not wait.
    from book_contracts.client import BookCatalogue, Session  # noqa: PLC0415

    from colophon.watching.showing import show  # noqa: PLC0415

    if token and not (token.isascii() and token.isprintable()):
        raise typer.BadParameter("the token for programs, in --token or COLOPHON_TOKEN, has characters that none has")
    try:
        signed_in = token or Session(
            url,
            email or asked_for("E-mail", _PURPOSE, "COLOPHON_TOKEN, or --email or COLOPHON_EMAIL"),
            password or asked_for("Password", _PURPOSE, "COLOPHON_PASSWORD", hidden=True),
            insecure=insecure,
        )
        catalogue = BookCatalogue(server, token=signed_in, tls=ca or tls, insecure=insecure)
    except ValueError as error:
        raise typer.BadParameter(_in_options(str(error))) from error
    raise typer.Exit(show(catalogue, signed_in, after=after, author=author, book_ids=book or []))


def _in_options(advice: str) -> str:
    """What the client advises programs to say, as one says it here."""
    return advice.replace("insecure=True", "--insecure").replace("tls=True", "--tls or --ca")
