"""The command that shows what lets people and programs act as a user, and ends it: for operators."""

import asyncio
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

import typer
from book_db.accounts.api_tokens import ApiToken, ApiTokens
from book_db.accounts.audit_trail import AccountEvent, AccountEvents
from book_db.accounts.oauth_accounts import Link, OAuthAccounts
from book_db.accounts.sessions import Session, Sessions
from book_db.accounts.users import EVERYTHING, Users
from book_db.errors import DatabaseUnavailable, UnfitDatabase
from book_db.postgres.database import Database
from book_runtime.errors import DocumentedError

from rest_api.users.addresses import normalised


class NobodyHasIt(DocumentedError):
    """Nobody has the address {email}."""

    def __init__(self, email: str) -> None:
        self.email = email


def show_access(database_url: str, email: str, *, end: bool) -> None:
    """Prints a line for each session, token and login of a user, and ends them if that is wanted.

    Exits with 1 if nobody has the address.
    """
    try:
        lines = asyncio.run(_access(database_url, email, end=end))
    except NobodyHasIt as error:
        typer.echo(error, err=True)
        raise typer.Exit(1) from error
    except UnfitDatabase:
        raise
    except DatabaseUnavailable as error:
        typer.echo("The database does not answer.", err=True)
        raise typer.Exit(1) from error
    for line in lines:
        typer.echo(line)


async def _access(database_url: str, email: str, *, end: bool) -> list[str]:
    database = Database.open(database_url, pool_size=1, name="access")
    try:
        users = Users(database)
        user = await users.by_email(_address(email))
        if user is None:
            raise NobodyHasIt(email)
        lines = [
            *_sessions(await Sessions(database).of(user.id)),
            *_tokens(await ApiTokens(database).of(user.id)),
            *_logins(await OAuthAccounts(database).links_of(user.id)),
        ] or [f"{user.email} has no session, no token and no login."]
        if end:
            await users.end(user.id, EVERYTHING)
            ended = AccountEvent("access-ended", "done", user_id=user.id, detail="by command")
            await AccountEvents(database).add([ended])
            lines.append(f"All of it has ended. The password of {user.email} stays as it is.")
        return lines
    finally:
        await database.close()


def _address(email: str) -> str:
    try:
        return normalised(email)
    except ValueError as error:
        raise NobodyHasIt(email) from error


def _sessions(sessions: Iterable[Session]) -> Iterator[str]:
    for each in sessions:
        where = f"from {each.address or 'nobody knows where'} with {each.user_agent or 'no name of a program'}"
        yield f"session {each.id}  {where}, last used {_when(each.last_used_at)}"


def _tokens(tokens: Iterable[ApiToken]) -> Iterator[str]:
    for each in tokens:
        yield f"token   {each.id}  {each.name!r} for {' and '.join(each.scopes)}, until {_when(each.expires_at)}"


def _logins(logins: Iterable[Link]) -> Iterator[str]:
    for each in logins:
        yield f"login   {each.id}  {each.provider}, {each.account_email}, since {_when(each.created_at)}"


def _when(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%MZ}"
