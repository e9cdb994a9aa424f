"""What was measured last, kept in files that git does not know."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from benchmarks.figures import Row, Speed, Wanted

FOLDER: Final = Path(__file__).with_name("results")
QUICK: Final = FOLDER / "quick"

_FIGURES: Final = "figures.json"


def keep(folder: Path, measured: Mapping[str, Sequence[Row]], order: Sequence[str]) -> None:
    """Puts the rows of each kind in place of those that were kept of it, all in that order.

    Each row holds both of the speeds that it compares, so rows of several runs may stand beside each other.
    """
    rows = {**kept(folder), **{kind: list(of_kind) for kind, of_kind in measured.items()}}
    ordered = {kind: rows[kind] for kind in order if kind in rows}
    folder.mkdir(parents=True, exist_ok=True)
    plain = {kind: [asdict(row) for row in of_kind] for kind, of_kind in ordered.items()}
    (folder / _FIGURES).write_text(json.dumps(plain, indent=2, ensure_ascii=False) + "\n")


def kept(folder: Path) -> dict[str, list[Row]]:
    """The rows of each kind."""
    file = folder / _FIGURES
    plain = json.loads(file.read_text()) if file.exists() else {}
    return {kind: [_row(each) for each in of_kind] for kind, of_kind in plain.items()}


def _row(plain: dict[str, Any]) -> Row:
    made = {"wanted": Wanted, "target": Speed, "baseline": Speed}
    return Row(**plain | {name: make(**plain[name]) for name, make in made.items() if plain[name] is not None})
