"""Accounts with providers, GitHub for one, that users sign in with."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid4

from psycopg.errors import UniqueViolation
from sqlalchemy import Delete, Row, delete, insert, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from book_db.accounts.addresses import folded, with_folded
from book_db.accounts.sessions import holding
from book_db.errors import LinkNotFound, Overtaken
from book_db.postgres.database import Database, retry_read, retry_write
from book_db.tables import OAuthAccountRow, User

# FOR SHARE waits for a change of the user that is under way, and then looks at the user again. Without it, an account
# could be linked to a user who has just taken another address.
_LINK: Final = text(
    "INSERT INTO oauth_accounts (id, user_id, provider, account_id, account_email) "
    "SELECT :id, id, :provider, :account_id, :email FROM users "
    "WHERE id = :user_id AND email_folded = :folded AND is_verified AND is_active FOR SHARE "
    "ON CONFLICT DO NOTHING"
)


class ProviderAccount(NamedTuple):
    """Someone's account with a provider."""

    provider: str
    account_id: str
    """What the provider calls the account, for ever."""
    email: str
    """The address that the provider has verified."""


class Link(NamedTuple):
    """A user's account with a provider, good for signing in."""

    id: UUID
    provider: str
    account_email: str
    created_at: datetime


_LINKS: Final = select(*(getattr(OAuthAccountRow, field) for field in Link._fields))


class OAuthAccounts:
    """Which account with which provider is whose. An account belongs to one user, a user may have several."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @retry_read
    async def user_of(self, provider: str, account_id: str) -> User | None:
        """The user whom the account belongs to."""
        accounts = select(*User.__table__.c).join(OAuthAccountRow, OAuthAccountRow.user_id == User.id)
        theirs = accounts.where(OAuthAccountRow.provider == provider, OAuthAccountRow.account_id == account_id)
        async with self._database.statement() as connection:
            row = (await connection.execute(theirs)).one_or_none()
            return None if row is None else _user(row)

    @retry_write
    async def add_user(self, values: Mapping[str, Any], account: ProviderAccount) -> User:
        """A new user, whom the account belongs to. Raises Overtaken when someone has the address or the account."""
        user_id = uuid4()
        columns = with_folded({"id": user_id, "email": account.email, **values})
        new_user = insert(User).values(**columns).returning(*User.__table__.c)
        link = insert(OAuthAccountRow).values(
            id=uuid4(),
            user_id=user_id,
            provider=account.provider,
            account_id=account.account_id,
            account_email=account.email,
        )
        try:
            async with self._database.transaction() as connection:
                user = _user((await connection.execute(new_user)).one())
                await connection.execute(link)
        except IntegrityError as error:
            if isinstance(error.orig, UniqueViolation):
                raise Overtaken from error
            raise
        return user

    @retry_write
    async def link(self, user_id: UUID, account: ProviderAccount) -> None:
        """Gives the account to the active user who has its address and has verified it.

        Raises Overtaken when the user is no such user by now, or when the account is someone's already.
        """
        facts = {"id": uuid4(), "user_id": user_id, "folded": folded(account.email), **account._asdict()}
        async with self._database.transaction() as connection:
            linked = await connection.execute(_LINK, facts)
        if not linked.rowcount:
            raise Overtaken

    @retry_write
    async def note_address(self, account: ProviderAccount) -> None:
        """Remembers the address that the provider tells of an account now."""
        known = update(OAuthAccountRow).where(
            OAuthAccountRow.provider == account.provider,
            OAuthAccountRow.account_id == account.account_id,
            OAuthAccountRow.account_email != account.email,
        )
        async with self._database.transaction() as connection:
            await connection.execute(known.values(account_email=account.email))

    @retry_read
    async def links_of(self, user_id: UUID) -> list[Link]:
        """The user's accounts, the oldest first."""
        theirs = _LINKS.where(OAuthAccountRow.user_id == user_id)
        async with self._database.statement() as connection:
            rows = await connection.execute(theirs.order_by(OAuthAccountRow.created_at, OAuthAccountRow.id))
            return [Link(*row) for row in rows]

    @retry_write
    async def unlink(self, user_id: UUID, link_id: UUID, *, hashed_password: str, within: UUID) -> None:
        """Takes an account away from its user, who cannot sign in with it from then on.

        Raises LinkNotFound, and Overtaken when the user has another password than the one that was checked, or the
        session ``within`` which it was asked for is over.
        """
        owner = select(User.id).where(User.id == user_id, User.hashed_password == hashed_password)
        async with self._database.transaction() as connection:
            for still in (owner.with_for_update(read=True), holding(within, user_id)):
                if await connection.scalar(still) is None:
                    raise Overtaken
            gone = await connection.execute(unlinking(user_id).where(OAuthAccountRow.id == link_id))
        if not gone.rowcount:
            raise LinkNotFound(link_id)


def unlinking(user_id: UUID) -> Delete:
    """The statement that takes all of a user's accounts away."""
    return delete(OAuthAccountRow).where(OAuthAccountRow.user_id == user_id)


async def unlink_others(connection: AsyncConnection, user: User) -> None:
    """Takes the accounts away that have another address than their user."""
    theirs = select(OAuthAccountRow.id, OAuthAccountRow.account_email).where(OAuthAccountRow.user_id == user.id)
    rows = await connection.execute(theirs)
    others = [row.id for row in rows if folded(row.account_email) != user.email_folded]
    if others:
        await connection.execute(delete(OAuthAccountRow).where(OAuthAccountRow.id.in_(others)))


def _user(row: Row[Any]) -> User:
    return User(**row._mapping)  # noqa: SLF001 - a documented attribute, its underscore keeps columns apart
