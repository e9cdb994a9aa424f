"""The command people type: run the whole catalogue, load books into it."""

from pathlib import Path
from typing import Final

DATA: Final = Path(".data")
"""Where `colophon run` keeps database and keys, unless another folder is named."""
