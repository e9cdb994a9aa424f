"""Warnings that anybody can cause, as often as they care to: said once a minute."""

import logging
import time
from collections.abc import Collection
from typing import Final

_REPEAT_SECONDS: Final = 60.0

OF_UVICORN: Final = ("Invalid HTTP request received.",)
"""As uvicorn 0.54 words it, for each such request, without a limit."""


class Sparing(logging.Filter):
    """Lets each of these messages through once a minute, with how often it was not said meanwhile."""

    def __init__(self, messages: Collection[str]) -> None:
        super().__init__()
        self._said_at = dict.fromkeys(messages, float("-inf"))
        self._unsaid = dict.fromkeys(messages, 0)

    def filter(self, record: logging.LogRecord) -> bool:
        said_at = self._said_at.get(record.msg)
        if said_at is None:
            return True
        now = time.monotonic()
        if now < said_at + _REPEAT_SECONDS:
            self._unsaid[record.msg] += 1
            return False
        self._said_at[record.msg] = now
        unsaid, self._unsaid[record.msg] = self._unsaid[record.msg], 0
        if unsaid:
            record.msg = f"{record.msg} ({unsaid} more since this was said last)"
        return True
