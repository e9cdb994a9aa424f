"""What the endpoints of users work with, built once when the service starts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

from book_db.accounts.api_tokens import ApiTokens
from book_db.accounts.oauth_accounts import OAuthAccounts
from book_db.accounts.sessions import Sessions
from book_db.accounts.users import Users
from book_db.roles import Role
from book_db.store import Store
from book_runtime.tokens import InvalidToken
from fastapi import Depends, Request

from rest_api.guard import caller_of
from rest_api.users.accounts import Account
from rest_api.users.adapter import UserDatabase
from rest_api.users.breaches import open_breaches
from rest_api.users.email_templates import EmailTemplates
from rest_api.users.mail import LogMailer, Mailer, MailQueue, SmtpMailer, SmtpServer
from rest_api.users.manager import TokenSecrets, UserManager
from rest_api.users.passwords import Passwords
from rest_api.users.problems import NotSuperuser
from rest_api.users.settings import AccountSettings
from rest_api.users.signing import TokenSigner, derived_secrets
from rest_api.users.strategy import Lifetimes, SessionBackend, SessionStrategy


@dataclass(frozen=True, slots=True)
class AccountServices:
    """What the endpoints of accounts work with."""

    users: Users
    sessions: Sessions
    api_tokens: ApiTokens
    oauth_accounts: OAuthAccounts
    manager: UserManager
    strategy: SessionStrategy
    backend: SessionBackend

    def strategy_of(self, request: Request) -> SessionStrategy:
        """The strategy that knows where the request comes from."""
        return self.strategy.of(request)


@asynccontextmanager
async def open_account_services(
    store: Store, private_key_pem: bytes, settings: AccountSettings
) -> AsyncIterator[AccountServices]:
    """Builds the services for the length of the block, and lets mails that are under way leave at its end."""
    refresh = settings.refresh_token_seconds
    # No access token outlives its session, however the two are set.
    lifetimes = Lifetimes(access=min(settings.access_token_seconds, refresh), refresh=refresh)
    registration = settings.who_registers()
    signer = TokenSigner(private_key_pem)
    strategy = SessionStrategy(
        store.sessions, store.authenticator, signer, lifetimes, confirmed=registration == "confirmed"
    )
    secrets = TokenSecrets(
        reset=derived_secrets(private_key_pem, "password reset"),
        verification=derived_secrets(private_key_pem, "e-mail verification"),
    )
    async with (
        MailQueue(_mailer(settings)) as mail_queue,
        Passwords() as passwords,
        open_breaches(settings.breached_passwords_url) as breaches,
    ):
        oauth_accounts = OAuthAccounts(store.database)
        database = UserDatabase(store.users, oauth_accounts)
        yield AccountServices(
            users=store.users,
            sessions=store.sessions,
            api_tokens=store.api_tokens,
            oauth_accounts=oauth_accounts,
            manager=UserManager(
                database,
                passwords,
                secrets,
                mail_queue,
                EmailTemplates(settings.public_url),
                breaches=breaches,
                is_open=registration != "closed",
                default_role=Role(settings.default_role),
            ),
            strategy=strategy,
            backend=SessionBackend(_strategy),
        )


def _mailer(settings: AccountSettings) -> Mailer:
    if settings.smtp_url is None:
        return LogMailer()
    return SmtpMailer(SmtpServer.parse(settings.smtp_url), settings.mail_from)


async def _services(request: Request) -> AccountServices:
    services: AccountServices = request.app.state.account_services
    return services


Services = Annotated[AccountServices, Depends(_services)]


async def _strategy(request: Request) -> SessionStrategy:
    return (await _services(request)).strategy_of(request)


async def _current_user(request: Request, services: Services) -> Account:
    user = await services.users.get(caller_of(request).user_id)
    if user is None:
        raise InvalidToken("its user is gone")
    return user


CurrentUser = Annotated[Account, Depends(_current_user)]
"""The user who calls; only on a GuardedRoute."""


async def _superuser(user: CurrentUser) -> Account:
    if not user.is_superuser:
        raise NotSuperuser
    return user


require_superuser = Depends(_superuser)
"""Lets nobody but superusers through; only on a GuardedRoute."""
