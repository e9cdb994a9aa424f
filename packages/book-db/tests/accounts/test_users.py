"""Users and their sessions."""

import asyncio
from uuid import uuid4

import pytest
from book_db.accounts.sessions import LiveSession, Sessions
from book_db.accounts.users import Access, Users
from book_db.errors import EmailTaken, Overtaken, UserNotFound
from book_db.postgres.database import Database
from book_db.roles import Role
from book_db.tables import User
from sqlalchemy.exc import IntegrityError
from support.data_layer import Query


@pytest.fixture
def users(database: Database) -> Users:
    return Users(database)


@pytest.fixture
def sessions(database: Database) -> Sessions:
    return Sessions(database)


@pytest.fixture
async def user(users: Users) -> User:
    return await users.add({"email": "Ada@example.org", "hashed_password": "x"})


class TestUsers:
    async def test_a_new_user_is_active_and_nothing_more(self, user: User) -> None:
        assert (user.is_active, user.is_superuser, user.is_verified) == (True, False, False)

    async def test_is_found_by_id_and_by_address_in_any_case(self, users: Users, user: User) -> None:
        for found in (await users.get(user.id), await users.by_email("aDA@EXAMPLE.org")):
            assert found is not None
            assert (found.id, found.email) == (user.id, "Ada@example.org")

    async def test_nobody_is_found_as_none(self, users: Users) -> None:
        assert await users.get(uuid4()) is None
        assert await users.by_email("nobody@example.org") is None

    async def test_an_address_belongs_to_one_user_in_any_case(self, users: Users, user: User) -> None:
        with pytest.raises(EmailTaken):
            await users.add({"email": "ada@example.org", "hashed_password": "y"})
        other = await users.add({"email": "grace@example.org", "hashed_password": "y"})
        with pytest.raises(EmailTaken):
            await users.change(other.id, {"email": "ADA@example.org"}, decided_on={"id": other.id})

    async def test_two_mailboxes_are_two_accounts(self, users: Users) -> None:
        """Whatever PostgreSQL's lower makes of them, which differs from one collation to the next."""
        pairs = [("İnes@example.org", "ines@example.org"), ("strasse@example.org", "straße@example.org")]
        for pair in pairs:
            added = [await users.add({"email": email, "hashed_password": "x"}) for email in pair]
            found = [await users.by_email(email) for email in pair]
            assert [each and each.id for each in found] == [each.id for each in added]

    async def test_an_address_is_found_in_any_case_that_unicode_knows(self, users: Users) -> None:
        added = await users.add({"email": "Ελένη.ΝΙΚΟΣ@example.org", "hashed_password": "x"})
        found = await users.by_email("ΕΛΈΝΗ.νικος@EXAMPLE.org")
        assert found is not None
        assert found.id == added.id

    async def test_of_two_who_register_the_same_address_at_once_one_does(self, users: Users) -> None:
        values = {"email": "ada@example.org", "hashed_password": "x"}
        answers = await asyncio.gather(*(users.add(values) for _ in range(5)), return_exceptions=True)
        assert [type(answer) for answer in answers].count(EmailTaken) == 4
        assert [type(answer) for answer in answers].count(User) == 1

    async def test_what_else_is_wrong_with_a_user_is_not_taken_for_that(self, users: Users) -> None:
        with pytest.raises(IntegrityError, match="hashed_password"):
            await users.add({"email": "ada@example.org", "hashed_password": None})

    async def test_a_change_is_seen_and_returned(self, users: Users, user: User) -> None:
        assert (await users.change(user.id, {"is_verified": True}, decided_on={"id": user.id})).is_verified
        found = await users.get(user.id)
        assert found is not None
        assert found.is_verified

    async def test_a_user_who_is_gone_cannot_be_changed(self, users: Users, user: User) -> None:
        await users.remove(user.id)
        with pytest.raises(UserNotFound):
            await users.change(user.id, {"is_verified": True}, decided_on={"id": user.id})

    async def test_a_change_that_was_decided_on_what_is_so_no_more_is_not_done(self, users: Users, user: User) -> None:
        """Whatever column it is, and also where it would change nothing."""
        for column, seen in {"email": "x@example.org", "hashed_password": "y", "is_active": False}.items():
            with pytest.raises(Overtaken):
                await users.change(user.id, {"is_verified": True}, decided_on={"id": user.id, column: seen})
        found = await users.get(user.id)
        assert found is not None
        assert not found.is_verified

    async def test_a_change_must_say_what_it_was_decided_on(self, users: Users, user: User) -> None:
        with pytest.raises(ValueError, match="decided on"):
            await users.change(user.id, {"is_verified": True}, decided_on={})

    async def test_a_change_is_not_done_in_a_session_of_somebody_else_or_one_that_is_over(
        self, users: Users, sessions: Sessions, user: User
    ) -> None:
        other = await users.add({"email": "grace@example.org", "hashed_password": "x"})
        others, over = [(await sessions.begin(of, 60)).session_id for of in (other.id, user.id)]
        await sessions.end(over)
        for session_id in (others, over, uuid4()):
            with pytest.raises(Overtaken):
                await users.change(
                    user.id, {"hashed_password": "y"}, decided_on={"email": user.email}, within=session_id
                )
        found = await users.get(user.id)
        assert found is not None
        assert found.hashed_password == "x"

    async def test_pages_bring_everybody_once(self, users: Users) -> None:
        everybody = {(await users.add({"email": f"{n}@example.org", "hashed_password": "x"})).id for n in range(7)}
        seen: list[User] = []
        while page := await users.page(3, seen[-1].id if seen else None):
            seen += page
        assert len(seen) == 7
        assert {user.id for user in seen} == everybody


