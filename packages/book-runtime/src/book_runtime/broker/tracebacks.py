"""Tracebacks of bounded length, for headers and log lines."""

import traceback
from typing import Final

_TRACEBACK_MAX_CHARACTERS: Final = 8_000


def traceback_of(error: BaseException) -> str:
    """The end of the traceback, which names the error.

    Bounded, because a handler's error may quote a whole message: a header must fit into one frame, and structlog's
    console format takes minutes to colour a million characters, in the event loop.
    """
    return "".join(traceback.format_exception(error))[-_TRACEBACK_MAX_CHARACTERS:]
