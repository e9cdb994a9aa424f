"""The table of ASVS: what it says that a requirement is met by is there."""

import ast
import re
from pathlib import Path

import pytest

_TABLE = (Path(__file__).parent / "asvs.md").read_text()
_ROOT = Path(__file__).parents[4]
_HERE = Path(__file__).parents[1]

_ROWS = re.findall(r"^\| (\d\.\d\.\d.*?) \| (.+?) \| (.+?) \|$", _TABLE, re.MULTILINE)
_NAMED = sorted(set(re.findall(r"`([\w./-]+\.py(?:::\w+)*)`", _TABLE)))

# Levels 1 and 2 of chapters 6 to 9, as of the 5.0 tree.
_REQUIRED = {
    *("6.1.1", "6.1.2", "6.1.3", *(f"6.2.{n}" for n in range(1, 12)), "6.3.1", "6.3.2", "6.3.3"),
    *("6.4.1", "6.4.2", "6.4.3", "6.4.4", *(f"6.5.{n}" for n in range(1, 6)), "6.6.1", "6.6.2", "6.6.3"),
    *("6.8.1", "6.8.2", "6.8.3", "6.8.4", "7.1.1", "7.1.2", "7.1.3", "7.2.1", "7.2.2", "7.2.3", "7.2.4"),
    *("7.3.1", "7.3.2", "7.4.1", "7.4.2", "7.4.3", "7.4.4", "7.4.5", "7.5.1", "7.5.2", "7.6.1", "7.6.2"),
    *("8.1.1", "8.1.2", "8.2.1", "8.2.2", "8.2.3", "8.3.1", "8.4.1"),
    *("9.1.1", "9.1.2", "9.1.3", "9.2.1", "9.2.2", "9.2.3", "9.2.4"),
}


def _numbers(cell: str) -> set[str]:
    first, _, last = cell.partition(" to ")
    first = first.split()[0]
    if not last:
        return {first}
    chapter, begin = first.rsplit(".", 1)
    return {f"{chapter}.{n}" for n in range(int(begin), int(last.rsplit(".", 1)[1]) + 1)}


def test_every_requirement_is_in_the_table() -> None:
    assert {number for cell, *_ in _ROWS for number in _numbers(cell)} >= _REQUIRED


@pytest.mark.parametrize("row", _ROWS, ids=lambda row: row[0])
def test_each_is_met_by_something_or_says_why_not(row: tuple[str, str, str]) -> None:
    *_, met = row
    reasons = ("`", "](", "**Not met.**", "apply: ", "there are none", "nothing makes")
    assert any(reason in met for reason in reasons)


@pytest.mark.parametrize("name", _NAMED)
def test_that_it_is_met_by_is_there(name: str) -> None:
    file, *path = name.split("::")
    [found] = [base / file for base in (_HERE, _ROOT) if (base / file).is_file()]
    scope: ast.AST = ast.parse(found.read_text())
    for part in path:
        scope = next(
            node
            for node in ast.iter_child_nodes(scope)
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.name == part
        )
