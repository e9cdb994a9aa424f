"""Users: who may sign in."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final
from uuid import UUID, uuid4

from psycopg.errors import UniqueViolation
from sqlalchemy import Insert, Row, Update, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from book_db.api_tokens import removing_all
from book_db.caller_changes import changing_callers
from book_db.database import Database, repeat_read, repeat_write
from book_db.errors import EmailTaken, UserNotFound
from book_db.sessions import ending_all
from book_db.tables import User

_COLUMNS: Final = tuple(User.__table__.c)
_USERS: Final = select(*_COLUMNS)


class Users:
    """Those who may sign in. A user that is returned is a plain object: writing to it changes nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, user_id: UUID) -> User | None:
        return await self._one(_USERS.where(User.id == user_id))

    async def by_email(self, email: str) -> User | None:
        """The user with this address, in whatever case it is written."""
        return await self._one(_USERS.where(func.lower(User.email) == func.lower(email)))

    @repeat_read
    async def page(self, size: int, after: UUID | None = None) -> list[User]:
        """At most ``size`` users by ascending id, those after ``after``."""
        query = _USERS.order_by(User.id).limit(size)
        async with self._database.statement() as connection:
            rows = await connection.execute(query if after is None else query.where(User.id > after))
            return [_user(row) for row in rows]

    @repeat_write
    async def add(self, values: Mapping[str, Any]) -> User:
        """Raises EmailTaken."""
        user_id = uuid4()
        # Nobody is told: nobody can have been identified as a user who was not there.
        with _refusing_a_taken_address():
            async with self._database.transaction() as connection:
                return await _written(connection, insert(User).values(id=user_id, **values), user_id)

    @repeat_write
    async def change(
        self,
        user_id: UUID,
        values: Mapping[str, Any],
        *,
        sign_out: bool = False,
        keep: UUID | None = None,
        revoke_tokens: bool = False,
    ) -> User:
        """Changes some columns of a user, one at least, and with ``sign_out`` ends every session but ``keep``, with
        ``revoke_tokens`` takes back the tokens of the user's programs.

        Raises EmailTaken and UserNotFound.
        """
        async with self._writing(user_id) as connection:
            user = await _written(connection, update(User).where(User.id == user_id).values(**values), user_id)
            if sign_out:
                await connection.execute(ending_all(user_id, keep))
            if revoke_tokens:
                await connection.execute(removing_all(user_id))
            return user

    async def rehash(self, user_id: UUID, old_hash: str, new_hash: str) -> User | None:
        """Puts another hash of the same password in place; None if the password was changed meanwhile."""
        same = update(User).where(User.id == user_id, User.hashed_password == old_hash)
        return await self._one(same.values(hashed_password=new_hash).returning(*_COLUMNS))

    @repeat_write
    async def remove(self, user_id: UUID) -> None:
        """Takes a user out, and with the user every session and token."""
        async with self._writing(user_id) as connection:
            await connection.execute(delete(User).where(User.id == user_id))

    @repeat_read
    async def _one(self, query: Any) -> User | None:
        async with self._database.statement() as connection:
            row = (await connection.execute(query)).one_or_none()
            return None if row is None else _user(row)

    @asynccontextmanager
    async def _writing(self, user_id: UUID) -> AsyncIterator[AsyncConnection]:
        """A transaction that changes one user, and tells of it."""
        with _refusing_a_taken_address():
            async with changing_callers(self._database, user_id) as connection:
                yield connection


@contextmanager
def _refusing_a_taken_address() -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        if isinstance(error.orig, UniqueViolation):
            raise EmailTaken from error
        raise


async def _written(connection: AsyncConnection, write: Insert | Update, user_id: UUID) -> User:
    row = (await connection.execute(write.returning(*_COLUMNS))).one_or_none()
    if row is None:
        raise UserNotFound(user_id)
    return _user(row)


def _user(row: Row[Any]) -> User:
    return User(**row._mapping)  # noqa: SLF001 - a documented attribute, its underscore keeps columns apart
