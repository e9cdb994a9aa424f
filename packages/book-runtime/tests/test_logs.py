import json
import logging
import logging.config
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
import uvicorn
from book_runtime import logs
from book_runtime.logs import LogSettings
from book_runtime.settings import SettingsError, load
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider
from structlog.testing import capture_logs

TRACER = TracerProvider().get_tracer("test")
LIBRARIES = ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi", "aio_pika")

Read = Callable[[], list[str]]


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    loggers = [logging.getLogger(), *map(logging.getLogger, LIBRARIES)]
    before = [(each, list(each.handlers), each.level, each.propagate) for each in loggers]
    yield
    for logger, handlers, level, propagate in before:
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)
    logging.captureWarnings(False)
    structlog.reset_defaults()


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Read:
    """Reads the lines that were logged since it was called last; nothing may go to stdout."""

    def read() -> list[str]:
        out, err = capsys.readouterr()
        assert out == ""
        return err.splitlines()

    return read


def the_object(lines: Read) -> dict[str, Any]:
    (line,) = lines()
    read = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert isinstance(read, dict)
    return read


class TestOneForm:
    def test_own_code_and_libraries_look_the_same_on_the_console(self, lines: Read) -> None:
        logs.configure("shop", json=False)
        structlog.get_logger("shop.relay").info("relay took over", held_by="relay-1", rows=3)
        logging.getLogger("aio_pika").warning("connection %s", "lost")
        own, library = lines()
        assert own.split("Z ", 1)[1].split() == [
            "[info", "]", "relay", "took", "over", "[shop.relay]", "held_by=relay-1", "rows=3",
        ]  # fmt: skip
        assert library.split("Z ", 1)[1].split() == ["[warning", "]", "connection", "lost", "[aio_pika]"]

    def test_own_code_and_libraries_look_the_same_in_json(self, lines: Read) -> None:
        logs.configure("shop", json=True)
        structlog.get_logger("shop.relay").info("relay took over", rows=3)
        logging.getLogger("aio_pika").warning("connection %s", "lost")
        own, library = (json.loads(line) for line in lines())
        assert own.pop("timestamp").endswith("Z")
        assert library.pop("timestamp").endswith("Z")
        assert own == {
            "level": "info", "event": "relay took over", "logger": "shop.relay", "service": "shop", "rows": 3,
        }  # fmt: skip
        assert library == {"level": "warning", "event": "connection lost", "logger": "aio_pika", "service": "shop"}

    def test_warnings_of_python_are_lines_too(self, lines: Read) -> None:
        logs.configure("shop", json=True)
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            logging.captureWarnings(True)
            warnings.warn("this will go away", DeprecationWarning, stacklevel=1)
        assert "DeprecationWarning: this will go away" in the_object(lines)["event"]

    def test_what_is_bound_to_the_context_stands_on_each_line(self, lines: Read) -> None:
        logs.configure("shop", json=True)
        with structlog.contextvars.bound_contextvars(request_id="r-1"):
            logging.getLogger("aio_pika").warning("from below")
        assert the_object(lines)["request_id"] == "r-1"

    @pytest.mark.parametrize("as_json", [True, False], ids=["json", "console"])
    def test_the_trace_id_stands_on_each_line_in_a_span_and_on_no_other(self, lines: Read, as_json: bool) -> None:
        logs.configure("shop", json=as_json)
        with TRACER.start_as_current_span("a span") as span:
            structlog.get_logger("shop").info("own")
            logging.getLogger("aio_pika").warning("from below")
        structlog.get_logger("shop").info("outside")
        own, library, outside = lines()
        trace_id = f"{span.get_span_context().trace_id:032x}"
        assert trace_id in own
        assert trace_id in library
        assert "trace_id" not in outside

    def test_a_later_call_changes_the_form_of_loggers_that_were_used_before(self, lines: Read) -> None:
        log = structlog.get_logger("shop")
        logs.configure("shop", json=False)
        log.info("first")
        logs.configure("shop", json=True)
        log.info("second")
        first, second = lines()
        assert "first" in first
        assert json.loads(second)["event"] == "second"

    def test_lines_below_the_level_are_left_out(self, lines: Read) -> None:
        logs.configure("shop", json=True, level="warning")
        structlog.get_logger("shop").info("own")
        logging.getLogger("aio_pika").info("from below")
        structlog.get_logger("shop").warning("heard")
        assert the_object(lines)["event"] == "heard"

    def test_capture_logs_still_works(self) -> None:
        log = structlog.get_logger("shop")
        logs.configure("shop", json=True)
        log.info("cached now")
        logs.configure("shop", json=True)
        with capture_logs() as captured:
            log.info("caught", rows=3)
        assert [(each["event"], each["rows"]) for each in captured] == [("caught", 3)]


