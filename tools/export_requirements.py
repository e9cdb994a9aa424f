"""Writes the requirements files from poetry.lock, so that nobody needs Poetry to run, to test or to build an image.

`make lock` calls it. It needs Poetry with poetry-plugin-export; $POETRY names it where it is not on the PATH.
"""

import os
import re
import subprocess
from pathlib import Path
from urllib.parse import unquote, urlsplit

_ROOT = Path(__file__).resolve().parents[1]

FILES = {
    "requirements.txt": "--with=rest,grpc,colophon",
    "requirements-dev.txt": "--all-groups",
    "apps/rest-api/requirements.txt": "--with=rest",
    "apps/grpc-api/requirements.txt": "--with=grpc",
}
"""Each file and the groups in it, beside the main one. Those of the apps are for their images.

The paths in all of them start at the root, where pip is to be called.
"""

_HEADER = """\
# Exported from poetry.lock, never edited by hand: `make lock` writes this file. pip takes no editable package beside
# hashes: tools/ensure-environment installs what others wrote by their hashes, then the members.
"""
_MEMBER = re.compile(r"^-e (?P<address>file://\S+).*$", re.MULTILINE)


def main() -> None:
    """Write all files."""
    for file, groups in FILES.items():
        (_ROOT / file).write_text(_HEADER + _MEMBER.sub(_by_relative_path, _export(groups)))
        print(f"wrote {file}")


def _export(groups: str) -> str:
    poetry = os.environ.get("POETRY", "poetry")
    # The members have no hashes, since they change with every edit: tools/ensure-environment installs them apart.
    command = [poetry, "export", "--no-interaction", "--without-urls", groups]
    return subprocess.run(command, cwd=_ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def _by_relative_path(match: re.Match[str]) -> str:
    path = Path(unquote(urlsplit(match["address"]).path))
    return f"-e ./{path.relative_to(_ROOT)}"


if __name__ == "__main__":
    main()
