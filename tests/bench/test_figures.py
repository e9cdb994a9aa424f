"""From rounds to a row, and from rows to what readers see."""

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from benchmarks import results
from benchmarks.documents import DOCS, table_of, with_table
from benchmarks.figures import QUICK, Row, Speed, Wanted, percentile
from benchmarks.measuring import Comparison
from benchmarks.picture import reached, svg_of
from benchmarks.table import HEADER, line_of

SVG = "{http://www.w3.org/2000/svg}"
PICTURE = Path(__file__).parents[2] / "docs" / "benchmarks.svg"

RATIO = Row("GET a book", "constant", 0.75, Wanted(0.7), Speed(4_500, 0.0125, 138.4), Speed(6_000))
SOON = Row("start of rest-api", "", 1.6, Wanted(1.5, "s", is_most=True))
REDIS = Row("GET a book", "redis-benchmark", 0.05, None, Speed(4_500), Speed(90_000))


@dataclass
class Rounds:
    """A load that has these speeds in turn."""

    rates: list[float]
    ran: list[float] = field(default_factory=list)

    def run(self, seconds: float) -> Speed:
        self.ran.append(seconds)
        return Speed(self.rates[len(self.ran) - 1], p99=self.rates[len(self.ran) - 1] / 1_000)


class TestAComparison:
    def test_has_the_median_of_the_ratios_of_its_rounds(self) -> None:
        # Something else has slowed down the whole second round, and the target alone in the third.
        target, baseline = Rounds([80, 40, 10]), Rounds([100, 50, 100])
        [row] = Comparison("a", "b", 0.7, target, baseline).take(replace(QUICK, rounds=3))
        assert (row.figure, row.is_met) == (0.8, True)
        assert row.target is not None
        assert (row.target.rate, row.target.p99) == (40, 0.04)

    def test_does_not_count_the_warm_up(self) -> None:
        target, baseline = Rounds([1, 80]), Rounds([100, 100])
        [row] = Comparison("a", "b", 0.7, target, baseline).take(replace(QUICK, warm_up=2))
        assert row.figure == 0.8
        assert target.ran == [2, 1]

    def test_may_have_no_aim(self) -> None:
        [row] = Comparison("a", "b", None, Rounds([1]), Rounds([100])).take(QUICK)
        assert row.is_met


class TestAPercentile:
    @pytest.mark.parametrize(
        ("of_a_hundred", "figure"),
        [
            pytest.param(50, 5, id="median"),
            pytest.param(90, 9, id="just-a-rank"),
            pytest.param(99, 10, id="between-ranks"),
            pytest.param(0, 1, id="the-least"),
        ],
    )
    def test_is_the_figure_that_so_many_do_not_exceed(self, of_a_hundred: int, figure: int) -> None:
        assert percentile(range(1, 11), of_a_hundred) == figure


class TestALine:
    def test_of_a_ratio_has_both_speeds(self) -> None:
        assert line_of(RATIO) == (
            "| GET a book | constant | 4,500/s | 12.5 ms | 138 MB | 6,000/s | 0.75 | at least 0.70 |"
        )

    def test_of_a_figure_has_its_unit_and_says_that_it_missed(self) -> None:
        assert line_of(SOON) == "| start of rest-api |  |  |  |  |  | 1.60 s | at most 1.50 s (missed) |"

    def test_without_an_aim_wants_nothing(self) -> None:
        assert line_of(REDIS).endswith("| 0.05 |  |")

    def test_has_as_many_cells_as_the_header(self) -> None:
        assert {line.count("|") for line in [*HEADER.splitlines(), line_of(RATIO)]} == {9}


class TestThePicture:
    @pytest.fixture
    def picture(self) -> ET.Element:
        kinds = {"get": [RATIO, replace(RATIO, what="a < b & c"), REDIS], "start": [SOON]}
        return ET.fromstring(svg_of(kinds))  # noqa: S314  # our own

    def bars(self, picture: ET.Element) -> Iterator[tuple[str, float]]:
        for bar in picture.iter(f"{SVG}rect"):
            if bar.attrib["class"] != "page":
                yield bar.attrib["class"], float(bar.attrib["width"])

    def test_has_a_bar_for_each_figure_that_has_an_aim(self, picture: ET.Element) -> None:
        assert [kind for kind, _ in self.bars(picture)] == ["met", "met", "missed"]

    def test_has_longer_bars_for_what_is_better(self, picture: ET.Element) -> None:
        (_, met), _, (_, missed) = self.bars(picture)
        assert met > missed

    def test_shows_text_as_it_is(self, picture: ET.Element) -> None:
        assert "a < b & c" in [text.text for text in picture.iter(f"{SVG}text")]

    def test_of_the_docs_has_room_for_every_name(self) -> None:
        """As wide as they are in DejaVu Sans, which is wider than other fonts that a reader may have."""
        drawn = ET.parse(PICTURE)  # noqa: S314  # our own
        widths = {"name": 7.4, "small": 6.3}
        names = [text for text in drawn.iter(f"{SVG}text") if text.attrib["class"] in widths]
        assert names
        for text in names:
            said = text.text or ""
            assert len(said) * widths[text.attrib["class"]] < float(text.attrib["x"]), said

    def test_is_drawn_when_nothing_was_measured(self) -> None:
        ET.fromstring(svg_of({}))  # noqa: S314  # our own

    @pytest.mark.parametrize(
        ("figure", "wanted", "times"),
        [
            pytest.param(0.35, Wanted(0.7), 0.5, id="half-of-what-is-least"),
            pytest.param(20, Wanted(10, "ms", is_most=True), 0.5, id="twice-of-what-is-most"),
            pytest.param(5, Wanted(10, "ms", is_most=True), 2, id="half-of-what-is-most"),
        ],
    )
    def test_says_how_far_each_is_from_its_aim(self, figure: float, wanted: Wanted, times: float) -> None:
        assert reached(Row("a", "b", figure, wanted)) == times

    def test_has_a_place_for_what_has_shrunk(self) -> None:
        assert reached(Row("a", "b", -1.5, Wanted(10, "MB", is_most=True))) > 1


class TestResults:
    def test_are_read_as_they_were_kept(self, tmp_path: Path) -> None:
        results.keep(tmp_path, {"get": [RATIO, REDIS], "start": [SOON]}, ["get", "start"])
        assert results.kept(tmp_path) == {"get": [RATIO, REDIS], "start": [SOON]}

    def test_of_a_kind_replace_those_of_before(self, tmp_path: Path) -> None:
        results.keep(tmp_path, {"get": [RATIO, REDIS], "start": [SOON]}, ["get", "start"])
        results.keep(tmp_path, {"get": [REDIS]}, ["get", "start"])
        assert results.kept(tmp_path) == {"get": [REDIS], "start": [SOON]}

    def test_are_in_the_order_of_the_kinds(self, tmp_path: Path) -> None:
        results.keep(tmp_path, {"start": [SOON]}, ["get", "start"])
        results.keep(tmp_path, {"get": [RATIO]}, ["get", "start"])
        assert list(results.kept(tmp_path)) == ["get", "start"]


class TestThePage:
    def test_has_a_place_for_the_table(self) -> None:
        page = (DOCS / "benchmarks.md").read_text()
        renewed = with_table(page, table_of([RATIO]))
        assert line_of(RATIO) in renewed
        assert with_table(renewed, table_of([SOON])) == with_table(page, table_of([SOON]))

    def test_without_a_place_is_left_as_it_is(self) -> None:
        with pytest.raises(ValueError, match="no place"):
            with_table("# Benchmarks\n", table_of([RATIO]))
