"""Who is calling: remembered for the sake of speed, forgotten at once for the sake of safety."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from book_db.accounts import authentication as authentication_module
from book_db.accounts import sessions as sessions_module
from book_db.accounts.api_tokens import ApiTokens
from book_db.accounts.authentication import Authenticator, Caller
from book_db.accounts.invalidation import CALLERS_CHANGED
from book_db.accounts.secret_tokens import API_TOKEN, REFRESH_TOKEN, digest, new_token
from book_db.accounts.sessions import LiveSession, Sessions
from book_db.accounts.users import EVERYTHING, Users
from book_db.errors import InsufficientRole, InsufficientScope, RefreshRefused, SessionRequired
from book_db.postgres.database import Database
from book_db.postgres.listener import Listener
from book_db.roles import ALL_SCOPES, READ_BOOKS, WRITE_BOOKS, Role
from book_db.tables import RefreshTokenRow, User
from book_runtime.tokens import Claims, InvalidToken, TokenVerifier
from sqlalchemy import insert
from structlog.testing import capture_logs
from support.data_layer import Query, StatementsOf
from support.postgresql import PostgreSQLServer
from support.proxy import Proxy
from support.waiting import patiently, until

AN_HOUR = 3_600
"""Seconds. What is remembered for so long is forgotten by itself in no test."""


class PlainTokens(TokenVerifier):
    """Takes "user session" for a token. What a signature is worth, test_tokens.py says."""

    def __init__(self) -> None:
        self.expires_in = 3600.0

    def verify(self, token: str) -> Claims:
        if " " not in token:
            raise InvalidToken("it is malformed")
        subject, session = map(UUID, token.split())
        if self.expires_in <= 0:
            raise InvalidToken("it has expired")
        return Claims(subject, session, datetime.now(UTC) + timedelta(seconds=self.expires_in))


@asynccontextmanager
async def running(listener: Listener) -> AsyncIterator[None]:
    task = asyncio.create_task(listener.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


@asynccontextmanager
async def hearing(authenticator: Authenticator, url: str) -> AsyncIterator[None]:
    """With its listener connected, as in a process that is up."""
    async with running(authenticator.listener(url)):
        await until(lambda: authenticator._is_connected, "notifications are heard")
        yield


@pytest.fixture
def clock(clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What callers are remembered by."""
    monkeypatch.setattr(authentication_module, "time", clock)
    return clock


@pytest.fixture
def verifier() -> PlainTokens:
    return PlainTokens()


@pytest.fixture
def users(database: Database) -> Users:
    return Users(database)


@pytest.fixture
def sessions(database: Database) -> Sessions:
    return Sessions(database)


@pytest.fixture
async def user(users: Users) -> User:
    return await users.add({"email": "ada@example.org", "hashed_password": "x"})


@pytest.fixture
async def session_id(sessions: Sessions, user: User) -> UUID:
    return (await sessions.begin(user.id, 3600)).session_id


@pytest.fixture
def token(user: User, session_id: UUID) -> str:
    return f"{user.id} {session_id}"


@pytest.fixture
async def authenticator(
    verifier: PlainTokens, sessions: Sessions, database: Database, database_url: str
) -> AsyncIterator[Authenticator]:
    authenticator = Authenticator(verifier, sessions, ApiTokens(database))
    async with hearing(authenticator, database_url):
        yield authenticator


@pytest.fixture
async def other_process(verifier: PlainTokens, database_url: str) -> AsyncIterator[Authenticator]:
    database = Database.open(database_url)
    authenticator = Authenticator(verifier, Sessions(database), ApiTokens(database))
    async with hearing(authenticator, database_url):
        yield authenticator
    await database.close()


async def _replay(sessions: Sessions, user: User, session_id: UUID) -> None:
    """What a thief does, or whoever comes after one."""
    database, token = sessions._database, new_token(REFRESH_TOKEN)
    async with database.transaction() as connection:
        values = {"hash": digest(token), "session_id": session_id}
        await connection.execute(insert(RefreshTokenRow).values(**values))
    await sessions.refresh(token, 3600)
    with pytest.raises(RefreshRefused):
        await sessions.refresh(token, 3600)


Ending = Callable[[Users, Sessions, User, UUID], Any]

