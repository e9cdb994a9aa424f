"""Tokens for programs."""

import asyncio
import math
import time
from uuid import uuid4

import pytest
from book_db.accounts import api_tokens as api_tokens_module
from book_db.accounts.api_tokens import ApiTokens
from book_db.accounts.secret_tokens import digest
from book_db.accounts.users import EVERYTHING, Access, Users
from book_db.errors import ApiTokenNotFound, TooManyApiTokens, UserNotFound
from book_db.postgres.database import Database
from book_db.tables import User
from support.data_layer import Query

READ = ["books:read"]


@pytest.fixture
def users(database: Database) -> Users:
    return Users(database)


@pytest.fixture
def api_tokens(database: Database) -> ApiTokens:
    return ApiTokens(database)


@pytest.fixture
async def user(users: Users) -> User:
    return await users.add({"email": "ada@example.org", "hashed_password": "x"})


async def is_good(api_tokens: ApiTokens, token: str) -> bool:
    return digest(token) in await api_tokens.good([digest(token)])


class TestANewToken:
    async def test_is_good_for_its_user_its_scopes_and_its_time(self, api_tokens: ApiTokens, user: User) -> None:
        began = time.monotonic()
        made, token = await api_tokens.add(user.id, "backup", ["books:write", "books:read"], days=30)
        assert (made.name, made.scopes) == ("backup", ["books:read", "books:write"])
        assert (made.expires_at - made.created_at).days == 30
        good = (await api_tokens.good([digest(token)]))[digest(token)]
        assert (good.user_id, good.scopes) == (user.id, frozenset(("books:read", "books:write")))
        assert 0 <= 30 * 86_400 - good.seconds_left <= math.ceil(time.monotonic() - began)

    async def test_is_stored_as_a_digest(self, api_tokens: ApiTokens, user: User, query: Query) -> None:
        _, token = await api_tokens.add(user.id, "backup", READ, days=30)
        assert query("SELECT hash FROM api_tokens") == [(digest(token),)]
        [[everything]] = query("SELECT t::text FROM api_tokens t")
        assert token not in everything

    async def test_is_listed_without_the_token_the_newest_first(self, api_tokens: ApiTokens, user: User) -> None:
        made = [await api_tokens.add(user.id, name, READ, days=30) for name in ("one", "two")]
        assert await api_tokens.of(user.id) == [made[1][0], made[0][0]]
        assert await api_tokens.of(uuid4()) == []

    async def test_is_made_for_nobody_who_is_gone_or_not_active(
        self, api_tokens: ApiTokens, users: Users, user: User
    ) -> None:
        await users.change(user.id, {"is_active": False}, decided_on={"id": user.id})
        for user_id in (user.id, uuid4()):
            with pytest.raises(UserNotFound):
                await api_tokens.add(user_id, "backup", READ, days=30)


class TestHowMany:
    async def test_is_bounded_also_for_those_who_ask_at_once(
        self, api_tokens: ApiTokens, user: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(api_tokens_module, "MOST", 5)
        answers = await asyncio.gather(
            *(api_tokens.add(user.id, "backup", READ, days=30) for _ in range(12)), return_exceptions=True
        )
        assert [type(answer) for answer in answers].count(TooManyApiTokens) == 7
        assert len(await api_tokens.of(user.id)) == 5

    async def test_does_not_count_those_that_have_expired_which_are_swept(
        self, api_tokens: ApiTokens, user: User, query: Query, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(api_tokens_module, "MOST", 1)
        await api_tokens.add(user.id, "old", READ, days=0)
        made, _ = await api_tokens.add(user.id, "new", READ, days=30)
        assert query("SELECT id FROM api_tokens") == [(made.id,)]


class TestATokenThatIsOver:
    async def test_has_expired(self, api_tokens: ApiTokens, user: User) -> None:
        _, token = await api_tokens.add(user.id, "old", READ, days=0)
        assert not await is_good(api_tokens, token)
        assert await api_tokens.of(user.id) == []

    async def test_was_removed(self, api_tokens: ApiTokens, user: User) -> None:
        made, token = await api_tokens.add(user.id, "backup", READ, days=30)
        _, other = await api_tokens.add(user.id, "other", READ, days=30)
        await api_tokens.remove(user.id, made.id)
        assert not await is_good(api_tokens, token)
        assert await is_good(api_tokens, other)
        with pytest.raises(ApiTokenNotFound):
            await api_tokens.remove(user.id, made.id)

    async def test_cannot_be_removed_by_another(self, api_tokens: ApiTokens, user: User) -> None:
        made, token = await api_tokens.add(user.id, "backup", READ, days=30)
        with pytest.raises(ApiTokenNotFound):
            await api_tokens.remove(uuid4(), made.id)
        assert await is_good(api_tokens, token)

    async def test_has_a_user_who_is_not_active_or_gone(self, api_tokens: ApiTokens, users: Users, user: User) -> None:
        _, token = await api_tokens.add(user.id, "backup", READ, days=30)
        await users.change(user.id, {"is_active": False}, decided_on={"id": user.id})
        assert not await is_good(api_tokens, token)
        await users.remove(user.id)
        assert not await is_good(api_tokens, token)

    async def test_was_taken_back_with_all_others_of_its_user(
        self, api_tokens: ApiTokens, users: Users, user: User
    ) -> None:
        _, token = await api_tokens.add(user.id, "backup", READ, days=30)
        await users.change(user.id, {"hashed_password": "y"}, decided_on={"id": user.id}, ends=Access.SESSIONS)
        assert await is_good(api_tokens, token)
        await users.change(user.id, {"hashed_password": "z"}, decided_on={"id": user.id}, ends=EVERYTHING)
        assert not await is_good(api_tokens, token)
