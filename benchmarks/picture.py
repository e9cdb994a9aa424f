"""The figures as a picture: how far each is from what is wanted of it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from playwright.sync_api import sync_playwright
from support.programs import CHROMIUM, NotInstalled, find

from benchmarks.figures import Row
from benchmarks.table import figure_of, wanted_of

_WIDTH: Final = 1_024
_TOP: Final = 76
_ROW: Final = 40
_GAP: Final = 14
_LEFT: Final = 420
"""Where bars begin: names stand before it."""
_UNIT: Final = 210
"""The length of a bar that is just what is wanted."""
_MAX_REACHED: Final = 1.7
"""How many times that the longest bar is; what is better still looks the same."""

_STYLE: Final = """
    :root { --page: #ffffff; --ink: #1f2328; --quiet: #59636e; --edge: #afb8c1; --met: #1a7f37; --missed: #bc4c00; }
    @media (prefers-color-scheme: dark) {
      :root { --page: #0d1117; --ink: #f0f6fc; --quiet: #9198a1; --edge: #3d444d; --met: #3fb950; --missed: #f0883e; }
    }
    text { font-family: -apple-system, "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif; fill: var(--ink); }
    .title { font-size: 17px; font-weight: 600; }
    .name { font-size: 14px; text-anchor: end; }
    .small { font-size: 12px; fill: var(--quiet); text-anchor: end; }
    .aim { font-size: 14px; fill: var(--quiet); text-anchor: middle; }
    .better { font-size: 12px; fill: var(--quiet); }
    .figure { font-size: 14px; font-weight: 600; }
    .wanted { font-size: 12px; fill: var(--quiet); }
    .page { fill: var(--page); }
    .met { fill: var(--met); } .missed { fill: var(--missed); }
    line { stroke: var(--edge); stroke-width: 1.5; }
"""


def svg_of(kinds: Mapping[str, Sequence[Row]]) -> str:
    """All rows of which something is wanted, those of a kind together."""
    groups = [[row for row in rows if row.wanted] for rows in kinds.values()]
    body: list[str] = []
    bottom = _TOP
    for group in filter(None, groups):
        for row in group:
            body += _bar(row, bottom)
            bottom += _ROW
        bottom += _GAP
    aim = _LEFT + _UNIT
    told = sum(len(group) for group in groups)
    met = sum(row.is_met for group in groups for row in group)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {bottom}"',
        f'    width="{_WIDTH}" height="{bottom}" role="img" aria-labelledby="title description">',
        '  <title id="title">What was measured, beside what is wanted</title>',
        f'  <desc id="description">{met} of {told} figures are as wanted. A table has them all.</desc>',
        f"  <style>{_STYLE}  </style>",
        f'  <rect class="page" width="{_WIDTH}" height="{bottom}" rx="6"/>',
        f'  <text class="title" x="24" y="36">{met} of {told} as wanted</text>',
        f'  <text class="aim" x="{aim}" y="36">as wanted</text>',
        f'  <text class="better" x="{aim + 64}" y="36">longer is better</text>',
        *body,
        f'  <line x1="{aim}" y1="46" x2="{aim}" y2="{bottom - _GAP}" stroke-dasharray="5 4"/>',
        f'  <line x1="{_LEFT}" y1="46" x2="{_LEFT}" y2="{bottom - _GAP}"/>',
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def reached(row: Row) -> float:
    """1 for just what is wanted, more for better, whichever direction is better."""
    assert row.wanted
    if not row.wanted.is_most:
        return row.figure / row.wanted.figure
    return row.wanted.figure / row.figure if row.figure > 0 else _MAX_REACHED


def draw_png(svg: Path, png: Path) -> None:
    """By the browser that the tests use as well, as a reader with a light page sees it. Raises NotInstalled."""
    program = find(CHROMIUM)
    if program is None:
        raise NotInstalled("Chromium, which draws the picture, is not on this machine.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(device_scale_factor=1.5, color_scheme="light")
        page.set_content(f'<body style="margin: 0">{svg.read_text()}</body>')
        page.locator("svg").screenshot(path=png)
        browser.close()


def _bar(row: Row, top: int) -> Iterator[str]:
    length = round(_UNIT * max(0.01, min(reached(row), _MAX_REACHED)))
    kind = "met" if row.is_met else "missed"
    right = _LEFT + max(length, _UNIT) + 12
    yield f'  <text class="name" x="{_LEFT - 12}" y="{top + 12}">{escape(row.what)}</text>'
    yield f'  <text class="small" x="{_LEFT - 12}" y="{top + 28}">{escape(row.against)}</text>'
    yield f'  <rect class="{kind}" x="{_LEFT}" y="{top + 3}" width="{length}" height="22" rx="3"/>'
    yield f'  <text class="figure" x="{right}" y="{top + 12}">{escape(figure_of(row))}</text>'
    yield f'  <text class="wanted" x="{right}" y="{top + 28}">{escape(wanted_of(row))}</text>'
