"""Idempotency keys: what users call their requests, so that one that is sent again is not done again.

What the IETF's draft-ietf-httpapi-idempotency-key-header calls for, without HTTP. A key is written by the very
statement that adds the books (``statements.ADD_ONCE``); here is what stands around it.
"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Final, NamedTuple
from uuid import UUID

import msgspec
from msgspec.structs import asdict
from psycopg.errors import UniqueViolation
from sqlalchemy import text

from book_db.book import Book, Draft
from book_db.books.statements import KEY_EXPIRED
from book_db.errors import IdempotencyKeyReused
from book_db.postgres.database import Database, retry_read
from book_db.postgres.sweeping import kept_swept

_SWEEP_ROWS: Final = 1_000

_FIND: Final = text(
    f"SELECT fingerprint, book_ids, created_at FROM idempotency_keys"  # noqa: S608 - of constants alone
    f" WHERE user_id = :actor AND key = :key AND NOT {KEY_EXPIRED}"
)
_FORGET: Final = text(
    f"DELETE FROM idempotency_keys WHERE user_id = :actor AND key = :key AND {KEY_EXPIRED}"  # noqa: S608 - as above
)
_SWEEP: Final = text(
    f"""
    DELETE FROM idempotency_keys WHERE (user_id, key) IN (
        SELECT user_id, key FROM idempotency_keys WHERE {KEY_EXPIRED}
        ORDER BY created_at LIMIT :at_most FOR UPDATE SKIP LOCKED
    )
    """  # noqa: S608 - as above
)


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """What a user calls a request. The same key with the same request, within 24 hours, is done once.

    ``operation`` tells apart requests that send the same but are answered in other forms.
    """

    name: str
    operation: str

    def fingerprint(self, drafts: Sequence[Draft]) -> bytes:
        """What tells the request from others."""
        return sha256(msgspec.json.encode((self.operation, drafts))).digest()


class Remembered(NamedTuple):
    """What was done for a key."""

    fingerprint: bytes
    book_ids: list[int]
    created_at: datetime

    def books(self, key: IdempotencyKey, drafts: Sequence[Draft]) -> list[Book]:
        """The books as they were when they were added. Raises IdempotencyKeyReused if they were not of these drafts."""
        if key.fingerprint(drafts) != self.fingerprint:
            raise IdempotencyKeyReused
        return [
            Book(id=book_id, version=1, created_at=self.created_at, updated_at=self.created_at, **asdict(draft))
            for book_id, draft in zip(self.book_ids, drafts, strict=True)
        ]


class IdempotencyKeys:
    """The keys that were given within the last 24 hours. Each user has keys of their own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @retry_read
    async def find(self, actor: UUID, key: str) -> Remembered | None:
        async with self._database.statement() as connection:
            row = (await connection.execute(_FIND, {"actor": actor, "key": key})).one_or_none()
            return None if row is None else Remembered(*row)

    @retry_read  # which does no harm either
    async def forget_expired(self, actor: UUID, key: str) -> None:
        """Makes room for the key, if it is one that has expired and was not swept away yet."""
        async with self._database.statement() as connection:
            await connection.execute(_FORGET, {"actor": actor, "key": key})

    async def sweep(self) -> int:
        """Deletes every key that has expired, some at a time, and tells how many. Several may sweep at once."""
        swept, just_now = 0, _SWEEP_ROWS
        while just_now == _SWEEP_ROWS:
            async with self._database.statement() as connection:
                just_now = (await connection.execute(_SWEEP, {"at_most": _SWEEP_ROWS})).rowcount
            swept += just_now
        return swept

    def kept_swept(self, *, pause: float = 600) -> AbstractAsyncContextManager[None]:
        """Sweeps for the length of the block. An expired key counts for nothing long before, so there is no hurry."""
        return kept_swept(self.sweep, "idempotency keys", pause=pause)


def is_taken(error: UniqueViolation) -> bool:
    """Whether a write was undone because somebody else has just written with the same key."""
    return error.diag.constraint_name == "idempotency_keys_pkey"