async def app(_scope: object, _receive: object, _send: object) -> None: ...


class TestUvicorn:
    def log_some(self) -> None:
        logging.getLogger("uvicorn.error").info("Started server process [%d]", 7)
        logging.getLogger("uvicorn.access").info('%s - "%s %s HTTP/%s" %d', "127.0.0.1:1", "GET", "/books", "1.1", 200)

    def test_lines_are_in_our_form_and_once(self, lines: Read) -> None:
        logs.configure("shop", json=True)
        uvicorn.Config(app, log_config=None)
        self.log_some()
        assert [json.loads(line)["event"] for line in lines()] == [
            "Started server process [7]",
            '127.0.0.1:1 - "GET /books HTTP/1.1" 200',
        ]

    def test_lines_are_ours_when_uvicorn_was_there_first(self, lines: Read) -> None:
        uvicorn.Config(app)  # with its own handlers
        logs.configure("shop", json=True)
        self.log_some()
        assert [json.loads(line)["service"] for line in lines()] == ["shop", "shop"]

    def test_lines_come_once_even_when_uvicorn_keeps_its_own_form(self, capsys: pytest.CaptureFixture[str]) -> None:
        logs.configure("shop", json=True)
        uvicorn.Config(app)
        self.log_some()
        out, err = capsys.readouterr()
        assert len((out + err).splitlines()) == 2

    def test_a_second_configure_does_not_double_lines(self, lines: Read) -> None:
        logging.basicConfig()
        logs.configure("shop", json=False)
        logs.configure("shop", json=True)
        self.log_some()
        assert len(lines()) == 2


class Careless:
    def __repr__(self) -> str:
        return "careless\n2026-01-01T00:00:00Z [info] forged"


FORGERIES = [
    pytest.param("a\n2026-01-01T00:00:00Z [info     ] admin signed in", id="line-feed"),
    pytest.param("a\r2026-01-01T00:00:00Z [info     ] admin signed in", id="carriage-return"),
    pytest.param("a\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029b", id="every-other-line-end"),
    pytest.param("\x1b[2J\x1b[1;1H", id="clears-the-terminal"),
    pytest.param("\x9b2J", id="the-same-in-one-character"),
    pytest.param("a\b\b\b\bnothing", id="backspaces"),
    pytest.param("\u202egnirts", id="text-direction"),
    pytest.param("a\0b", id="nul"),
    pytest.param("\ud800", id="lone-surrogate"),
    pytest.param(["a\nb"], id="inside-a-list"),
    pytest.param({"a\nb": "c\nd"}, id="inside-a-mapping"),
    pytest.param(Careless(), id="in-a-repr"),
]


