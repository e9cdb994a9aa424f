"""Accounts with providers that users sign in with."""

import asyncio
from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

import pytest
from book_db.accounts.oauth_accounts import OAuthAccounts, ProviderAccount
from book_db.accounts.sessions import Sessions
from book_db.accounts.users import Users
from book_db.errors import LinkNotFound, Overtaken
from book_db.postgres.database import Database
from book_db.tables import User
from sqlalchemy.exc import IntegrityError
from support.data_layer import Query

ACCOUNT = ProviderAccount("github", "1", "ada@example.org")


@pytest.fixture
def sessions(database: Database) -> Sessions:
    return Sessions(database)


@pytest.fixture
def users(database: Database) -> Users:
    return Users(database)


@pytest.fixture
def accounts(database: Database) -> OAuthAccounts:
    return OAuthAccounts(database)


@pytest.fixture
async def ada(users: Users) -> User:
    return await users.add({"email": "Ada@example.org", "hashed_password": "x", "is_verified": True})


class TestANewUser:
    async def test_has_the_account(self, accounts: OAuthAccounts) -> None:
        user = await accounts.add_user({"hashed_password": "x", "is_verified": True}, ACCOUNT)
        found = await accounts.user_of("github", "1")
        assert found is not None
        assert (found.id, found.email, found.is_verified) == (user.id, "ada@example.org", True)

    async def test_is_one_of_many_at_once(self, accounts: OAuthAccounts, query: Query) -> None:
        adding = (accounts.add_user({"hashed_password": "x"}, ACCOUNT) for _ in range(5))
        answers = await asyncio.gather(*adding, return_exceptions=True)
        assert [type(answer) for answer in answers].count(Overtaken) == 4
        assert query("SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM oauth_accounts)") == [(1, 1)]

    async def test_is_not_made_without_the_account(self, accounts: OAuthAccounts, ada: User, query: Query) -> None:
        await accounts.link(ada.id, ACCOUNT)
        with pytest.raises(Overtaken):
            await accounts.add_user({"hashed_password": "x"}, ACCOUNT._replace(email="grace@example.org"))
        assert query("SELECT count(*) FROM users") == [(1,)]

    async def test_is_not_taken_for_overtaken_when_something_else_is_wrong(self, accounts: OAuthAccounts) -> None:
        with pytest.raises(IntegrityError, match="hashed_password"):
            await accounts.add_user({"hashed_password": None}, ACCOUNT)


class TestALink:
    async def test_is_made_once_of_many_at_once(self, accounts: OAuthAccounts, ada: User, query: Query) -> None:
        linking = (accounts.link(ada.id, ACCOUNT) for _ in range(5))
        answers = await asyncio.gather(*linking, return_exceptions=True)
        assert [type(answer) for answer in answers].count(Overtaken) == 4
        assert query("SELECT user_id FROM oauth_accounts") == [(ada.id,)]

    @pytest.mark.parametrize(
        "meanwhile",
        [
            pytest.param({"email": "lovelace@example.org"}, id="another-address"),
            pytest.param({"is_verified": False}, id="unverified"),
            pytest.param({"is_active": False}, id="inactive"),
        ],
    )
    async def test_is_not_made_to_a_user_who_was_changed_meanwhile(
        self, accounts: OAuthAccounts, users: Users, ada: User, query: Query, meanwhile: Mapping[str, Any]
    ) -> None:
        await users.change(ada.id, meanwhile, decided_on={"id": ada.id})
        with pytest.raises(Overtaken):
            await accounts.link(ada.id, ACCOUNT)
        assert query("SELECT count(*) FROM oauth_accounts") == [(0,)]

    async def test_is_taken_away_by_its_user_alone(
        self, accounts: OAuthAccounts, sessions: Sessions, ada: User
    ) -> None:
        await accounts.link(ada.id, ACCOUNT)
        [link] = await accounts.links_of(ada.id)
        session_id = (await sessions.begin(ada.id, 60)).session_id
        proof: dict[str, Any] = {"hashed_password": ada.hashed_password, "within": session_id}
        with pytest.raises(LinkNotFound):
            await accounts.unlink(ada.id, UUID(int=0), **proof)
        for user_id, wrong in ((uuid4(), {}), (ada.id, {"hashed_password": "another"}), (ada.id, {"within": uuid4()})):
            with pytest.raises(Overtaken):
                await accounts.unlink(user_id, link.id, **proof | wrong)
        await accounts.unlink(ada.id, link.id, **proof)
        assert await accounts.links_of(ada.id) == []
        assert await accounts.user_of("github", "1") is None

    async def test_knows_the_address_that_the_provider_told_last(self, accounts: OAuthAccounts, ada: User) -> None:
        await accounts.link(ada.id, ACCOUNT)
        await accounts.note_address(ACCOUNT._replace(email="lovelace@example.org"))
        assert [link.account_email for link in await accounts.links_of(ada.id)] == ["lovelace@example.org"]
