"""The command that makes the first superuser, for operators, who can reach the database."""

import asyncio
import sys

import typer
from book_db.accounts.audit_trail import AccountEvent, AccountEvents
from book_db.accounts.users import Access, Users
from book_db.errors import DatabaseUnavailable, EmailTaken, Overtaken, UnfitDatabase, UserNotFound
from book_db.postgres.database import Database
from book_db.tables import User
from book_runtime.errors import DocumentedError

from rest_api.users import passwords
from rest_api.users.addresses import normalised
from rest_api.users.passwords import Passwords


class SuperuserRefused(DocumentedError):
    """No superuser was made: {reason}."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


async def create_superuser(users: Users, email: str, password: str) -> User:
    """A new superuser whose address counts as verified. Raises SuperuserRefused."""
    email = _address(email)
    if fault := passwords.fault_of(password, email):
        raise SuperuserRefused(f"the password {fault}")
    async with Passwords() as hashing:
        hashed = await hashing.hash(password)
    try:
        return await users.add({"email": email, "hashed_password": hashed, "is_superuser": True, "is_verified": True})
    except EmailTaken as error:
        raise SuperuserRefused(
            f"{email} has an account already, whoever made it; once its address is confirmed, --promote makes its user "
            "a superuser"
        ) from error


async def promote(users: Users, email: str) -> User:
    """Makes a user who is there already a superuser. The password stays, and sessions and tokens of before end.

    Raises SuperuserRefused.
    """
    email = _address(email)
    user = await users.by_email(email)
    if user is None:
        raise SuperuserRefused(f"{email} has no account that could be promoted")
    decided_on = {"email": user.email, "hashed_password": user.hashed_password, "is_verified": True}
    rights = {"is_superuser": True, "is_active": True}
    try:
        return await users.change(user.id, rights, decided_on=decided_on, ends=Access.SESSIONS | Access.TOKENS)
    except (Overtaken, UserNotFound) as error:
        raise SuperuserRefused(
            f"nobody has shown that the account with the address {email} is theirs: whoever made it has to confirm the "
            "address first, by the link in the mail"
        ) from error


def make_superuser(database_url: str, email: str, *, password_stdin: bool = False, to_promote: bool = False) -> None:
    """What the command does, for any database. Says on the terminal what came of it; exits with 1 if nothing did."""
    try:
        password = None if to_promote else _ask_password(from_stdin=password_stdin)
        user = asyncio.run(_make(database_url, email, password))
    except SuperuserRefused as refused:
        typer.echo(refused, err=True)
        raise typer.Exit(1) from refused
    except UnfitDatabase:
        raise
    except DatabaseUnavailable as error:
        typer.echo("The database does not answer.", err=True)
        raise typer.Exit(1) from error
    typer.echo(f"{user.email} is a superuser.")


async def _make(database_url: str, email: str, password: str | None) -> User:
    database = Database.open(database_url, pool_size=1, name="create-superuser")
    try:
        users = Users(database)
        user = await (promote(users, email) if password is None else create_superuser(users, email, password))
        made = AccountEvent("role-admin-given", "done", user_id=user.id, detail="by command")
        await AccountEvents(database).add([made])
        return user
    finally:
        await database.close()


def _ask_password(*, from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise SuperuserRefused("there is no terminal to ask for the password; --password-stdin reads it from a pipe")
    typer.echo(f"The password: {passwords.RULES}.")
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt="Once more"))


def _address(email: str) -> str:
    try:
        return normalised(email)
    except ValueError as error:
        raise SuperuserRefused(f"{email!r} {error}") from error