class TestSessions:
    async def test_a_session_is_live_until_it_ends(self, sessions: Sessions, user: User) -> None:
        session_id = (await sessions.begin(user.id, 60)).session_id
        assert await sessions.live([session_id, uuid4()]) == {session_id: LiveSession(user.id, Role.EDITOR)}
        await sessions.end(session_id)
        assert await sessions.live([session_id]) == {}

    async def test_one_that_ends_leaves_the_others(self, sessions: Sessions, user: User) -> None:
        ended, kept = [(await sessions.begin(user.id, 60)).session_id for _ in range(2)]
        await sessions.end(ended)
        assert set(await sessions.live([ended, kept])) == {kept}

    async def test_all_of_a_user_can_be_ended(self, sessions: Sessions, user: User) -> None:
        ids = [(await sessions.begin(user.id, 60)).session_id for _ in range(3)]
        await sessions.end_all(user.id)
        assert await sessions.live(ids) == {}

    async def test_a_change_can_end_all_but_the_one_it_came_from(
        self, users: Users, sessions: Sessions, user: User
    ) -> None:
        other, own = [(await sessions.begin(user.id, 60)).session_id for _ in range(2)]
        await users.change(
            user.id, {"hashed_password": "y"}, decided_on={"id": user.id}, within=own, ends=Access.SESSIONS
        )
        assert set(await sessions.live([other, own])) == {own}

    async def test_one_that_has_expired_is_not_live_and_is_swept_at_the_next_sign_in(
        self, sessions: Sessions, user: User, query: Query
    ) -> None:
        expired = (await sessions.begin(user.id, 0)).session_id
        assert await sessions.live([expired]) == {}
        current = (await sessions.begin(user.id, 60)).session_id
        assert query("SELECT id FROM sessions") == [(current,)]

    async def test_of_a_user_who_is_not_active_none_is_live(self, users: Users, sessions: Sessions, user: User) -> None:
        session_id = (await sessions.begin(user.id, 60)).session_id
        await users.change(user.id, {"is_active": False}, decided_on={"id": user.id})
        assert await sessions.live([session_id]) == {}

    async def test_of_a_user_who_was_removed_none_is_left(
        self, users: Users, sessions: Sessions, user: User, query: Query
    ) -> None:
        await sessions.begin(user.id, 60)
        await users.remove(user.id)
        assert query("SELECT id FROM sessions") == []
        with pytest.raises(UserNotFound):
            await sessions.begin(user.id, 60)

    async def test_ending_one_that_is_over_or_never_was_changes_nothing(
        self, sessions: Sessions, user: User, query: Query
    ) -> None:
        session_id = (await sessions.begin(user.id, 60)).session_id
        await sessions.end(session_id)
        [[ended_at]] = query("SELECT ended_at FROM sessions")
        await sessions.end(session_id)
        await sessions.end(uuid4())
        assert query("SELECT ended_at FROM sessions") == [(ended_at,)]
