"""Tokens with which programs call in a user's name, within the scopes that the user gave them."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid4

from sqlalchemy import LargeBinary, bindparam, delete, extract, func, insert, select, text
from sqlalchemy.dialects.postgresql import ARRAY

from book_db.accounts.invalidation import invalidating_callers
from book_db.accounts.secret_tokens import API_TOKEN, digest, new_token
from book_db.accounts.sessions import holding
from book_db.errors import ApiTokenNotFound, Overtaken, TooManyApiTokens, UserNotFound
from book_db.postgres.database import Database, retry_read, retry_write
from book_db.roles import Role, role_of
from book_db.tables import ApiTokenRow, User

MOST: Final = 100
"""Tokens that one user may have at a time."""

# Locks the user: two tokens made at once must not both count as the last one allowed.
_LOCK: Final = text(
    "SELECT id FROM users WHERE id = :user_id AND is_active "
    "AND hashed_password = coalesce(:hashed_password, hashed_password) FOR NO KEY UPDATE"
)
_SWEEP: Final = delete(ApiTokenRow).where(ApiTokenRow.expires_at <= func.now())
_COUNT: Final = select(func.count()).select_from(ApiTokenRow)
_GOOD: Final = (
    select(
        ApiTokenRow.hash,
        ApiTokenRow.user_id,
        ApiTokenRow.scopes,
        User.is_superuser,
        User.is_editor,
        extract("epoch", ApiTokenRow.expires_at - func.clock_timestamp()).label("seconds_left"),
    )
    .join(User, User.id == ApiTokenRow.user_id)
    .where(ApiTokenRow.hash == func.any(bindparam("hashes", type_=ARRAY(LargeBinary))))
    .where(ApiTokenRow.expires_at > func.clock_timestamp(), User.is_active)
)


class ApiToken(NamedTuple):
    """What is told of a token. The token itself is known to its bearer alone."""

    id: UUID
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime


class GoodToken(NamedTuple):
    """What a token is good for."""

    user_id: UUID
    scopes: frozenset[str]
    role: Role
    """Of the user."""
    seconds_left: float


_COLUMNS: Final = tuple(ApiTokenRow.__table__.c[name] for name in ApiToken._fields)


class ApiTokens:
    """The tokens of all users. One that is removed is refused at once, everywhere."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @retry_write
    async def add(
        self,
        user_id: UUID,
        name: str,
        scopes: Collection[str],
        *,
        days: float,
        hashed_password: str | None = None,
        within: UUID | None = None,
    ) -> tuple[ApiToken, str]:
        """A new token, which is good for so many days, and the one copy of it that there is.

        Raises TooManyApiTokens, UserNotFound when the user is gone, not active, or has another password than the one
        that was checked, and Overtaken when the session ``within`` which it was asked for is over.
        """
        token = new_token(API_TOKEN)
        values = {"id": uuid4(), "user_id": user_id, "name": name, "hash": digest(token), "scopes": sorted(scopes)}
        expires_at = func.now() + func.make_interval(0, 0, 0, 0, 0, 0, days * 86_400)
        async with self._database.transaction() as connection:
            locked = await connection.execute(_LOCK, {"user_id": user_id, "hashed_password": hashed_password})
            if not locked.first():
                raise UserNotFound(user_id)
            if within is not None and await connection.scalar(holding(within, user_id)) is None:
                raise Overtaken
            await connection.execute(_SWEEP.where(ApiTokenRow.user_id == user_id))
            if (await connection.scalar(_COUNT.where(ApiTokenRow.user_id == user_id)) or 0) >= MOST:
                raise TooManyApiTokens(MOST)
            added = insert(ApiTokenRow).values(**values, expires_at=expires_at).returning(*_COLUMNS)
            return ApiToken(*(await connection.execute(added)).one()), token

    @retry_read
    async def of(self, user_id: UUID) -> list[ApiToken]:
        """The user's tokens that have not expired, the newest first."""
        query = select(*_COLUMNS).where(ApiTokenRow.user_id == user_id, ApiTokenRow.expires_at > func.now())
        async with self._database.statement() as connection:
            rows = await connection.execute(query.order_by(ApiTokenRow.created_at.desc(), ApiTokenRow.id))
            return [ApiToken(*row) for row in rows]

    @retry_write
    async def remove(self, user_id: UUID, token_id: UUID) -> None:
        """Takes one of the user's tokens back at once. Raises ApiTokenNotFound when it is none of these."""
        this = removing_all(user_id).where(ApiTokenRow.id == token_id)
        async with invalidating_callers(self._database, user_id) as connection:
            if not (await connection.execute(this)).rowcount:
                raise ApiTokenNotFound(token_id)

    @retry_read
    async def good(self, hashes: Collection[bytes]) -> dict[bytes, GoodToken]:
        """Of the tokens with these digests those that are good, by their digests."""
        async with self._database.statement() as connection:
            rows = await connection.execute(_GOOD, {"hashes": list(hashes)})
            return {row.hash: _good(row) for row in rows}


def _good(row: Any) -> GoodToken:
    role = role_of(is_superuser=row.is_superuser, is_editor=row.is_editor)
    return GoodToken(row.user_id, frozenset(row.scopes), role, float(row.seconds_left))


def removing_all(user_id: UUID) -> Any:
    """The statement that takes all of a user's tokens back."""
    return delete(ApiTokenRow).where(ApiTokenRow.user_id == user_id)
