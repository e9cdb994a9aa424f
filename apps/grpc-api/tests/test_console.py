"""The line that people read for each event."""

import io
import os
import re
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from book_db.events.model import BookEvent
from grpc_api.console import line_of, outage_of_the_console, print_lines
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from support import data_layer

EVENT = UUID("1f0e9a00-0000-7000-8000-00000000000e")
ACTOR = "7c0e9a00-0000-7000-8000-00000000000a"

_QUOTED = r'"(?:[^"\\]|\\.)*"'
LINE = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}Z  book\.created  book 42 v1  "
    rf"(?P<title>{_QUOTED}) by (?P<author>{_QUOTED})  actor {ACTOR}  event {EVENT}"
)


def an_event(**changed: Any) -> BookEvent:
    event: dict[str, Any] = {"id": EVENT, "actor": ACTOR, "occurred_at": datetime(2026, 11, 23, 18, 2, 1, 123456, UTC)}
    book = {"title": "Middlemarch", "author": "George Eliot", "publication_date": date(1871, 12, 1)}
    return data_layer.an_event(42, 1, **(event | book | changed))


class TestTheLine:
    def test_it_tells_when_what_which_who_and_the_event(self) -> None:
        assert line_of(*an_event()) == (
            '2026-11-23 18:02:01.123456Z  book.created  book 42 v1  "Middlemarch" by "George Eliot"'
            f"  actor {ACTOR}  event {EVENT}"
        )

    def test_the_trace_of_the_writer_stands_at_its_end(self) -> None:
        trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
        assert line_of(*an_event(), trace_id=trace_id) == f"{line_of(*an_event())}  trace {trace_id}"

    def test_the_time_is_utc_whatever_the_database_gave(self) -> None:
        there = datetime(2026, 11, 23, 20, 2, 1, tzinfo=timezone(timedelta(hours=2)))
        assert line_of(*an_event(occurred_at=there)).startswith("2026-11-23 18:02:01.000000Z  ")

    @pytest.mark.parametrize("text", ["Война и мир", "紅樓夢", "Αντιγόνη", "Les Misérables", "📖"])
    def test_every_script_is_shown_as_it_is(self, text: str) -> None:
        assert f'"{text}" by' in line_of(*an_event(title=text))


class TestWhatCannotBeForged:
    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            pytest.param("a\nb", r'"a\nb"', id="line-feed"),
            pytest.param("a\r\nb", r'"a\r\nb"', id="carriage-return"),
            pytest.param("a\u2028b\u2029c\x85d", r'"a\u2028b\u2029c\x85d"', id="the-other-line-breaks"),
            pytest.param("\x1b[2J", r'"\x1b[2J"', id="terminal-sequence"),
            pytest.param("\x9b2J", r'"\x9b2J"', id="terminal-sequence-of-8-bits"),
            pytest.param("a\u202eb", r'"a\u202eb"', id="right-to-left-override"),
            pytest.param("a\tb\x00\x07\x08", r'"a\tb\x00\x07\x08"', id="controls"),
            pytest.param('a" by "b', r'"a\" by \"b"', id="quotes"),
            pytest.param("a\\", r'"a\\"', id="backslash-at-the-end"),
        ],
    )
    def test_what_is_not_text_is_escaped(self, text: str, shown: str) -> None:
        assert f"  {shown} by " in line_of(*an_event(title=text))
        assert f" by {shown}  actor " in line_of(*an_event(author=text))

    @given(st.text(), st.text())
    def test_any_text_stays_within_its_quotes_on_one_line(self, title: str, author: str) -> None:
        line = line_of(*an_event(title=title, author=author))
        parts = LINE.fullmatch(line)
        assert parts is not None
        assert line.isprintable()
        assert (_unquoted(parts["title"]), _unquoted(parts["author"])) == (title, author)


def _unquoted(text: str) -> str:
    """What a reader would take it for: the text between the quotes, with the escapes of Python."""
    return re.sub(r"\\(u\w{4}|U\w{8}|x\w\w|.)", _unescaped, text[1:-1])


def _unescaped(escape: re.Match[str]) -> str:
    code = escape[1]
    if code[0] in "uUx" and len(code) > 1:
        return chr(int(code[1:], 16))
    return {"n": "\n", "r": "\r", "t": "\t"}.get(code, code)


class TestTheConsole:
    def test_each_event_is_a_line(self) -> None:
        console = io.StringIO()
        print_lines(["one", "two"], outage_of_the_console(), console)
        assert console.getvalue() == "one\ntwo\n"

    def test_nothing_is_printed_for_no_event(self, capsys: pytest.CaptureFixture[str]) -> None:
        print_lines([], outage_of_the_console())
        assert capsys.readouterr().out == ""

    @pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
    def test_a_console_that_cannot_show_a_character_gets_an_escape(self, encoding: str) -> None:
        written = io.BytesIO()
        console = io.TextIOWrapper(written, encoding=encoding)
        print_lines(["Ω"], outage_of_the_console(), console)
        assert written.getvalue().decode(encoding) in {"Ω\n", "\\u03a9\n"}

    def test_a_console_that_is_gone_is_logged_once_and_stops_nothing(self) -> None:
        outage = outage_of_the_console()
        reader, writer = os.pipe()
        os.close(reader)
        with open(writer, "w", buffering=1) as console, capture_logs() as logs:  # noqa: PTH123  # a pipe has no path
            for lines in (["one"], [], ["two"]):
                print_lines(lines, outage, console)
            assert [line["event"] for line in logs] == ["outage of the console: events are recorded and not printed"]
            with Path(os.devnull).open("w") as nowhere:
                os.dup2(nowhere.fileno(), writer)  # so that closing it succeeds

    def test_a_console_that_was_closed_is_logged_too(self) -> None:
        console = io.StringIO()
        console.close()
        with capture_logs() as logs:
            print_lines(["one"], outage_of_the_console(), console)
        assert [line["event"] for line in logs] == ["outage of the console: events are recorded and not printed"]
