"""What people type: `colophon import FILE`."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, NoReturn
from urllib.parse import urlsplit

import typer
from book_db.book import AUTHOR_MAX
from book_db.text import clean
from rich.console import Console

from colophon.asking import asked_for
from colophon.importing.books import ColumnMapping, WrongColumns
from colophon.importing.file_import import BrokenOff, FileImport
from colophon.importing.file_report import FileReport, written_to
from colophon.importing.interruption import Interruption
from colophon.importing.progress import shown
from colophon.importing.rest_client import RestClient, ServiceError
from colophon.importing.rows import UnreadableFile, open_table

NOT_ALL_LOADED = 1
WRONG_USAGE = 2
STOPPED_BY_USER = 130

_PURPOSE = "loads the books"


def import_books(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="CSV with a header, plain or gzipped.", exists=True, dir_okay=False, readable=True
        ),
    ],
    *,
    title: Annotated[str, typer.Option(help="The column of titles.")] = "title",
    author: Annotated[str, typer.Option(help="The column of authors.")] = "author",
    date: Annotated[
        str,
        typer.Option(
            help="The column of dates: YYYY-MM-DD, whatever time follows, or a year, which becomes its January 1st."
        ),
    ] = "publication_date",
    default_author: Annotated[
        str | None, typer.Option(help="The author of rows that name none; otherwise they are refused.")
    ] = None,
    delimiter: Annotated[
        str | None,
        typer.Option(
            help="What stands between fields: one character, or `tab`. Otherwise what a first line like `sep=;` says, "
            "or that of , ; tab | which suits the header."
        ),
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(help="The file's encoding. Otherwise what its byte order mark says, or UTF-8.")
    ] = None,
    url: Annotated[str, typer.Option(envvar="COLOPHON_URL", help="Where the REST API is.")] = "http://127.0.0.1:8000",
    email: Annotated[str | None, typer.Option(envvar="COLOPHON_EMAIL", help="Who loads the books.")] = None,
    password: Annotated[
        str | None,
        typer.Option(envvar="COLOPHON_PASSWORD", help="Better in the environment, or asked for, than typed here."),
    ] = None,
    batch_size: Annotated[
        int, typer.Option(min=1, max=1000, help="How many books are loaded together, all or none of them.")
    ] = 500,
    from_line: Annotated[int, typer.Option(min=1, help="Leave out the rows that start before this line.")] = 1,
    copy: Annotated[
        int,
        typer.Option(
            min=1, help="Within 24 hours a file is loaded once. With 2 it is once more, on purpose; and so on."
        ),
    ] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and check everything, load nothing.")] = False,
    report: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="Write the refused rows here, as CSV with their lines and reasons."),
    ] = None,
) -> None:
    """Load books from a CSV file into the catalogue.

    Rows that are no books are refused, each with its line and reason, and do not keep the others from being loaded.

    After a break, run the very same command again: what it has loaded within the last 24 hours it does not load twice.

    Each line of the file is in a row that is loaded or refused, but for the header and empty lines.

    Exit code: 0 when every row is loaded, 1 when some were refused or the import broke off, 2 for a wrong command line,
    130 after Ctrl-C. When it ends early it says with which --from-line to go on.
    """
    default_author = _checked_author(default_author)
    _refuse_to_overwrite(file, report)
    notes = Console(stderr=True, soft_wrap=True)
    interruption = Interruption(lambda: notes.print("Finishing the batch under way; Ctrl-C again breaks it off."))
    with _complaints_about(file), ExitStack() as stack:
        table = stack.enter_context(
            open_table(
                file,
                delimiter=_checked_delimiter(delimiter),
                encoding=_checked_encoding(encoding),
                columns=(title, author, date),
            )
        )
        mapping = ColumnMapping.of(table.header, title=title, author=author, date=date, default_author=default_author)
        table.expect(mapping.is_book)
        load = None if dry_run else _logged_in(stack, url, email, password, interruption).load
        counted = FileReport(stack.enter_context(written_to(report, table.header)))
        file_import = FileImport(mapping, counted, load, batch_size, from_line, copy, interruption)
        try:
            with shown(notes, table, counted) as file_import.on_progress:
                file_import.run(table)
        finally:
            typer.echo(counted.as_text(dry_run=dry_run, default_author=default_author))
    if counted.refused:
        raise typer.Exit(NOT_ALL_LOADED)


@contextmanager
def _complaints_about(file: Path) -> Iterator[None]:
    """Ends the command with what went wrong, on stderr, and the exit code for it."""
    try:
        yield
    except WrongColumns as error:
        _leave(f"{file}: {error}.", WRONG_USAGE)
    except UnreadableFile as error:
        _leave(f"{file}: {error}.", NOT_ALL_LOADED)
    except ServiceError as error:
        _leave(f"Nothing was loaded: {error}", NOT_ALL_LOADED)
    except BrokenOff as error:
        _leave(str(error), STOPPED_BY_USER if error.by_user else NOT_ALL_LOADED)
    except OSError as error:
        _leave(f"{error.filename or file}: {error.strerror}.", NOT_ALL_LOADED)


def _leave(reason: str, code: int) -> NoReturn:
    typer.echo(reason, err=True)
    raise typer.Exit(code)


def _logged_in(
    stack: ExitStack, url: str, email: str | None, password: str | None, interruption: Interruption
) -> RestClient:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise typer.BadParameter(f"--url {url} is no address like http://127.0.0.1:8000")
    client = stack.enter_context(
        RestClient(
            url,
            email or asked_for("E-mail", _PURPOSE, "--email or COLOPHON_EMAIL"),
            password or asked_for("Password", _PURPOSE, "COLOPHON_PASSWORD", hidden=True),
            pause=interruption.pause,
        )
    )
    client.login()
    return client


def _checked_author(default_author: str | None) -> str | None:
    try:
        return None if default_author is None else clean(default_author, at_most=AUTHOR_MAX)
    except ValueError as error:
        raise typer.BadParameter(f"--default-author {error}") from error


def _checked_delimiter(delimiter: str | None) -> str | None:
    one = "\t" if delimiter in ("tab", "\\t") else delimiter
    if one is not None and (len(one) != 1 or one in '"\r\n\0 '):
        raise typer.BadParameter(f"--delimiter {delimiter!r} is not one character that can stand between fields")
    return one


def _checked_encoding(encoding: str | None) -> str | None:
    try:
        "".encode("utf-8" if encoding is None else encoding)
    except (LookupError, UnicodeError) as error:
        raise typer.BadParameter(f"--encoding {encoding!r} is not known, or not one of text") from error
    return encoding


def _refuse_to_overwrite(file: Path, report: Path | None) -> None:
    if report is not None and report.exists() and report.samefile(file):
        raise typer.BadParameter("--report is the file that is to be imported")
