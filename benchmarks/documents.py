"""What readers are shown of the figures: a table and a picture.

`python -m benchmarks.documents` renews those of docs from what was measured last.
"""

import itertools
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks import results
from benchmarks.figures import Row
from benchmarks.picture import draw_png, svg_of
from benchmarks.table import HEADER, line_of

DOCS: Final = Path(__file__).parents[1] / "docs"

_NAME: Final = "benchmarks"
_BEGIN: Final = "<!-- The figures, by `make bench` -->\n"
_END: Final = "<!-- Until here -->\n"


def draw(kinds: Mapping[str, Sequence[Row]], folder: Path) -> None:
    """The table and the picture into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{_NAME}.md").write_text(table_of(itertools.chain.from_iterable(kinds.values())))
    _draw_picture(kinds, folder)


def renew(kinds: Mapping[str, Sequence[Row]]) -> None:
    """The table in docs/benchmarks.md, and its picture."""
    page = DOCS / f"{_NAME}.md"
    table = table_of(itertools.chain.from_iterable(kinds.values()))
    page.write_text(with_table(page.read_text(), table))
    _draw_picture(kinds, DOCS)


def table_of(rows: Iterable[Row]) -> str:
    return "\n".join([HEADER, *map(line_of, rows)]) + "\n"


def with_table(page: str, table: str) -> str:
    """The page with this table between the marks. Raises ValueError where they are not there."""
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise ValueError("the page has no place for the figures")
    return f"{before}{begin}\n{table}\n{end}{after}"


def _draw_picture(kinds: Mapping[str, Sequence[Row]], folder: Path) -> None:
    svg = folder / f"{_NAME}.svg"
    svg.write_text(svg_of(kinds))
    draw_png(svg, svg.with_suffix(".png"))


if __name__ == "__main__":
    last = results.kept(results.FOLDER)
    if not last:
        sys.exit("Nothing was measured yet: `make bench` does.")
    renew(last)
