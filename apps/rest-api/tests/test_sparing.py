import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import uvicorn.protocols.http.httptools_impl as uvicorns
from rest_api import sparing
from rest_api.sparing import OF_UVICORN, Sparing


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=1_000.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr(sparing, "time", clock)
    return clock


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger("spared")
    spares = Sparing(["over and over", "another"])
    logger.addFilter(spares)
    yield logger
    logger.removeFilter(spares)


@pytest.fixture
def said(logger: logging.Logger) -> Iterator[list[str]]:
    said: list[str] = []

    class Listening(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    listening = Listening()
    logger.addHandler(listening)
    yield said
    logger.removeHandler(listening)


class TestAWarning:
    def test_is_said_once_a_minute_with_how_often_it_was_not(
        self, logger: logging.Logger, said: list[str], clock: SimpleNamespace
    ) -> None:
        for _ in range(5):
            logger.warning("over and over")
        clock.now += 61
        for _ in range(2):
            logger.warning("over and over")
        assert said == ["over and over", "over and over (4 more since this was said last)"]

    @pytest.mark.usefixtures("clock")
    def test_keeps_no_other_from_being_said(self, logger: logging.Logger, said: list[str]) -> None:
        for message in ("over and over", "another", "something else", "something else"):
            logger.warning(message)
        assert said == ["over and over", "another", "something else", "something else"]

    def test_is_worded_as_uvicorn_words_it(self) -> None:
        text = Path(uvicorns.__file__).read_text(encoding="utf-8")
        assert all(message.replace('"', '\\"') in text or message in text for message in OF_UVICORN)
