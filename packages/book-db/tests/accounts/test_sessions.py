"""Refresh tokens: each is good once, and one that comes again ends its session."""

import asyncio
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID, uuid4

import pytest
from book_db.accounts.secret_tokens import API_TOKEN, REFRESH_TOKEN, digest, new_token
from book_db.accounts.sessions import Client, Sessions, SignIn
from book_db.accounts.users import Access, Users
from book_db.errors import RefreshRefused, SessionNotFound
from book_db.postgres.database import Database
from book_db.tables import User
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs
from support.data_layer import Query

AT_ONCE = 10
FAMILIES = 20


@pytest.fixture
def users(database: Database) -> Users:
    return Users(database)


@pytest.fixture
def sessions(database: Database) -> Sessions:
    return Sessions(database)


@pytest.fixture
async def user(users: Users) -> User:
    return await users.add({"email": f"{uuid4()}@example.org", "hashed_password": "x"})


@pytest.fixture
async def signed_in(sessions: Sessions, user: User) -> SignIn:
    return await sessions.begin(user.id, 3_600)


class TestRefresh:
    async def test_gives_another_token_of_the_same_session(self, sessions: Sessions, signed_in: SignIn) -> None:
        refreshed = await sessions.refresh(signed_in.refresh_token, 3_600)
        assert refreshed[:2] == signed_in[:2]
        assert refreshed.refresh_token != signed_in.refresh_token
        again = await sessions.refresh(refreshed.refresh_token, 3_600)
        assert again.session_id == signed_in.session_id
        assert signed_in.session_id in await sessions.live([signed_in.session_id])

    async def test_slides_the_end_of_the_session_on(self, sessions: Sessions, user: User) -> None:
        signed_in = await sessions.begin(user.id, 60)
        [before] = await sessions.of(user.id)
        await sessions.refresh(signed_in.refresh_token, 7_200)
        [after] = await sessions.of(user.id)
        assert after.created_at == before.created_at
        assert after.last_used_at > before.last_used_at
        assert (after.expires_at - after.last_used_at).total_seconds() == 7_200

    async def test_stores_digests_alone(self, sessions: Sessions, signed_in: SignIn, query: Query) -> None:
        refreshed = await sessions.refresh(signed_in.refresh_token, 3_600)
        tokens = [signed_in.refresh_token, refreshed.refresh_token]
        assert {row[0] for row in query("SELECT hash FROM refresh_tokens")} == {digest(token) for token in tokens}
        [[everything]] = query("SELECT string_agg(t::text || s::text, '') FROM refresh_tokens t, sessions s")
        assert not any(token in everything for token in tokens)

    async def test_marks_the_one_and_makes_the_other_together(
        self, sessions: Sessions, signed_in: SignIn, query: Query
    ) -> None:
        await sessions.refresh(signed_in.refresh_token, 3_600)
        assert query("SELECT used_at IS NULL FROM refresh_tokens ORDER BY created_at") == [(False,), (True,)]

    @pytest.mark.parametrize(
        "token",
        [
            pytest.param(new_token(REFRESH_TOKEN)[:-8] + "00000000", id="mistyped"),
            pytest.param("", id="empty"),
            pytest.param("\ud800\0", id="garbage"),
        ],
    )
    async def test_refuses_what_is_no_token(self, sessions: Sessions, signed_in: SignIn, token: str) -> None:
        with pytest.raises(RefreshRefused):
            await sessions.refresh(token, 3_600)

    @pytest.mark.parametrize("prefix", [REFRESH_TOKEN, API_TOKEN])
    async def test_refuses_one_that_nobody_was_given(self, sessions: Sessions, signed_in: SignIn, prefix: str) -> None:
        with pytest.raises(RefreshRefused):
            await sessions.refresh(new_token(prefix), 3_600)
        assert signed_in.session_id in await sessions.live([signed_in.session_id])

    async def test_refuses_one_that_has_expired(self, sessions: Sessions, user: User) -> None:
        expired = await sessions.begin(user.id, 0)
        with pytest.raises(RefreshRefused):
            await sessions.refresh(expired.refresh_token, 3_600)

    async def test_refuses_one_whose_session_has_ended(self, sessions: Sessions, signed_in: SignIn) -> None:
        await sessions.end(signed_in.session_id)
        with capture_logs() as logs, pytest.raises(RefreshRefused):
            await sessions.refresh(signed_in.refresh_token, 3_600)
        assert logs == []

    async def test_refuses_an_inactive_user(self, sessions: Sessions, users: Users, signed_in: SignIn) -> None:
        await users.change(signed_in.user_id, {"is_active": False}, decided_on={"id": signed_in.user_id})
        with pytest.raises(RefreshRefused):
            await sessions.refresh(signed_in.refresh_token, 3_600)

    async def test_refuses_a_user_who_was_removed(self, sessions: Sessions, users: Users, signed_in: SignIn) -> None:
        await users.remove(signed_in.user_id)
        with pytest.raises(RefreshRefused):
            await sessions.refresh(signed_in.refresh_token, 3_600)


