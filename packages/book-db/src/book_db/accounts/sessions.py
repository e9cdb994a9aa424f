"""Sign-ins, and the refresh tokens that keep them alive."""

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid4

import structlog
from sqlalchemy import Row, Select, Uuid, bindparam, func, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from book_db.accounts.invalidation import CALLERS_CHANGED, invalidating_callers, notify_all, notify_local
from book_db.accounts.secret_tokens import REFRESH_TOKEN, digest, is_whole, new_token
from book_db.errors import RefreshRefused, SessionNotFound, UserNotFound
from book_db.postgres.database import Database, retry_read, retry_write
from book_db.roles import Role, role_of
from book_db.tables import RefreshTokenRow, SessionRow, User

_log = structlog.get_logger(__name__)

MOST: Final = 100
"""Sessions that one user may have at a time. One more ends the one that was used longest ago."""

# A user's sessions that are over are swept when the user signs in again, and with them their refresh tokens.
_SWEEP: Final = text("DELETE FROM sessions WHERE user_id = :user_id AND (expires_at < now() OR ended_at IS NOT NULL)")
# FOR SHARE waits for a change of the user that is under way, and then looks at the user again. Without it, whoever
# signs in while the password is changed would keep a session that the old password opened.
_BEGIN: Final = text(
    "INSERT INTO sessions (id, user_id, expires_at, user_agent, address) "
    "SELECT :id, id, now() + make_interval(secs => :seconds), :user_agent, :address FROM users "
    "WHERE id = :user_id AND is_active AND hashed_password = coalesce(:hashed_password, hashed_password) "
    "AND email = coalesce(:email, email) AND (is_verified OR NOT :confirmed) FOR SHARE"
)
_END_THOSE_BEYOND: Final = text(
    """
    UPDATE sessions SET ended_at = now() WHERE id IN (
        SELECT id FROM sessions WHERE user_id = :user_id AND ended_at IS NULL AND expires_at > now()
        ORDER BY last_used_at DESC, id OFFSET :most
    )
    """
)
_ADD_TOKEN: Final = text("INSERT INTO refresh_tokens (hash, session_id) VALUES (:hash, :session_id)")

# Whoever refreshes a session has it alone. What became of the token is read afterwards, by a statement that sees what
# was committed while this one waited.
_LOCK: Final = text(
    "SELECT id FROM sessions WHERE id = (SELECT session_id FROM refresh_tokens WHERE hash = :hash) FOR NO KEY UPDATE"
)
_LOOK: Final = text(
    "SELECT sessions.id, user_id, used_at IS NOT NULL AS used FROM refresh_tokens "
    "JOIN sessions ON sessions.id = session_id JOIN users ON users.id = user_id "
    "WHERE hash = :hash AND ended_at IS NULL AND expires_at > now() AND is_active"
)
# A used token is kept for as long as it could have been good unused: so long it tells of a theft.
_ROTATE: Final = text(
    """
    WITH used AS (UPDATE refresh_tokens SET used_at = now() WHERE hash = :hash),
    swept AS (
        DELETE FROM refresh_tokens WHERE session_id = :session_id AND used_at IS NOT NULL
        AND created_at < now() - make_interval(secs => :seconds)
    ),
    slid AS (
        UPDATE sessions SET last_used_at = now(), expires_at = now() + make_interval(secs => :seconds)
        WHERE id = :session_id
    )
    INSERT INTO refresh_tokens (hash, session_id) VALUES (:new_hash, :session_id)
    """
)
_END: Final = (
    update(SessionRow).where(SessionRow.ended_at.is_(None)).values(ended_at=func.now()).returning(SessionRow.user_id)
)
_IS_LIVE: Final = (SessionRow.ended_at.is_(None), SessionRow.expires_at > func.now())
_LIVE: Final = (
    select(SessionRow.id, SessionRow.user_id, User.is_superuser, User.is_editor)
    .join(User, User.id == SessionRow.user_id)
    .where(SessionRow.id == func.any(bindparam("session_ids", type_=ARRAY(Uuid))))
    .where(*_IS_LIVE, User.is_active)
)


class Client(NamedTuple):
    """Where a sign-in came from, for its user to recognise it by."""

    user_agent: str | None = None
    address: str | None = None


class Session(NamedTuple):
    """A sign-in that is live."""

    id: UUID
    created_at: datetime
    last_used_at: datetime
    """When the user signed in, or refreshed it for the last time."""
    expires_at: datetime
    user_agent: str | None
    address: str | None


class LiveSession(NamedTuple):
    """Whose session it is."""

    user_id: UUID
    role: Role


class SignIn(NamedTuple):
    """A session that was begun or refreshed, and the token with which it can be refreshed once."""

    user_id: UUID
    session_id: UUID
    refresh_token: str


_COLUMNS: Final = tuple(SessionRow.__table__.c[name] for name in Session._fields)


