"""The walk through the code in docs/architecture.md is the way that a write takes."""

import re
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import httpx

ROOT = Path(__file__).parents[3]
WALK = (ROOT / "docs/architecture.md").read_text().partition("\n## A write\n")[2].partition("\n## ")[0]

A_BOOK = b'{"title": "Middlemarch", "author": "George Eliot", "publication_date": "1871-12-01"}'


def files_of_the_walk() -> list[Path]:
    """Up to the commit: what comes after the relay is not of the request."""
    files = [ROOT / path for path in re.findall(r"\]\(\.\./([\w/.-]+\.py)\)", WALK)]
    return files[: next(at for at, file in enumerate(files) if "relay" in file.parts)]


class TestTheWalk:
    async def test_is_the_way_of_a_post(self, client: httpx.AsyncClient) -> None:
        entered: dict[Path, None] = {}

        def note(frame: FrameType, event: str, _: Any) -> None:
            if event == "call":
                entered.setdefault(Path(frame.f_code.co_filename))

        sys.setprofile(note)
        try:
            answer = await client.post("/api/v1/books", content=A_BOOK, headers={"Content-Type": "application/json"})
        finally:
            sys.setprofile(None)
        assert answer.status_code == 201
        walk = files_of_the_walk()
        assert len(walk) == 5
        assert [file for file in entered if file in walk] == walk
