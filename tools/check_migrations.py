"""Climbs all migrations in a database of its own, and fails if the models have something that they do not make."""

import os
import subprocess
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from support.postgresql import PostgreSQLServer
from support.workspace import Workspace

_BOOK_DB = Path(sys.executable).with_name("book-db")


def main() -> int:
    """Return what the process exits with."""
    workspace = Workspace()
    try:
        with PostgreSQLServer(workspace) as server:
            environment = {**os.environ, "DATABASE_URL": server.url}
            for action in ("upgrade", "check"):
                subprocess.run([_BOOK_DB, action], env=environment, check=True)
    except subprocess.CalledProcessError as error:
        return error.returncode
    finally:
        workspace.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