class Sessions:
    """Sign-ins. An access token names its session and is good as long as the session is live.

    A session lives for some time after it was refreshed for the last time. Its refresh tokens are a family of which one
    is good at a time: each is good once and brings the next.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @retry_write
    async def begin(
        self,
        user_id: UUID,
        seconds: int,
        *,
        hashed_password: str | None = None,
        email: str | None = None,
        confirmed: bool = False,
        client: Client | None = None,
    ) -> SignIn:
        """A new session, which lives for so many seconds unless it is refreshed. If it is one more than MOST, that ends
        which was used longest ago.

        Raises UserNotFound when the user is gone, is not active, has another password or address than the one that was
        found, or none that is ``confirmed`` where it must be.
        """
        session_id, token = uuid4(), new_token(REFRESH_TOKEN)
        facts = {
            "id": session_id,
            "user_id": user_id,
            "confirmed": confirmed,
            "seconds": seconds,
            "hashed_password": hashed_password,
            "email": email,
        }
        async with self._database.transaction() as connection:
            await connection.execute(_SWEEP, {"user_id": user_id})
            begun = await connection.execute(_BEGIN, facts | (client or Client())._asdict())
            if not begun.rowcount:
                raise UserNotFound(user_id)
            await connection.execute(_ADD_TOKEN, {"hash": digest(token), "session_id": session_id})
            ended = (await connection.execute(_END_THOSE_BEYOND, {"user_id": user_id, "most": MOST})).rowcount
            if ended:
                await notify_all(connection, user_id)
        if ended:
            notify_local(self._database, user_id)
        return SignIn(user_id, session_id, token)

    @retry_write
    async def refresh(self, token: str, seconds: int) -> SignIn:
        """Lets a session live for so many seconds from now, and gives its next token in exchange for this one.

        A token that comes a second time has been stolen, or its thief has come first: its session ends at once.

        Raises RefreshRefused for that one, for one that nobody was given, and for one whose session is over or whose
        user may not sign in.
        """
        if not is_whole(token, REFRESH_TOKEN):
            raise RefreshRefused
        next_token = new_token(REFRESH_TOKEN)
        async with self._database.transaction() as connection:
            found = await _locked(connection, token)
            if found.used:
                await connection.execute(_END.where(SessionRow.id == found.id))
                await notify_all(connection, found.user_id)
            else:
                hashes = {"hash": digest(token), "new_hash": digest(next_token)}
                await connection.execute(_ROTATE, hashes | {"session_id": found.id, "seconds": seconds})
        if found.used:
            notify_local(self._database, found.user_id)
            _log.warning("a used refresh token came again: its session was ended", session=found.id, user=found.user_id)
            raise RefreshRefused
        return SignIn(found.user_id, found.id, next_token)

    @retry_read
    async def of_refresh_token(self, token: str) -> UUID | None:
        """The session that the token belongs to, live or not."""
        if not is_whole(token, REFRESH_TOKEN):
            return None
        query = select(RefreshTokenRow.session_id).where(RefreshTokenRow.hash == digest(token))
        async with self._database.statement() as connection:
            session_id: UUID | None = await connection.scalar(query)
            return session_id

    @retry_read
    async def of(self, user_id: UUID) -> list[Session]:
        """The user's live sessions, the one that was used last first; no more than MOST."""
        query = select(*_COLUMNS).where(SessionRow.user_id == user_id, *_IS_LIVE)
        newest_first = query.order_by(SessionRow.last_used_at.desc(), SessionRow.id).limit(MOST)
        async with self._database.statement() as connection:
            return [Session(*row) for row in await connection.execute(newest_first)]

    @retry_write
    async def end(self, session_id: UUID) -> None:
        """Ends a session at once; ending one that is over already changes nothing."""
        async with self._database.transaction() as connection:
            user_id = await connection.scalar(_END.where(SessionRow.id == session_id))
            if user_id is not None:
                await notify_all(connection, user_id)
        if user_id is not None:
            notify_local(self._database, user_id)

    @retry_write
    async def end_one(self, user_id: UUID, session_id: UUID) -> None:
        """Ends one of a user's live sessions at once. Raises SessionNotFound when it is none of these."""
        own = ending_all(user_id).where(SessionRow.expires_at > func.now())
        async with invalidating_callers(self._database, user_id) as connection:
            if not (await connection.execute(own.where(SessionRow.id == session_id))).first():
                raise SessionNotFound(session_id)

    @retry_write
    async def end_all(self, user_id: UUID, *, keep: UUID | None = None) -> None:
        """Ends every session of a user at once, but for ``keep``."""
        async with invalidating_callers(self._database, user_id) as connection:
            await connection.execute(ending_all(user_id, keep))

    def on_change(self, handler: Callable[[str], None]) -> None:
        """Calls ``handler`` with a user's id before a change that this process made to the user is answered."""
        self._database.local_bus.subscribe(CALLERS_CHANGED, handler)

    @retry_read
    async def live(self, session_ids: Collection[UUID]) -> dict[UUID, LiveSession]:
        """Of these sessions the live ones of active users, each with its user."""
        async with self._database.statement() as connection:
            rows = await connection.execute(_LIVE, {"session_ids": list(session_ids)})
            return {
                row.id: LiveSession(row.user_id, role_of(is_superuser=row.is_superuser, is_editor=row.is_editor))
                for row in rows
            }


def ending_all(user_id: UUID, keep: UUID | None = None) -> Any:
    """The statement that ends a user's sessions, all but ``keep``."""
    ended = _END.where(SessionRow.user_id == user_id)
    return ended if keep is None else ended.where(SessionRow.id != keep)


def holding(session_id: UUID, user_id: UUID) -> Select[UUID]:
    """The query for a live session of the user, which stays live until the transaction ends."""
    theirs = select(SessionRow.id).where(SessionRow.id == session_id, SessionRow.user_id == user_id, *_IS_LIVE)
    return theirs.with_for_update(read=True)


async def _locked(connection: AsyncConnection, token: str) -> Row[Any]:
    """The live session of a refresh token, until the transaction ends nobody else's. Raises RefreshRefused."""
    await connection.execute(_LOCK, {"hash": digest(token)})
    found = (await connection.execute(_LOOK, {"hash": digest(token)})).one_or_none()
    if found is None:
        raise RefreshRefused
    return found