class TestATokenThatComesAgain:
    async def test_ends_its_session_and_no_other(self, sessions: Sessions, user: User, signed_in: SignIn) -> None:
        other = await sessions.begin(user.id, 3_600)
        newest = await sessions.refresh(signed_in.refresh_token, 3_600)
        with pytest.raises(RefreshRefused):
            await sessions.refresh(signed_in.refresh_token, 3_600)
        assert set(await sessions.live([signed_in.session_id, other.session_id])) == {other.session_id}
        with pytest.raises(RefreshRefused):
            await sessions.refresh(newest.refresh_token, 3_600)
        await sessions.refresh(other.refresh_token, 3_600)

    async def test_invalidates_the_cached_caller(self, sessions: Sessions, signed_in: SignIn) -> None:
        told: list[str] = []
        sessions.on_change(told.append)
        await sessions.refresh(signed_in.refresh_token, 3_600)
        assert told == []
        with pytest.raises(RefreshRefused):
            await sessions.refresh(signed_in.refresh_token, 3_600)
        assert told == [str(signed_in.user_id)]

    async def test_is_logged_once_and_without_the_token(self, sessions: Sessions, signed_in: SignIn) -> None:
        await sessions.refresh(signed_in.refresh_token, 3_600)
        with capture_logs() as logs:
            for _ in range(3):
                with pytest.raises(RefreshRefused):
                    await sessions.refresh(signed_in.refresh_token, 3_600)
        [line] = logs
        assert (line["log_level"], line["session"], line["user"]) == (
            "warning",
            signed_in.session_id,
            signed_in.user_id,
        )
        assert signed_in.refresh_token not in str(line)
        assert digest(signed_in.refresh_token).hex() not in str(line)

    async def test_is_known_for_as_long_as_it_could_have_been_good_unused(
        self, sessions: Sessions, signed_in: SignIn, query: Query
    ) -> None:
        """And no longer, so that a session that lives for years does not gather a row for each quarter of an hour."""
        token = signed_in.refresh_token
        for _ in range(5):
            token = (await sessions.refresh(token, 3_600)).refresh_token
        query("UPDATE refresh_tokens SET created_at = created_at - interval '1 hour' WHERE used_at IS NOT NULL")
        token = (await sessions.refresh(token, 3_600)).refresh_token
        assert query("SELECT count(*) FROM refresh_tokens") == [(2,)]
        with pytest.raises(RefreshRefused):
            await sessions.refresh(signed_in.refresh_token, 3_600)
        await sessions.refresh(token, 3_600)


class TestManyAtOnce:
    async def test_with_one_token_exactly_one_wins_and_the_session_ends(self, sessions: Sessions, user: User) -> None:
        families = [await sessions.begin(user.id, 3_600) for _ in range(FAMILIES)]
        for family in families:
            answers = await asyncio.gather(
                *(sessions.refresh(family.refresh_token, 3_600) for _ in range(AT_ONCE)), return_exceptions=True
            )
            assert sum(isinstance(answer, SignIn) for answer in answers) == 1
            assert sum(isinstance(answer, RefreshRefused) for answer in answers) == AT_ONCE - 1
        assert await sessions.live([family.session_id for family in families]) == {}
        print(
            f"{FAMILIES} tokens, each refreshed {AT_ONCE} times at once: {FAMILIES} winners, {FAMILIES} sessions ended"
        )

    async def test_of_different_sessions_all_win(self, sessions: Sessions, user: User) -> None:
        families = [await sessions.begin(user.id, 3_600) for _ in range(FAMILIES)]
        answers = await asyncio.gather(*(sessions.refresh(family.refresh_token, 3_600) for family in families))
        assert {answer.session_id for answer in answers} == {family.session_id for family in families}

    async def test_no_refresh_outlives_a_sign_out_everywhere(
        self, sessions: Sessions, users: Users, user: User
    ) -> None:
        families = [await sessions.begin(user.id, 3_600) for _ in range(FAMILIES)]
        change = users.change(user.id, {"hashed_password": "y"}, decided_on={"id": user.id}, ends=Access.SESSIONS)
        answers = await asyncio.gather(
            change, *(sessions.refresh(each.refresh_token, 3_600) for each in families), return_exceptions=True
        )
        assert await sessions.live([family.session_id for family in families]) == {}
        for answer in answers:
            if isinstance(answer, SignIn):
                with pytest.raises(RefreshRefused):
                    await sessions.refresh(answer.refresh_token, 3_600)