class TestForgery:
    @pytest.mark.parametrize("value", FORGERIES)
    @pytest.mark.parametrize("as_json", [True, False], ids=["json", "console"])
    def test_a_logged_value_cannot_begin_a_line(self, lines: Read, value: object, as_json: bool) -> None:
        logs.configure("shop", json=as_json)
        structlog.get_logger("shop").info("heard", value=value)
        structlog.get_logger("shop").info(str(value))
        structlog.get_logger("shop").info("heard", **{str(value): 1})
        structlog.get_logger("shop").info("heard", exc_info=False, level_of=value)
        logging.getLogger("aio_pika").warning("heard %s", value)
        read = lines()
        assert len(read) == 5
        assert all(line.isprintable() for line in read)

    @given(value=st.text() | st.lists(st.text()) | st.dictionaries(st.text(), st.text()) | st.binary())
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    @pytest.mark.parametrize("as_json", [True, False], ids=["json", "console"])
    def test_nothing_that_is_logged_begins_a_line(self, lines: Read, value: object, as_json: bool) -> None:
        logs.configure("shop", json=as_json)
        structlog.get_logger("shop").info("heard", value=value)
        (line,) = lines()
        assert line.isprintable()

    @pytest.mark.parametrize("value", FORGERIES)
    def test_the_message_of_an_exception_cannot_look_like_a_line(self, lines: Read, value: object) -> None:
        logs.configure("shop", json=False)
        try:
            raise ValueError(str(value))
        except ValueError:
            structlog.get_logger("shop").exception("it failed", exception_id=1)
        structlog.get_logger("shop").info("told", exception=value, stack=value)
        for line in lines():
            assert line.isprintable()
            assert (
                line.startswith("    ") or "] it failed" in line or "] told" in line or set(line) == {"="} or not line
            )

    def test_values_that_need_no_quotes_have_none(self, lines: Read) -> None:
        logs.configure("shop", json=False)
        structlog.get_logger("shop").info("heard", word="é", number=1.5, nothing=None, empty="", words="a b")
        assert lines()[0].split("[shop] ")[1] == "word=é number=1.5 nothing=None empty='' words='a b'"


class TestExceptions:
    def fail(self) -> None:
        try:
            raise KeyError("the cause")
        except KeyError as error:
            raise ValueError("first\nsecond") from error

    def test_are_readable_on_the_console(self, lines: Read) -> None:
        logs.configure("shop", json=False)
        try:
            self.fail()
        except ValueError:
            structlog.get_logger("shop").exception("it failed")
        read = lines()
        assert "it failed" in read[0]
        assert read[1] == "    Traceback (most recent call last):"
        assert "    KeyError: 'the cause'" in read
        assert read[-2:] == ["    ValueError: first", "    second"]

    @pytest.mark.parametrize("name", ["shop", "aio_pika"])
    def test_are_one_line_in_json(self, lines: Read, name: str) -> None:
        logs.configure("shop", json=True)
        try:
            self.fail()
        except ValueError:
            logging.getLogger(name).exception("it failed")
        read = the_object(lines)
        assert read["event"] == "it failed"
        assert read["exception"].startswith("Traceback (most recent call last):\n")
        assert read["exception"].endswith("ValueError: first\nsecond")

    def test_do_not_show_local_variables(self, lines: Read) -> None:
        logs.configure("shop", json=True)
        password = "hunter2"
        try:
            raise ValueError(len(password))
        except ValueError:
            structlog.get_logger("shop").exception("it failed")
        assert "hunter2" not in lines()[0]


def _itself() -> list[object]:
    loop: list[object] = []
    loop.append(loop)
    return loop


class TestJson:
    @pytest.mark.parametrize(
        "value",
        [
            pytest.param(float("nan"), id="nan"),
            pytest.param([float("inf")], id="infinity-in-a-list"),
            pytest.param({(1, 2): 3}, id="key-is-a-tuple"),
            pytest.param(_itself(), id="holds-itself"),
            pytest.param(b"\xff", id="bytes"),
            pytest.param({1}, id="set"),
            pytest.param(object(), id="object"),
        ],
    )
    def test_no_line_is_lost_for_a_value_that_is_not_json(self, lines: Read, value: object) -> None:
        logs.configure("shop", json=True)
        structlog.get_logger("shop").info("heard", value=value, other="kept")
        read = the_object(lines)
        assert (read["event"], read["other"], read["service"]) == ("heard", "kept", "shop")


class TestLogSettings:
    def test_console_and_info_unless_chosen(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("LOG_FORMAT", raising=False)
        monkeypatch.delenv("LOG_LEVEL", raising=False)
        chosen = load(LogSettings)
        assert (chosen.log_format, chosen.log_level) == ("console", "info")

    def test_the_level_may_be_in_capitals(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LOG_LEVEL", "WARNING")
        assert load(LogSettings).log_level == "warning"

    def test_a_level_that_there_is_not_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LOG_LEVEL", "loud")
        with pytest.raises(SettingsError, match="LOG_LEVEL: should be 'debug', 'info', 'warning' or 'error'"):
            load(LogSettings)
