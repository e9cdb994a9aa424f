"""An outage is said once, and is over when it is over."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from types import SimpleNamespace

import pytest
import structlog
from book_runtime import outage as module
from book_runtime.outage import CircuitBreaker, Outage, Reason
from structlog.testing import capture_logs
from structlog.typing import EventDict
from support.waiting import patiently, until

LOG = structlog.get_logger(__name__)

BEGUN = "outage of the lamp: people sit in the dark"
OVER = "outage of the lamp is over"


class Gauge:
    value: float | None = None

    def set(self, value: float) -> None:
        self.value = value


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """It stands still, until it is set."""
    clock: SimpleNamespace = SimpleNamespace(now=100.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def logs() -> Iterator[list[EventDict]]:
    with capture_logs() as logs:
        yield logs


def of_the_lamp(gauge: Gauge | None = None, **options: float) -> Outage:
    return Outage(LOG, "the lamp", "people sit in the dark", gauge=gauge, **options)


def said(logs: list[EventDict]) -> list[str]:
    return [line["event"] for line in logs]


class TestOutage:
    def test_is_said_once_with_its_reason_and_once_with_how_long_it_lasted(
        self, clock: SimpleNamespace, logs: list[EventDict]
    ) -> None:
        outage = of_the_lamp()
        for clock.now in (100.0, 101.0, 102.0):
            outage.begin(f"the bulb is broken, seen at {clock.now}")
        clock.now = 112.34
        outage.end()
        outage.end()
        assert logs == [
            {"event": BEGUN, "log_level": "warning", "reason": "the bulb is broken, seen at 100.0"},
            {"event": OVER, "log_level": "info", "lasted": 12.3},
        ]

    def test_is_said_again_when_it_is_another_one(self, logs: list[EventDict]) -> None:
        outage = of_the_lamp()
        for _ in range(2):
            outage.begin("the bulb is broken")
            outage.end()
        assert said(logs) == [BEGUN, OVER] * 2

    def test_of_which_there_was_none_has_no_end(self, logs: list[EventDict]) -> None:
        assert not of_the_lamp().end()
        assert logs == []

    def test_tells_whether_it_is_on(self) -> None:
        outage = of_the_lamp()
        assert not outage.is_on
        outage.begin("the bulb is broken")
        assert outage.is_on
        assert outage.end()
        assert not outage.is_on


class TestAReason:
    @pytest.mark.parametrize(
        ("reasons", "lines"),
        [
            pytest.param([Reason("no bulb", 1), Reason("no current", 2)], ["no bulb", "no current"], id="another-kind"),
            pytest.param([Reason("no bulb", 1), Reason("a broken bulb", 1)], ["no bulb"], id="of-the-same-kind"),
            pytest.param(
                [Reason("a", 1), Reason("b", 2), Reason("c", 1)], ["a", "b"], id="one-kind-in-turn-with-another"
            ),
            pytest.param([OSError(1), OSError(2)], ["OSError(1)"], id="exceptions-of-one-class"),
            pytest.param([OSError(1), EOFError()], ["OSError(1)", "EOFError()"], id="exceptions-of-two-classes"),
            pytest.param(["x" * 5_000], ["x" * 1_000], id="longer-than-a-line-should-be"),
        ],
    )
    def test_is_said_once_for_each_kind(
        self, reasons: list[Reason | Exception | str], lines: list[str], logs: list[EventDict]
    ) -> None:
        outage = of_the_lamp()
        for reason in reasons:
            outage.begin(reason)
        assert [line["reason"] for line in logs] == lines


class TestTheGauge:
    @pytest.mark.parametrize("during", [pytest.param(0, id="of-what-is-there"), pytest.param(1, id="of-what-is-wrong")])
    def test_says_whether_it_is_on(self, during: float) -> None:
        gauge = Gauge()
        outage = of_the_lamp(gauge, during=during)
        assert gauge.value is None
        outage.begin("the bulb is broken")
        assert gauge.value == during
        outage.end()
        assert gauge.value == 1 - during


class TestWhatFailsForSomeAndWorksForOthers:
    def test_is_one_outage_until_nothing_has_failed_for_a_while(
        self, clock: SimpleNamespace, logs: list[EventDict]
    ) -> None:
        outage = of_the_lamp(quiet=5)
        for clock.now in (100.0, 103.0, 107.0):
            outage.begin("the bulb flickers")
            assert not outage.end()
        clock.now = 112.0
        assert outage.end()
        assert [(line["event"], line.get("lasted")) for line in logs] == [(BEGUN, None), (OVER, 12.0)]


class Lamp:
    """What is probed."""

    def __init__(self) -> None:
        self.broken: str | None = None
        self.probes = 0

    async def probe(self) -> None:
        self.probes += 1
        if self.broken is not None:
            raise OSError(self.broken)


def with_a_breaker(
    probe: Callable[[], Awaitable[None]], pause: float = 0.01, gauge: Gauge | None = None
) -> CircuitBreaker:
    return CircuitBreaker(
        of_the_lamp(gauge), probe, reason_of=lambda error: Reason(str(error), str(error)), pause=pause
    )


class TestACircuitBreaker:
    async def test_is_open_until_the_probe_works(self, logs: list[EventDict]) -> None:
        lamp, gauge = Lamp(), Gauge()
        breaker = with_a_breaker(lamp.probe, gauge=gauge)
        lamp.broken = "no bulb"
        breaker.trip(OSError("no bulb"))
        await until(lambda: lamp.probes == 3, "it was tried three times")
        assert (breaker.is_open, breaker.reason, gauge.value) == (True, Reason("no bulb", "no bulb"), 0)
        lamp.broken = None
        await until(lambda: not breaker.is_open, "it is closed")
        assert (breaker.reason, gauge.value) == (None, 1)
        assert said(logs) == [BEGUN, OVER]

    async def test_says_what_the_probe_meets_with_when_that_is_something_else(self, logs: list[EventDict]) -> None:
        lamp = Lamp()
        breaker = with_a_breaker(lamp.probe)
        lamp.broken = "no current"
        breaker.trip(OSError("no bulb"))
        await until(lambda: lamp.probes == 3, "it was tried three times")
        await breaker.close()
        assert [line["reason"] for line in logs] == ["no bulb", "no current"]

    async def test_stays_open_whatever_the_probe_raises(self, logs: list[EventDict]) -> None:
        lamp = Lamp()

        async def probe() -> None:
            lamp.probes += 1
            raise ValueError("a bug")

        breaker = with_a_breaker(probe)
        breaker.trip(OSError("no bulb"))
        await until(lambda: lamp.probes == 3, "it was tried three times")
        assert breaker.is_open
        await breaker.close()
        assert [line["reason"] for line in logs] == ["no bulb", "a bug"]

    async def test_that_many_callers_trip_tries_in_one_place(self) -> None:
        lamp, trying = Lamp(), asyncio.Event()

        async def probe() -> None:
            await lamp.probe()
            await trying.wait()

        breaker = with_a_breaker(probe)
        for _ in range(20):
            breaker.trip(OSError("no bulb"))
        await until(lambda: lamp.probes, "it is being tried")
        breaker.trip(OSError("no bulb"))
        trying.set()
        await until(lambda: not breaker.is_open, "it is closed")
        assert lamp.probes == 1

    async def test_may_be_told_to_try_at_once(self) -> None:
        lamp = Lamp()
        breaker = with_a_breaker(lamp.probe, pause=3_600)
        breaker.trip(OSError("a spark"), at_once=True)
        await until(lambda: not breaker.is_open, "it is closed")

    async def test_ends_also_where_the_probe_answers_a_cancellation_with_another_error(self) -> None:
        began = asyncio.Event()

        async def probe() -> None:
            began.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError as error:
                raise OSError("no bulb") from error

        breaker = with_a_breaker(probe)
        breaker.trip(OSError("no bulb"))
        await patiently(began.wait(), "it is being tried")
        await patiently(breaker.close(), "it has ended")

    async def test_tries_no_more_when_it_is_closed_down(self) -> None:
        lamp = Lamp()
        breaker = with_a_breaker(lamp.probe, pause=3_600)
        breaker.trip(OSError("no bulb"))
        await breaker.close()
        assert (breaker.is_open, lamp.probes) == (True, 0)


class TestWhatWorksNowAndThen:
    @pytest.fixture
    async def waits(self, clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        """For how many seconds it was left alone each time. Each probe finds that it works."""
        waits: list[float] = []

        async def works_after(_: CircuitBreaker, seconds: float) -> bool:
            waits.append(seconds)
            clock.now += seconds
            return True

        monkeypatch.setattr(CircuitBreaker, "_works_after", works_after)
        return waits

    async def test_is_tried_more_and_more_seldom(self, clock: SimpleNamespace, waits: list[float]) -> None:
        breaker = with_a_breaker(Lamp().probe, pause=1)
        for at_once in [False, *[True] * 6]:
            breaker.trip(OSError("it flickers"), at_once=at_once)
            await until(lambda: not breaker.is_open, "it is closed")
            clock.now += 0.1
        assert waits == [1, 2, 4, 8, 16, 30, 30]

    async def test_is_tried_as_before_when_it_has_worked_for_long(
        self, clock: SimpleNamespace, waits: list[float]
    ) -> None:
        breaker = with_a_breaker(Lamp().probe, pause=1)
        for worked_for in (0.1, 0.1, 3_600, 0):
            breaker.trip(OSError("it flickers"))
            await until(lambda: not breaker.is_open, "it is closed")
            clock.now += worked_for
        assert waits == [1, 2, 4, 1]
