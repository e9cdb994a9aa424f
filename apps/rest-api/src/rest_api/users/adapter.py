"""What fastapi-users asks of a database, answered by book_db."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import UUID

from book_db.accounts.oauth_accounts import OAuthAccounts, ProviderAccount
from book_db.accounts.users import NOTHING, Access, Users
from book_db.errors import EmailTaken, UserNotFound
from fastapi_users.db import BaseUserDatabase
from fastapi_users.exceptions import UserAlreadyExists, UserNotExists

from rest_api.users.accounts import Account
from rest_api.users.addresses import normalised


class UserDatabase(BaseUserDatabase[Account, UUID]):
    """Users by id and by e-mail. A user who may no longer sign in is signed out when the call returns."""

    def __init__(self, users: Users, oauth_accounts: OAuthAccounts) -> None:
        self._users = users
        self._oauth_accounts = oauth_accounts

    async def get(self, id: UUID) -> Account | None:  # noqa: A002  # fastapi-users names it so
        return await self._users.get(id)

    async def get_by_email(self, email: str) -> Account | None:
        try:
            return await self._users.by_email(normalised(email))
        except ValueError:  # nobody has an address that is none
            return None

    async def get_by_oauth_account(self, oauth: str, account_id: str) -> Account | None:
        return await self._oauth_accounts.user_of(oauth, account_id)

    async def create(self, create_dict: dict[str, Any]) -> Account:
        with _in_words_of_fastapi_users():
            return await self._users.add(create_dict)

    async def update(
        self,
        user: Account,
        update_dict: dict[str, Any],
        *,
        decided_on: Collection[str] = (),
        within: UUID | None = None,
        ends: Access = NOTHING,
    ) -> Account:
        """Changes a user, if the columns that it was ``decided_on`` are still what they are in ``user``, and the
        session ``within`` which it was asked for is live. What it ``ends`` is over at once, but for that session.

        Raises Overtaken.
        """
        if not update_dict:
            return user
        with _in_words_of_fastapi_users():
            return await self._users.change(
                user.id,
                update_dict,
                decided_on={column: getattr(user, column) for column in decided_on},
                within=within,
                ends=ends,
            )

    async def rehash(self, user: Account, better_hash: str) -> Account | None:
        """The user with a better hash of the same password; None if the user has another one by now."""
        return await self._users.rehash(user.id, user.hashed_password, better_hash)

    async def delete(self, user: Account) -> None:
        await self._users.remove(user.id)

    async def create_with_oauth_account(self, account: ProviderAccount, values: dict[str, Any]) -> Account:
        """A new user, whose address the provider has verified. Raises Overtaken."""
        return await self._oauth_accounts.add_user({**values, "is_verified": True}, account)

    async def link_oauth_account(self, user: Account, account: ProviderAccount) -> None:
        """Raises Overtaken."""
        await self._oauth_accounts.link(user.id, account)

    async def note_oauth_address(self, account: ProviderAccount) -> None:
        # One that is no address is kept as the provider tells it: it is shown, and found by nobody.
        with suppress(ValueError):
            account = account._replace(email=normalised(account.email))
        await self._oauth_accounts.note_address(account)


@contextmanager
def _in_words_of_fastapi_users() -> Iterator[None]:
    try:
        yield
    except EmailTaken as error:
        raise UserAlreadyExists from error
    except UserNotFound as error:
        raise UserNotExists from error
