"""Users: who may sign in.

docs/decisions/0027 gives the reasons.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from enum import Flag, auto
from typing import Any, Final
from uuid import UUID, uuid4

from psycopg.errors import UniqueViolation
from sqlalchemy import Insert, Row, Update, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from book_db.accounts.addresses import folded, with_folded
from book_db.accounts.api_tokens import removing_all
from book_db.accounts.invalidation import invalidating_callers
from book_db.accounts.oauth_accounts import unlink_others, unlinking
from book_db.accounts.sessions import ending_all, holding
from book_db.errors import AccessNotFound, EmailTaken, LastSuperuser, Overtaken, UserNotFound
from book_db.postgres.database import Database, retry_read, retry_write
from book_db.tables import ApiTokenRow, OAuthAccountRow, SessionRow, User

_COLUMNS: Final = tuple(User.__table__.c)
_USERS: Final = select(*_COLUMNS)


class Access(Flag):
    """The ways in which someone can act as a user."""

    SESSIONS = auto()
    TOKENS = auto()
    """Those of the user's programs."""
    LOGINS = auto()
    """Of accounts at providers."""


NOTHING: Final = Access(0)
EVERYTHING: Final = ~NOTHING


class Users:
    """Those who may sign in. A user that is returned is a plain object: writing to it changes nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, user_id: UUID) -> User | None:
        return await self._one(_USERS.where(User.id == user_id))

    async def by_email(self, email: str) -> User | None:
        """The user with this address, which must be normalised, in whatever case it is written."""
        return await self._one(_USERS.where(User.email_folded == folded(email)))

    @retry_read
    async def page(self, size: int, after: UUID | None = None) -> list[User]:
        """At most ``size`` users by ascending id, those after ``after``."""
        query = _USERS.order_by(User.id).limit(size)
        async with self._database.statement() as connection:
            rows = await connection.execute(query if after is None else query.where(User.id > after))
            return [_user(row) for row in rows]

    @retry_write
    async def add(self, values: Mapping[str, Any]) -> User:
        """Raises EmailTaken."""
        user_id = uuid4()
        # Nobody is told: nobody can have been identified as a user who was not there.
        with _refusing_a_taken_address():
            async with self._database.transaction() as connection:
                return await _written(connection, insert(User).values(id=user_id, **with_folded(values)), user_id)

    @retry_write
    async def change(
        self,
        user_id: UUID,
        values: Mapping[str, Any],
        *,
        decided_on: Mapping[str, Any],
        within: UUID | None = None,
        ends: Access = NOTHING,
    ) -> User:
        """Changes some columns of a user, one at least, if the columns that this was ``decided_on``, one at least, are
        still as they were seen, and the session ``within`` which it was asked for is live.

        What the change ``ends`` is over at once, but for that session. With another address, so is every login of an
        account at a provider with another one than that.

        Raises EmailTaken, UserNotFound, LastSuperuser, and Overtaken when what it was decided on is so no more.
        """
        if not decided_on:
            raise ValueError("a write must say what it was decided on")
        seen = (getattr(User, column) == value for column, value in decided_on.items())
        change = update(User).where(User.id == user_id, *seen).values(**with_folded(values))
        async with self._writing(user_id) as connection:
            if False in (values.get("is_superuser"), values.get("is_active")):
                await _keep_a_superuser(connection, user_id)
            user = await _written(connection, change, user_id)
            # After the user, whom all lock first. It waits for whoever ends the session just now.
            if within is not None and await connection.scalar(holding(within, user_id)) is None:
                raise Overtaken
            await _end(connection, user_id, ends, keep=within)
            if "email" in values and Access.LOGINS not in ends:
                await unlink_others(connection, user)
            return user

    @retry_write
    async def end(self, user_id: UUID, ends: Access) -> None:
        """Ends these ways to act as a user at once. Raises UserNotFound."""
        async with self._writing(user_id) as connection:
            # As for a change of the user: nobody who has just shown the password begins anew meanwhile.
            if await connection.scalar(select(User.id).where(User.id == user_id).with_for_update()) is None:
                raise UserNotFound(user_id)
            await _end(connection, user_id, ends)

    @retry_write
    async def end_one(self, user_id: UUID, access_id: UUID) -> None:
        """Ends the session, the token or the login of a user that has this id, at once. Raises AccessNotFound."""
        ways = (
            ending_all(user_id).where(SessionRow.id == access_id),
            removing_all(user_id).where(ApiTokenRow.id == access_id),
            unlinking(user_id).where(OAuthAccountRow.id == access_id),
        )
        async with self._writing(user_id) as connection:
            if not any([(await connection.execute(way)).rowcount for way in ways]):
                raise AccessNotFound(access_id)

    async def rehash(self, user_id: UUID, old_hash: str, new_hash: str) -> User | None:
        """Puts another hash of the same password in place; None if the password was changed meanwhile."""
        try:
            return await self.change(user_id, {"hashed_password": new_hash}, decided_on={"hashed_password": old_hash})
        except (Overtaken, UserNotFound):
            return None

    @retry_write
    async def remove(self, user_id: UUID) -> None:
        """Takes a user out, and with the user every session and token. Raises LastSuperuser."""
        async with self._writing(user_id) as connection:
            await _keep_a_superuser(connection, user_id)
            await connection.execute(delete(User).where(User.id == user_id))

    @retry_read
    async def _one(self, query: Any) -> User | None:
        async with self._database.statement() as connection:
            row = (await connection.execute(query)).one_or_none()
            return None if row is None else _user(row)

    @asynccontextmanager
    async def _writing(self, user_id: UUID) -> AsyncIterator[AsyncConnection]:
        """A transaction that changes one user, and tells of it."""
        with _refusing_a_taken_address():
            async with invalidating_callers(self._database, user_id) as connection:
                yield connection


@contextmanager
def _refusing_a_taken_address() -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        if isinstance(error.orig, UniqueViolation):
            raise EmailTaken from error
        raise


async def _end(connection: AsyncConnection, user_id: UUID, ends: Access, keep: UUID | None = None) -> None:
    if Access.SESSIONS in ends:
        await connection.execute(ending_all(user_id, keep))
    if Access.TOKENS in ends:
        await connection.execute(removing_all(user_id))
    if Access.LOGINS in ends:
        await connection.execute(unlinking(user_id))


async def _keep_a_superuser(connection: AsyncConnection, but: UUID) -> None:
    """Raises LastSuperuser if there is no other. Of two who go at the same time, one is the last."""
    superusers = select(User.id).where(User.is_superuser, User.is_active).order_by(User.id).with_for_update()
    if list(await connection.scalars(superusers)) == [but]:
        raise LastSuperuser


async def _written(connection: AsyncConnection, write: Insert | Update, user_id: UUID) -> User:
    row = (await connection.execute(write.returning(*_COLUMNS))).one_or_none()
    if row is not None:
        return _user(row)
    if await connection.scalar(select(User.id).where(User.id == user_id)):
        raise Overtaken
    raise UserNotFound(user_id)


def _user(row: Row[Any]) -> User:
    return User(**row._mapping)  # noqa: SLF001 - a documented attribute, its underscore keeps columns apart