ENDINGS = [
    pytest.param(lambda users, sessions, user, session: sessions.end(session), id="signed-out"),
    pytest.param(lambda users, sessions, user, session: sessions.end_one(user.id, session), id="signed-out-from-afar"),
    pytest.param(lambda users, sessions, user, session: sessions.end_all(user.id), id="signed-out-everywhere"),
    pytest.param(lambda users, sessions, user, session: _replay(sessions, user, session), id="refresh-token-replayed"),
    pytest.param(
        lambda users, sessions, user, session: users.change(user.id, {"is_active": False}, decided_on={"id": user.id}),
        id="deactivated",
    ),
    pytest.param(lambda users, sessions, user, session: users.remove(user.id), id="removed"),
]


class TestIdentify:
    async def test_tells_the_user_and_the_session(
        self, authenticator: Authenticator, token: str, user: User, session_id: UUID
    ) -> None:
        assert await authenticator.authenticate(token) == Caller(user.id, session_id, ALL_SCOPES, Role.EDITOR)

    async def test_remembers_the_answer(
        self, authenticator: Authenticator, token: str, database: Database, statements_of: StatementsOf
    ) -> None:
        await authenticator.authenticate(token)
        with statements_of(database) as statements:
            await authenticator.authenticate(token)
        assert statements == []

    async def test_asks_once_for_many_who_come_at_once(
        self, authenticator: Authenticator, token: str, database: Database, statements_of: StatementsOf
    ) -> None:
        with statements_of(database) as statements:
            await asyncio.gather(*(authenticator.authenticate(token) for _ in range(20)))
        assert len(statements) == 1

    async def test_refuses_a_bad_token(self, authenticator: Authenticator) -> None:
        with pytest.raises(InvalidToken, match="malformed"):
            await authenticator.authenticate("bogus")

    async def test_refuses_a_session_that_never_was(self, authenticator: Authenticator, user: User) -> None:
        with pytest.raises(InvalidToken, match="its session has ended"):
            await authenticator.authenticate(f"{user.id} {uuid4()}")

    async def test_refuses_another_users_session(self, authenticator: Authenticator, session_id: UUID) -> None:
        with pytest.raises(InvalidToken):
            await authenticator.authenticate(f"{uuid4()} {session_id}")

    async def test_refuses_again_what_it_refused(
        self, authenticator: Authenticator, user: User, database: Database, statements_of: StatementsOf
    ) -> None:
        """Only good tokens are remembered: a stranger cannot fill the memory."""
        for _ in range(2):
            with pytest.raises(InvalidToken):
                await authenticator.authenticate(f"{user.id} {uuid4()}")
        assert authenticator._remembered == {}

    async def test_does_not_remember_longer_than_the_token_is_good(
        self, authenticator: Authenticator, token: str, verifier: PlainTokens, clock: SimpleNamespace
    ) -> None:
        verifier.expires_in = 3
        await authenticator.authenticate(token)
        verifier.expires_in = 0
        await authenticator.authenticate(token)
        clock.now = 3.1
        with pytest.raises(InvalidToken, match="expired"):
            await authenticator.authenticate(token)

    async def test_remembers_for_some_seconds_only(
        self,
        authenticator: Authenticator,
        token: str,
        database: Database,
        statements_of: StatementsOf,
        clock: SimpleNamespace,
    ) -> None:
        """Which bounds what a lost notification can do."""
        await authenticator.authenticate(token)
        with statements_of(database) as statements:
            for clock.now, looked_up in ((4.9, 0), (5.0, 1)):
                await authenticator.authenticate(token)
                assert len(statements) == looked_up

    async def test_remembers_a_bounded_number(
        self, authenticator: Authenticator, sessions: Sessions, user: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(authentication_module, "_REMEMBERED_MAX_TOKENS", 10)
        for _ in range(25):
            await authenticator.authenticate(f"{user.id} {(await sessions.begin(user.id, 60)).session_id}")
        assert 0 < len(authenticator._remembered) <= 10
        assert sum(map(len, authenticator._tokens.values())) <= 10


class TestACallerWhoIsOut:
    @pytest.mark.parametrize("end", ENDINGS)
    async def test_is_out_at_once_in_this_process(
        self,
        verifier: PlainTokens,
        users: Users,
        sessions: Sessions,
        token: str,
        user: User,
        session_id: UUID,
        end: Ending,
    ) -> None:
        """When the change is answered, before PostgreSQL has told of it: here it never does."""
        authenticator = Authenticator(verifier, sessions, ApiTokens(sessions._database))
        authenticator._on_connected()
        await authenticator.authenticate(token)
        assert list(authenticator._remembered) == [token]
        await end(users, sessions, user, session_id)
        with pytest.raises(InvalidToken):
            await authenticator.authenticate(token)

    @pytest.mark.parametrize("end", ENDINGS)
    async def test_is_refused_as_soon_as_another_process_is_notified(
        self,
        other_process: Authenticator,
        users: Users,
        sessions: Sessions,
        token: str,
        user: User,
        session_id: UUID,
        end: Ending,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(authentication_module, "_REMEMBERED_SECONDS", AN_HOUR)
        await other_process.authenticate(token)
        assert list(other_process._remembered) == [token]
        await end(users, sessions, user, session_id)
        await until(lambda: not other_process._remembered, "the caller is forgotten")
        with pytest.raises(InvalidToken):
            await other_process.authenticate(token)

    async def test_a_new_user_is_notified_to_nobody(
        self, users: Users, sessions: Sessions, user: User, database_url: str
    ) -> None:
        """Or nothing that is looked up while somebody registers would be remembered."""
        told: list[str] = []
        hears = asyncio.Event()
        listener = Listener(
            database_url, {CALLERS_CHANGED: told.append}, on_connected=hears.set, on_disconnected=hears.clear
        )
        async with running(listener):
            await patiently(hears.wait(), "notifications are heard")
            await users.add({"email": "grace@example.org", "hashed_password": "x"})
            await sessions.end_all(user.id)  # notifications come in the order of the transactions
            await until(lambda: bool(told), "the end of the sessions is heard")
        assert told == [str(user.id)]

    async def test_keeps_other_users_in_the_cache(
        self, authenticator: Authenticator, users: Users, sessions: Sessions, token: str
    ) -> None:
        other = await users.add({"email": "grace@example.org", "hashed_password": "x"})
        others_token = f"{other.id} {(await sessions.begin(other.id, 60)).session_id}"
        await authenticator.authenticate(token)
        await authenticator.authenticate(others_token)
        await sessions.end_all(other.id)
        assert list(authenticator._remembered) == [token]

    async def test_is_not_remembered_by_a_look_up_that_was_under_way(
        self,
        authenticator: Authenticator,
        sessions: Sessions,
        token: str,
        session_id: UUID,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        looked_up, let_go = asyncio.Event(), asyncio.Event()
        live = sessions.live

        async def hold(session_ids: Any) -> dict[UUID, LiveSession]:
            answer = await live(session_ids)
            looked_up.set()
            await let_go.wait()
            return answer

        monkeypatch.setattr(sessions, "live", hold)
        authenticating = asyncio.create_task(authenticator.authenticate(token))
        await looked_up.wait()
        await sessions.end(session_id)
        let_go.set()
        await authenticating  # it began before the session ended
        assert authenticator._remembered == {}


class TestOneSessionMoreThanThereMayBe:
    async def test_ends_the_one_that_was_used_longest_ago(
        self, sessions: Sessions, other_process: Authenticator, user: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Everywhere, as if it were ended by hand."""
        monkeypatch.setattr(sessions_module, "MOST", 3)
        begun = [await sessions.begin(user.id, 3_600) for _ in range(3)]
        await sessions.refresh(begun[0].refresh_token, 3_600)
        oldest = f"{user.id} {begun[1].session_id}"
        await other_process.authenticate(oldest)
        assert list(other_process._remembered) == [oldest]
        newest = await sessions.begin(user.id, 3_600)
        await until(lambda: not other_process._remembered, "the caller is forgotten")
        assert [each.id for each in await sessions.of(user.id)] == [
            newest.session_id,
            begun[0].session_id,
            begun[2].session_id,
        ]

    async def test_leaves_those_of_others_and_what_is_over_alone(
        self, sessions: Sessions, users: Users, user: User, query: Query, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sessions_module, "MOST", 2)
        grace = await users.add({"email": "grace@example.org", "hashed_password": "x"})
        for user_id in (grace.id, user.id, grace.id, user.id, user.id):
            await sessions.begin(user_id, 3_600)
        counted = "SELECT user_id, count(*) FROM sessions WHERE ended_at IS NULL GROUP BY user_id"
        assert dict(query(counted)) == {grace.id: 2, user.id: 2}


ProgramEnding = Callable[[Users, ApiTokens, User, UUID], Any]

PROGRAM_ENDINGS = [
    pytest.param(lambda users, tokens, user, token_id: tokens.remove(user.id, token_id), id="removed"),
    pytest.param(
        lambda users, tokens, user, _: users.change(user.id, {"is_active": False}, decided_on={"id": user.id}),
        id="user-deactivated",
    ),
    pytest.param(lambda users, tokens, user, _: users.remove(user.id), id="user-removed"),
    pytest.param(
        lambda users, tokens, user, _: users.change(
            user.id, {"hashed_password": "y"}, decided_on={"id": user.id}, ends=EVERYTHING
        ),
        id="account-recovered",
    ),
]


class TestARole:
    @pytest.mark.parametrize("role", Role)
    async def test_holds_for_sessions_and_for_programs(
        self, authenticator: Authenticator, users: Users, database: Database, user: User, token: str, role: Role
    ) -> None:
        _, program = await ApiTokens(database).add(user.id, "backup", [READ_BOOKS, WRITE_BOOKS], days=30)
        await users.change(user.id, role.columns, decided_on={"id": user.id})
        for each in (token, program):
            caller = await authenticator.authenticate(each)
            assert caller.role == role
            caller.require_scope(READ_BOOKS)
            if role is Role.READER:
                with pytest.raises(InsufficientRole, match="reader"):
                    caller.require_scope(WRITE_BOOKS)
            else:
                caller.require_scope(WRITE_BOOKS)

    async def test_is_another_at_once(
        self, authenticator: Authenticator, users: Users, user: User, token: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(authentication_module, "_REMEMBERED_SECONDS", AN_HOUR)
        assert (await authenticator.authenticate(token)).role is Role.EDITOR
        await users.change(user.id, Role.READER.columns, decided_on={"id": user.id})
        assert (await authenticator.authenticate(token)).role is Role.READER


class TestAProgram:
    @pytest.fixture
    def api_tokens(self, database: Database) -> ApiTokens:
        return ApiTokens(database)

    @pytest.fixture
    async def made(self, api_tokens: ApiTokens, user: User) -> tuple[UUID, str]:
        """The id of an API token, and the token."""
        token, secret = await api_tokens.add(user.id, "backup", [READ_BOOKS], days=30)
        return token.id, secret

    async def test_calls_for_its_user_within_its_scopes_and_in_no_session(
        self, authenticator: Authenticator, user: User, made: tuple[UUID, str]
    ) -> None:
        caller = await authenticator.authenticate(made[1])
        assert caller == Caller(user.id, None, frozenset((READ_BOOKS,)), Role.EDITOR)
        caller.require_scope(READ_BOOKS)
        with pytest.raises(InsufficientScope, match="books:write"):
            caller.require_scope(WRITE_BOOKS)
        with pytest.raises(SessionRequired):
            caller.session()

    async def test_is_remembered(
        self, authenticator: Authenticator, made: tuple[UUID, str], database: Database, statements_of: StatementsOf
    ) -> None:
        with statements_of(database) as statements:
            for _ in range(3):
                await authenticator.authenticate(made[1])
        assert len(statements) == 1

    async def test_is_looked_up_together_with_others(
        self,
        authenticator: Authenticator,
        api_tokens: ApiTokens,
        user: User,
        database: Database,
        statements_of: StatementsOf,
    ) -> None:
        secrets = [(await api_tokens.add(user.id, "backup", [READ_BOOKS], days=30))[1] for _ in range(10)]
        with statements_of(database) as statements:
            await asyncio.gather(*(authenticator.authenticate(secret) for secret in secrets * 2))
        assert len(statements) == 1

    async def test_is_refused_without_a_question_when_its_token_is_not_whole(
        self, authenticator: Authenticator, made: tuple[UUID, str], database: Database, statements_of: StatementsOf
    ) -> None:
        with statements_of(database) as statements, pytest.raises(InvalidToken, match="malformed"):
            await authenticator.authenticate(made[1][:-1])
        assert statements == []

    async def test_is_refused_with_a_token_that_nobody_was_given(self, authenticator: Authenticator) -> None:
        with pytest.raises(InvalidToken, match="removed or has expired"):
            await authenticator.authenticate(new_token(API_TOKEN))
        assert authenticator._remembered == {}

    async def test_is_refused_from_the_second_at_which_its_token_expires(
        self,
        authenticator: Authenticator,
        api_tokens: ApiTokens,
        user: User,
        query: Query,
        clock: SimpleNamespace,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Though others are remembered for longer."""
        monkeypatch.setattr(authentication_module, "_REMEMBERED_SECONDS", AN_HOUR)
        _, secret = await api_tokens.add(user.id, "short", [READ_BOOKS], days=600 / 86_400)
        await authenticator.authenticate(secret)
        assert list(authenticator._remembered) == [secret]
        query("UPDATE api_tokens SET expires_at = now()")
        clock.now = 600
        with pytest.raises(InvalidToken):
            await authenticator.authenticate(secret)

    @pytest.mark.parametrize("end", PROGRAM_ENDINGS)
    async def test_is_out_at_once_in_this_process(
        self,
        verifier: PlainTokens,
        sessions: Sessions,
        users: Users,
        api_tokens: ApiTokens,
        user: User,
        made: tuple[UUID, str],
        end: ProgramEnding,
    ) -> None:
        authenticator = Authenticator(verifier, sessions, api_tokens)
        authenticator._on_connected()
        await authenticator.authenticate(made[1])
        assert list(authenticator._remembered) == [made[1]]
        await end(users, api_tokens, user, made[0])
        with pytest.raises(InvalidToken):
            await authenticator.authenticate(made[1])

    @pytest.mark.parametrize("end", PROGRAM_ENDINGS)
    async def test_is_out_soon_in_another(
        self,
        other_process: Authenticator,
        users: Users,
        api_tokens: ApiTokens,
        user: User,
        made: tuple[UUID, str],
        end: ProgramEnding,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(authentication_module, "_REMEMBERED_SECONDS", AN_HOUR)
        await other_process.authenticate(made[1])
        assert list(other_process._remembered) == [made[1]]
        await end(users, api_tokens, user, made[0])
        await until(lambda: not other_process._remembered, "the caller is forgotten")
        with pytest.raises(InvalidToken):
            await other_process.authenticate(made[1])


class TestWhileItCannotHear:
    async def test_nothing_is_remembered(self, verifier: PlainTokens, sessions: Sessions, token: str) -> None:
        authenticator = Authenticator(verifier, sessions, ApiTokens(sessions._database))
        await authenticator.authenticate(token)
        assert authenticator._remembered == {}

    async def test_what_was_remembered_is_forgotten(
        self,
        verifier: PlainTokens,
        sessions: Sessions,
        token: str,
        postgresql: PostgreSQLServer,
        database_url: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("book_db.postgres.listener._RECONNECT_SECONDS", 0.01)
        authenticator = Authenticator(verifier, sessions, ApiTokens(sessions._database))
        async with Proxy(postgresql.port) as network:
            url = database_url.replace(f":{postgresql.port}/", f":{network.port}/")
            async with hearing(authenticator, url):
                await authenticator.authenticate(token)
                assert list(authenticator._remembered) == [token]
                with capture_logs() as logs:
                    network.refuse()
                    network.drop()
                    await until(lambda: not authenticator._is_connected, "notifications are not heard")
                    assert authenticator._remembered == {}
                    await authenticator.authenticate(token)
                    assert authenticator._remembered == {}
                    await network.heal()
                    await until(lambda: authenticator._is_connected, "notifications are heard again")
                await authenticator.authenticate(token)
                assert list(authenticator._remembered) == [token]
        assert [entry["event"] for entry in logs] == [
            "outage of PostgreSQL's notifications: what others write is noticed later",
            "outage of PostgreSQL's notifications is over",
        ]

    async def test_it_is_said_once_however_long_it_lasts(
        self, verifier: PlainTokens, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("book_db.postgres.listener._RECONNECT_SECONDS", 0.01)
        authenticator = Authenticator(verifier, sessions, ApiTokens(sessions._database))
        attempts: list[None] = []
        monkeypatch.setattr(authenticator, "_on_disconnected", lambda: attempts.append(None))
        listening = asyncio.create_task(authenticator.listener("postgresql://postgres@127.0.0.1:1/books").run())
        with capture_logs() as logs:
            await until(lambda: len(attempts) > 5, "it has tried five times and more")
        listening.cancel()
        await asyncio.wait([listening])
        assert len(logs) == 1