@dataclass
class Family:
    """What a session must be like after what was done to it."""

    session_id: UUID
    tokens: list[str]
    live: bool = True
    used: set[str] = field(default_factory=set)

    def takes(self, token: str) -> bool:
        return self.live and token not in self.used


Step = tuple[Literal["begin", "refresh", "end"], int, int]
STEPS = st.tuples(
    st.sampled_from(["begin", "refresh", "refresh", "refresh", "refresh", "end"]),
    st.integers(0, 2),
    st.integers(-3, -1),
)


class TestAnySequence:
    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(steps=st.lists(STEPS, max_size=15))
    async def test_leaves_each_session_as_its_tokens_were_used(
        self, sessions: Sessions, users: Users, steps: list[Step]
    ) -> None:
        user = await users.add({"email": f"{uuid4()}@example.org", "hashed_password": "x"})
        families: list[Family] = []
        for step, which, age in [("begin", 0, -1), *steps]:
            family = families[which % len(families)] if families else None
            if step == "begin" or family is None:
                begun = await sessions.begin(user.id, 3_600)
                families.append(Family(begun.session_id, [begun.refresh_token]))
            elif step == "end":
                await sessions.end(family.session_id)
                family.live = False
            else:
                await self._refresh(sessions, family, family.tokens[max(age, -len(family.tokens))])
        live = await sessions.live([family.session_id for family in families])
        assert set(live) == {family.session_id for family in families if family.live}

    async def _refresh(self, sessions: Sessions, family: Family, token: str) -> None:
        if family.takes(token):
            family.tokens.append((await sessions.refresh(token, 3_600)).refresh_token)
            family.used.add(token)
        else:
            with pytest.raises(RefreshRefused):
                await sessions.refresh(token, 3_600)
            family.live = False


class TestTheListOfSessions:
    async def test_has_those_that_are_live_the_last_used_first(self, sessions: Sessions, user: User) -> None:
        first, second, ended = [await sessions.begin(user.id, 3_600) for _ in range(3)]
        await sessions.begin(user.id, 0)
        await sessions.end(ended.session_id)
        await sessions.refresh(first.refresh_token, 3_600)
        assert [each.id for each in await sessions.of(user.id)] == [first.session_id, second.session_id]

    async def test_tells_where_each_came_from(self, sessions: Sessions, user: User) -> None:
        await sessions.begin(user.id, 3_600, client=Client("curl/8.0", "192.0.2.7"))
        [session] = await sessions.of(user.id)
        assert (session.user_agent, session.address) == ("curl/8.0", "192.0.2.7")

    async def test_has_no_others(self, sessions: Sessions, signed_in: SignIn, users: Users) -> None:
        other = await users.add({"email": "grace@example.org", "hashed_password": "x"})
        assert await sessions.of(other.id) == []


class TestEndOne:
    async def test_ends_it(self, sessions: Sessions, signed_in: SignIn) -> None:
        await sessions.end_one(signed_in.user_id, signed_in.session_id)
        assert await sessions.live([signed_in.session_id]) == {}

    async def test_knows_no_difference_between_anothers_and_none(
        self, sessions: Sessions, users: Users, signed_in: SignIn
    ) -> None:
        other = await users.add({"email": "grace@example.org", "hashed_password": "x"})
        for session_id in (signed_in.session_id, uuid4()):
            with pytest.raises(SessionNotFound):
                await sessions.end_one(other.id, session_id)
        assert signed_in.session_id in await sessions.live([signed_in.session_id])

    async def test_finds_none_that_is_over(self, sessions: Sessions, user: User) -> None:
        expired = await sessions.begin(user.id, 0)
        with pytest.raises(SessionNotFound):
            await sessions.end_one(user.id, expired.session_id)


class TestTheSweep:
    async def test_at_sign_in_takes_what_is_over_with_its_tokens(
        self, sessions: Sessions, user: User, query: Query
    ) -> None:
        await sessions.begin(user.id, 0)
        ended = await sessions.begin(user.id, 3_600)
        await sessions.end(ended.session_id)
        current = await sessions.begin(user.id, 3_600)
        assert query("SELECT id FROM sessions") == [(current.session_id,)]
        assert query("SELECT session_id FROM refresh_tokens") == [(current.session_id,)]
