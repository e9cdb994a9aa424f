"""Users and their sessions: who may sign in, and which sign-ins are good."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final
from uuid import UUID, uuid4

from psycopg.errors import UniqueViolation
from sqlalchemy import Insert, Row, Update, Uuid, bindparam, delete, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from book_db.database import Database, repeat_read, repeat_write
from book_db.errors import EmailTaken, UserNotFound
from book_db.tables import SessionRow, User

CALLERS_CHANGED: Final = "callers"
"""The channel on which the id of a user is told whose sessions, or whose right to sign in, have changed."""

_TELL = text(f"SELECT pg_notify('{CALLERS_CHANGED}', CAST(:user_id AS text))")

_COLUMNS: Final = tuple(User.__table__.c)
_USERS: Final = select(*_COLUMNS)

# A user's sessions that are over are swept when the user signs in again.
_SWEEP: Final = text("DELETE FROM sessions WHERE user_id = :user_id AND expires_at < now()")
# FOR SHARE waits for a change of the user that is under way, and then looks at the user again. Without it, whoever
# signs in while the password is changed would keep a session that the old password opened.
_BEGIN: Final = text(
    "INSERT INTO sessions (id, user_id, expires_at) SELECT :id, id, now() + make_interval(secs => :seconds) FROM users "
    "WHERE id = :user_id AND is_active AND hashed_password = coalesce(:hashed_password, hashed_password) FOR SHARE"
)
_END: Final = (
    update(SessionRow).where(SessionRow.ended_at.is_(None)).values(ended_at=func.now()).returning(SessionRow.user_id)
)
_LIVE: Final = (
    select(SessionRow.id, SessionRow.user_id)
    .join(User, User.id == SessionRow.user_id)
    .where(SessionRow.id == func.any(bindparam("session_ids", type_=ARRAY(Uuid))))
    .where(SessionRow.ended_at.is_(None), SessionRow.expires_at > func.now(), User.is_active)
)


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
        async with self._writing(user_id) as connection:
            return await _written(connection, insert(User).values(id=user_id, **values), user_id)

    @repeat_write
    async def change(
        self, user_id: UUID, values: Mapping[str, Any], *, sign_out: bool = False, keep: UUID | None = None
    ) -> User:
        """Changes some columns of a user, one at least, and with ``sign_out`` ends every session but ``keep``.

        Raises EmailTaken and UserNotFound.
        """
        async with self._writing(user_id) as connection:
            user = await _written(connection, update(User).where(User.id == user_id).values(**values), user_id)
            if sign_out:
                await connection.execute(_end_all(user_id, keep))
            return user

    async def rehash(self, user_id: UUID, old_hash: str, new_hash: str) -> User | None:
        """Puts another hash of the same password in place; None if the password was changed meanwhile."""
        same = update(User).where(User.id == user_id, User.hashed_password == old_hash)
        return await self._one(same.values(hashed_password=new_hash).returning(*_COLUMNS))

    @repeat_write
    async def remove(self, user_id: UUID) -> None:
        """Takes a user out, and with the user every session."""
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
        try:
            async with self._database.transaction() as connection:
                yield connection
                await connection.execute(_TELL, {"user_id": user_id})
        except IntegrityError as error:
            if isinstance(error.orig, UniqueViolation):
                raise EmailTaken from error
            raise
        finally:
            # Whether it was committed or not: to forget what still holds costs one look-up.
            _tell_this_process(self._database, user_id)


async def _written(connection: AsyncConnection, write: Insert | Update, user_id: UUID) -> User:
    row = (await connection.execute(write.returning(*_COLUMNS))).one_or_none()
    if row is None:
        raise UserNotFound(user_id)
    return _user(row)


def _user(row: Row[Any]) -> User:
    return User(**row._mapping)  # noqa: SLF001 - a documented attribute, its underscore keeps columns apart


def _tell_this_process(database: Database, user_id: UUID) -> None:
    # The notification comes back from PostgreSQL milliseconds after the answer: until then the user were in.
    database.notices.give(CALLERS_CHANGED, str(user_id))


def _end_all(user_id: UUID, keep: UUID | None = None) -> Any:
    ended = _END.where(SessionRow.user_id == user_id)
    return ended if keep is None else ended.where(SessionRow.id != keep)


class Sessions:
    """Sign-ins. An access token names its session and is good as long as the session is live."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @repeat_write
    async def begin(self, user_id: UUID, seconds: int, *, hashed_password: str | None = None) -> UUID:
        """A new session of so many seconds.

        Raises UserNotFound when the user is gone, is not active, or has another password than the one that was checked.
        """
        session_id = uuid4()
        facts = {"id": session_id, "user_id": user_id, "seconds": seconds, "hashed_password": hashed_password}
        async with self._database.transaction() as connection:
            await connection.execute(_SWEEP, {"user_id": user_id})
            begun = await connection.execute(_BEGIN, facts)
        if not begun.rowcount:
            raise UserNotFound(user_id)
        return session_id

    @repeat_write
    async def end(self, session_id: UUID) -> None:
        """Ends a session at once; ending one that is over already changes nothing."""
        async with self._database.transaction() as connection:
            user_id = await connection.scalar(_END.where(SessionRow.id == session_id))
            if user_id is not None:
                await connection.execute(_TELL, {"user_id": user_id})
        if user_id is not None:
            _tell_this_process(self._database, user_id)

    @repeat_write
    async def end_all(self, user_id: UUID) -> None:
        """Ends every session of a user at once."""
        async with self._database.transaction() as connection:
            await connection.execute(_end_all(user_id))
            await connection.execute(_TELL, {"user_id": user_id})
        _tell_this_process(self._database, user_id)

    def on_change(self, heard: Callable[[str], None]) -> None:
        """Calls ``heard`` with a user's id before a change that this process made to the user is answered."""
        self._database.notices.listen(CALLERS_CHANGED, heard)

    @repeat_read
    async def live(self, session_ids: Collection[UUID]) -> dict[UUID, UUID]:
        """Of these sessions the live ones of active users, each with its user's id."""
        async with self._database.statement() as connection:
            rows = await connection.execute(_LIVE, {"session_ids": list(session_ids)})
            return {row.id: row.user_id for row in rows}
