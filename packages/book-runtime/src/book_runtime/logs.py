"""One form for every line that a process logs, whoever logs it: own code through structlog, libraries through logging.

Own code says `structlog.get_logger(__name__).info("relay took over", held_by=name)`. To start uvicorn, give it
`log_config=None`, or it formats its lines itself.
"""

import json as json_
import logging
import sys
from collections.abc import MutableMapping
from typing import Annotated, Any, Final, Literal, TextIO

import structlog
from opentelemetry import trace
from pydantic import BeforeValidator
from structlog.typing import EventDict, ExcInfo, Processor

from book_runtime.settings import Settings

Level = Literal["debug", "info", "warning", "error"]


class LogSettings(Settings):
    """What every process lets its operator choose."""

    log_format: Literal["console", "json"] = "console"
    """console is for people, json is one JSON object a line."""
    log_level: Annotated[Level, BeforeValidator(lambda level: level.lower() if isinstance(level, str) else level)] = (
        "info"
    )
    """The least that is logged."""


def configure(service: str, *, json: bool, level: Level = "info") -> None:
    """Sends every log line of this process to stderr in one form. A later call changes the form.

    service: stands on each JSON line.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *(_json_lines(service) if json else _console_lines(colors=sys.stderr.isatty())),
            ],
        )
    )
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi"):
        _remove_console_handlers(logging.getLogger(name))
        logging.getLogger(name).propagate = True
    root = logging.getLogger()
    _remove_console_handlers(root)
    root.addHandler(handler)
    root.setLevel(level.upper())
    logging.captureWarnings(True)
    structlog.configure(
        processors=_OWN,
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _add_trace_id(_logger: object, _method: str, event: EventDict) -> EventDict:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = f"{context.trace_id:032x}"
    return event


_SHARED: Final[list[Processor]] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    _add_trace_id,
    structlog.processors.StackInfoRenderer(),
]

# One list for the whole process: loggers keep the one they first met, and structlog.testing.capture_logs changes it.
_OWN: Final[list[Processor]] = [
    structlog.stdlib.filter_by_level,
    *_SHARED,
    structlog.stdlib.PositionalArgumentsFormatter(),
    structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
]


def _remove_console_handlers(logger: logging.Logger) -> None:
    # Exactly StreamHandler: files and the handlers of test runners, which are subclasses, stay.
    for handler in [each for each in logger.handlers if type(each) is logging.StreamHandler]:
        logger.removeHandler(handler)


def _json_lines(service: str) -> list[Processor]:
    def in_order(_logger: object, _method: str, event: EventDict) -> MutableMapping[str, Any]:
        first = {name: event.pop(name, None) for name in ("timestamp", "level", "event", "logger")}
        return first | {"service": service} | dict(event)

    return [
        structlog.processors.format_exc_info,
        in_order,
        structlog.processors.JSONRenderer(serializer=_dump),
    ]


def _dump(event: dict[str, Any], **options: Any) -> str:
    try:
        return json_.dumps(event, allow_nan=False, **options)
    except (TypeError, ValueError):
        # NaN, a key that is no string, a structure that holds itself: say it in words rather than lose the line.
        return json_.dumps({str(key): value if isinstance(value, str) else repr(value) for key, value in event.items()})


def _console_lines(*, colors: bool) -> list[Processor]:
    renderer = structlog.dev.ConsoleRenderer(colors=colors, sort_keys=False, exception_formatter=_write_traceback)
    return [_keep_on_one_line, renderer]


def _keep_on_one_line(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Lets no logged value begin a line, or move the cursor: it may come from outside."""
    shown: EventDict = {}
    for key, value in event.items():
        match key:
            case "exc_info":
                shown[key] = value
            case "stack" | "exception":
                shown[key] = _indented(str(value))
            case "event" | "logger" | "level" | "timestamp":
                shown[key] = escaped(str(value))
            case _:
                shown[escaped(key)] = _Shown(value)
    return shown


class _Shown:
    """A value whose repr is what the console shows: quoted only where it must be."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __repr__(self) -> str:
        if isinstance(self.value, str):
            plain = self.value.isprintable() and self.value and not set(self.value) & set(" ='\"")
            return str(self.value) if plain else repr(str(self.value))
        return escaped(repr(self.value))


def _write_traceback(out: TextIO, exc_info: ExcInfo) -> None:
    out.write("\n" + _indented(structlog.processors.format_exc_info(None, "", {"exc_info": exc_info})["exception"]))


def _indented(text: str) -> str:
    """Its lines, so that none of them looks like a line of the log: the message of an exception may hold anything."""
    return "\n".join(f"    {escaped(line)}" for line in text.split("\n"))


def escaped(text: str) -> str:
    """The text with escapes for what cannot be printed, line breaks and what moves the cursor among it."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
