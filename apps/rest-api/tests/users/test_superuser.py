from collections.abc import AsyncIterator

import psycopg
import pytest
from book_db.accounts.api_tokens import ApiTokens
from book_db.accounts.sessions import Sessions
from book_db.accounts.users import Users
from book_db.postgres.database import Database
from book_db.tables import User
from rest_api.cli import app
from rest_api.users.passwords import Passwords
from rest_api.users.superuser import SuperuserRefused, create_superuser, promote
from support.ports import free_port
from typer.testing import CliRunner, Result

pytestmark = pytest.mark.usefixtures("quick_hashing")

PASSWORD = "correct horse battery"


@pytest.fixture
async def users(database_url: str) -> AsyncIterator[Users]:
    database = Database.open(database_url, pool_size=1)
    yield Users(database)
    await database.close()


@pytest.fixture
def sessions(users: Users) -> Sessions:
    return Sessions(users._database)


@pytest.fixture
def api_tokens(users: Users) -> ApiTokens:
    return ApiTokens(users._database)


async def a_user(users: Users, *, is_verified: bool = True) -> User:
    values = {"email": "ada@example.org", "hashed_password": "theirs", "is_active": False}
    return await users.add(values | {"is_verified": is_verified})


class TestCreateSuperuser:
    async def test_makes_one_who_can_sign_in(self, users: Users) -> None:
        user = await create_superuser(users, "Ada@EXAMPLE.org", PASSWORD)
        assert (user.email, user.is_superuser, user.is_verified, user.is_active) == (
            "Ada@example.org",
            True,
            True,
            True,
        )
        async with Passwords() as passwords:
            assert (await passwords.verify(PASSWORD, user.hashed_password)).right

    @pytest.mark.parametrize(
        ("email", "password", "reason"),
        [
            pytest.param("ada", PASSWORD, "'ada' is not an e-mail address", id="no-address"),
            pytest.param("ada@example.org", "short", "the password must have at least 12", id="short-password"),
            pytest.param("ada.lovelace@example.org", "ada.lovelace", "must not be the e-mail", id="as-address"),
        ],
    )
    async def test_keeps_the_rules(self, users: Users, email: str, password: str, reason: str) -> None:
        with pytest.raises(SuperuserRefused, match=reason):
            await create_superuser(users, email, password)

    async def test_leaves_a_user_who_is_there_as_they_are(self, users: Users) -> None:
        before = await a_user(users)
        with pytest.raises(SuperuserRefused, match="--promote"):
            await create_superuser(users, "ADA@example.org", PASSWORD)
        after = await users.get(before.id)
        assert after is not None
        assert (after.is_superuser, after.hashed_password) == (False, "theirs")


class TestPromote:
    async def test_makes_a_user_a_superuser_who_keeps_the_password(self, users: Users) -> None:
        await a_user(users)
        user = await promote(users, "ADA@example.org")
        assert (user.is_superuser, user.is_active, user.hashed_password) == (True, True, "theirs")

    async def test_ends_what_was_begun_before(self, users: Users, sessions: Sessions, api_tokens: ApiTokens) -> None:
        """Whoever has it would be a superuser too."""
        user = await users.add({"email": "ada@example.org", "hashed_password": "theirs", "is_verified": True})
        session_id = (await sessions.begin(user.id, 3_600)).session_id
        await api_tokens.add(user.id, "backup", ["books:read"], days=30)
        await promote(users, "ada@example.org")
        assert await sessions.live([session_id]) == {}
        assert await api_tokens.of(user.id) == []

    async def test_leaves_a_user_alone_of_whom_nobody_knows_whether_they_have_the_address(self, users: Users) -> None:
        """Anybody may have registered it."""
        before = await a_user(users, is_verified=False)
        with pytest.raises(SuperuserRefused, match="has to confirm the address first"):
            await promote(users, "ada@example.org")
        after = await users.get(before.id)
        assert after is not None
        assert (after.is_superuser, after.is_active) == (False, False)

    async def test_wants_a_user(self, users: Users) -> None:
        with pytest.raises(SuperuserRefused, match="has no account"):
            await promote(users, "ada@example.org")


def command(database_url: str, *arguments: str, stdin: str = "") -> Result:
    return CliRunner().invoke(app, ["create-superuser", *arguments], stdin, env={"DATABASE_URL": database_url})


def stored(database_url: str) -> list[tuple[str, bool]]:
    """Everybody's address, and whether they are superusers."""
    with psycopg.connect(database_url) as connection:
        return connection.execute("SELECT email, is_superuser FROM users").fetchall()


class TestTheCommand:
    def test_reads_the_password_from_a_pipe(self, database_url: str) -> None:
        done = command(database_url, "ada@example.org", "--password-stdin", stdin=f"{PASSWORD}\n")
        assert (done.exit_code, done.stdout) == (0, "ada@example.org is a superuser.\n"), done.output
        assert stored(database_url) == [("ada@example.org", True)]

    def test_promotes_without_a_password(self, database_url: str) -> None:
        with psycopg.connect(database_url) as connection:
            connection.execute(
                "INSERT INTO users (id, email, hashed_password, is_verified)"
                " VALUES (gen_random_uuid(), 'ada@example.org', 'theirs', true)"
            )
        done = command(database_url, "ADA@example.org", "--promote")
        assert (done.exit_code, done.stdout) == (0, "ada@example.org is a superuser.\n"), done.output
        assert stored(database_url) == [("ada@example.org", True)]

    @pytest.mark.parametrize(
        ("arguments", "stdin", "reason"),
        [
            pytest.param(["ada@example.org"], "", "there is no terminal to ask for the password", id="no-terminal"),
            pytest.param(
                ["ada@example.org", "--password-stdin"], "", "at least 12 characters", id="nothing-in-the-pipe"
            ),
            pytest.param(["ada@example.org", "--password-stdin"], "short\n", "at least 12 characters", id="short"),
            pytest.param(["ada", "--password-stdin"], f"{PASSWORD}\n", "is not an e-mail address", id="no-address"),
            pytest.param(["ada@example.org", "--promote"], "", "has no account", id="nobody-to-promote"),
        ],
    )
    def test_says_why_it_did_nothing(self, database_url: str, arguments: list[str], stdin: str, reason: str) -> None:
        done = command(database_url, *arguments, stdin=stdin)
        assert (done.exit_code, done.stdout) == (1, "")
        assert reason in done.stderr
        assert stored(database_url) == []

    def test_says_when_the_database_does_not_answer(self) -> None:
        nowhere = f"postgresql://127.0.0.1:{free_port()}/colophon"
        done = command(nowhere, "ada@example.org", "--password-stdin", stdin=f"{PASSWORD}\n")
        assert (done.exit_code, done.stderr) == (1, "The database does not answer.\n")
