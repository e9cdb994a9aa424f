"""Books to be added, as the JSON array that ``statements.ADD`` reads: psycopg writes arrays value by value in Python
(docs/decisions/0024).
"""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import msgspec
from book_runtime.telemetry import current_traceparent
from msgspec.structs import asdict

from book_db.book import Draft
from book_db.books.words import words_by_column
from book_db.errors import BatchTooLarge

STATEMENT_MAX: Final = 2 * 2**20
"""Bytes of books, with the words that they are found by, in one statement: a thousand of 2 KiB each. PostgreSQL indexes
the words of so much in a second or two, and gives up after ten (`Settings.statement_timeout`).
"""

BOOKS_MAX: Final = 500
"""Books of several callers that are added by one statement."""

_json: Final = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True, eq=False)
class Addition:
    """A book to be added, and in whose name. No two are equal, even with the same content."""

    json: bytes

    @property
    def weight(self) -> int:
        """As how many of `BOOKS_MAX` it counts, so that those of one statement stay below `STATEMENT_MAX`."""
        return -(-len(self.json) * BOOKS_MAX // STATEMENT_MAX)


def addition_of(draft: Draft, actor: UUID, traceparent: str | None) -> Addition:
    return Addition(
        _json.encode(
            {
                **asdict(draft),
                **words_by_column(draft),
                "actor": actor,
                "traceparent": traceparent,
            }
        )
    )


def joined(additions: Collection[Addition]) -> str:
    return f"[{b','.join(addition.json for addition in additions).decode()}]"


async def all_of(drafts: Sequence[Draft], actor: UUID) -> str:
    """All drafts of one caller. Raises BatchTooLarge.

    In a thread: the words of many books take tenths of a second.
    """
    return await asyncio.to_thread(_all_of, drafts, actor, current_traceparent())


def _all_of(drafts: Sequence[Draft], actor: UUID, traceparent: str | None) -> str:
    additions, size = [], 0
    for draft in drafts:
        addition = addition_of(draft, actor, traceparent)
        additions.append(addition)
        size += len(addition.json)
        if size > STATEMENT_MAX:
            raise BatchTooLarge(len(additions) - 1, STATEMENT_MAX)
    return joined(additions)
