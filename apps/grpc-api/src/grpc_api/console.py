"""An event as one line for people."""

import io
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final, Protocol, TextIO

import structlog
from book_runtime.outage import Outage

_log = structlog.get_logger(__name__)

_ESCAPED: Final = {'"': '\\"', "\\": "\\\\"}


class _Book(Protocol):
    """What a line tells of a book."""

    @property
    def id(self) -> int: ...
    @property
    def version(self) -> int: ...
    @property
    def title(self) -> str: ...
    @property
    def author(self) -> str: ...


def line_of(
    event_id: object, kind: str, actor: str, occurred_at: datetime, book: _Book, *, trace_id: str | None = None
) -> str:
    """An event on one line: when, what, which book at which version, who, and the event's own id.

    The first five are the fields of a ``BookEvent``, in their order.

    Titles and authors are quoted, and what in them is not printable is escaped: line breaks and terminal sequences as
    well as the marks that change the direction of writing. So no text can pass for a line or for a part of one.
    """
    parts = [
        f"{occurred_at.astimezone(UTC).replace(tzinfo=None).isoformat(' ', 'microseconds')}Z",
        f"book.{kind}",
        f"book {book.id} v{book.version}",
        f"{_quoted(book.title)} by {_quoted(book.author)}",
        f"actor {actor}" if actor else "",
        f"event {event_id}",
        f"trace {trace_id}" if trace_id else "",
    ]
    return "  ".join(filter(None, parts))


def outage_of_the_console() -> Outage:
    return Outage(_log, "the console", "events are recorded and not printed")


def print_lines(lines: Iterable[str], outage: Outage, console: TextIO | None = None) -> None:
    """Prints the lines together. A console that is gone is an outage, and no error: the events are in the database."""
    console = console or sys.stdout
    text = "".join(f"{line}\n" for line in lines)
    if not text:
        return
    try:
        console.write(writable(text, console))
        console.flush()
    except (OSError, ValueError) as error:  # ValueError: it was closed
        outage.begin(error)
    else:
        outage.end()


def _quoted(text: str) -> str:
    if text.isprintable() and _ESCAPED.keys().isdisjoint(text):
        return f'"{text}"'
    return f'"{"".join(map(_shown, text))}"'


def _shown(character: str) -> str:
    if character.isprintable():
        return _ESCAPED.get(character, character)
    return character.encode("unicode_escape").decode()


def writable(text: str, console: TextIO) -> str:
    """The text with escapes for what the console's encoding has not: Latin-1 would fail on a title in Greek."""
    if not isinstance(console, io.TextIOWrapper):
        return text
    return text.encode(console.encoding, "backslashreplace").decode(console.encoding)
