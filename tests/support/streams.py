"""Someone who sends and fetches books as streams."""

import json
from collections.abc import AsyncIterable
from typing import Any

import httpx

IMPORT = "/api/v1/books/import"
EXPORT = "/api/v1/books/export"
NDJSON = "application/x-ndjson"


def a_line(**fields: object) -> bytes:
    """A line of an upload, of which a test says only what matters."""
    book = {"title": "Middlemarch", "author": "George Eliot", "publication_date": "1871-12-01"} | fields
    return json.dumps(book, ensure_ascii=False).encode() + b"\n"


def volumes(first: int, last: int) -> bytes:
    """A line each."""
    return b"".join(a_line(title=f"Volume {number}") for number in range(first, last + 1))


async def send(
    client: httpx.AsyncClient, upload: bytes | AsyncIterable[bytes], form: str = NDJSON, key: str | None = None
) -> httpx.Response:
    """What the service answers to this upload."""
    headers = {"Content-Type": form} | ({} if key is None else {"Idempotency-Key": key})
    return await client.post(IMPORT, content=upload, headers=headers)


def report_of(answer: httpx.Response) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What a report says of each book, and its last line."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == NDJSON
    *lines, summary = map(json.loads, answer.text.splitlines())
    return lines, summary


async def exported(client: httpx.AsyncClient, **parameters: str) -> list[dict[str, Any]]:
    """The books of an export."""
    answer = await client.get(EXPORT, params=parameters)
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]
