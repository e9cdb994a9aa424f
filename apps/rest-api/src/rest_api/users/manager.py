"""What happens to accounts."""

import hmac
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from uuid import UUID

import jwt
from book_db.accounts.oauth_accounts import ProviderAccount
from book_db.accounts.users import EVERYTHING, NOTHING, Access
from book_db.errors import Overtaken
from book_db.roles import Role
from book_runtime.retry import retry
from fastapi import Request
from fastapi.security import OAuth2PasswordRequestForm
from fastapi_users import BaseUserManager, UUIDIDMixin
from fastapi_users.exceptions import (
    InvalidID,
    InvalidPasswordException,
    InvalidResetPasswordToken,
    InvalidVerifyToken,
    UserAlreadyExists,
    UserAlreadyVerified,
    UserInactive,
    UserNotExists,
)
from fastapi_users.jwt import decode_jwt, generate_jwt

from rest_api.users import passwords
from rest_api.users.accounts import Account
from rest_api.users.adapter import UserDatabase
from rest_api.users.addresses import normalised
from rest_api.users.breaches import Breaches
from rest_api.users.email_templates import EmailTemplates
from rest_api.users.mail import Email, MailQueue
from rest_api.users.oauth.problems import (
    TITLES,
    AccountInactive,
    EmailNotConfirmed,
    NobodysAccount,
    NoVerifiedEmail,
    UnusableEmail,
)
from rest_api.users.passwords import Passwords
from rest_api.users.problems import RegistrationClosed, WrongPassword
from rest_api.users.trail import about

_HOUR_SECONDS: Final = 3_600

_WHO: Final = ("hashed_password", "email")
"""What a user was found to be."""

_RECOVERED: Final = frozenset(("email", "hashed_password", "is_active"))
"""What is changed in an account that somebody else may have had."""


@dataclass(frozen=True, slots=True)
class TokenSecrets:
    """What the tokens in mails are signed with, for each purpose: now, and before the keys were rotated."""

    reset: Sequence[str]
    verification: Sequence[str]


class Identified(NamedTuple):
    """Who came with a name and a password."""

    user_id: UUID | None
    """Whose name it is."""
    user: Account | None
    """The same, if the password is theirs and they may sign in."""


class UserManager(UUIDIDMixin, BaseUserManager[Account, UUID]):
    """The flows of fastapi-users over our own storage, with the hashing beside the event loop.

    `register`, `change_own`, `change_other`, `confirm` and `reset_password` stand in for those of the library, which
    hash on the event loop, and write whatever has changed since they read.
    """

    user_db: UserDatabase
    reset_password_token_lifetime_seconds = _HOUR_SECONDS
    verification_token_lifetime_seconds = 24 * _HOUR_SECONDS

    def __init__(
        self,
        user_db: UserDatabase,
        passwords: Passwords,
        secrets: TokenSecrets,
        mail_queue: MailQueue,
        templates: EmailTemplates,
        *,
        breaches: Breaches,
        is_open: bool,
        default_role: Role,
    ) -> None:
        """``is_open`` tells whether people make accounts themselves, which have the ``default_role``."""
        super().__init__(user_db, passwords.helper)
        self.reset_password_token_secret = secrets.reset[0]
        self.verification_token_secret = secrets.verification[0]
        self._secrets = secrets
        self._passwords = passwords
        self._mail_queue = mail_queue
        self._templates = templates
        self._breaches = breaches
        self._is_open = is_open
        self._default_role = default_role

    async def register(self, email: str, password: str) -> Account:
        """A new user, who is sent a link to verify the address.

        Raises RegistrationClosed, UserAlreadyExists and InvalidPasswordException.
        """
        if not self._is_open:
            raise RegistrationClosed
        hashed = await self._hash(password, email)
        # No look-up before: the unique index decides, also between two who come at once.
        user = await self.user_db.create({"email": email, "hashed_password": hashed, **self._default_role.columns})
        self._mail_queue.put(self._mail_to_confirm(user, user.email))
        return user

    async def invite(self, email: str, role: Role | None) -> Account:
        """A new user whose address a superuser vouches for, and who is sent a link to choose a password.

        Raises UserAlreadyExists.
        """
        rights = (role or self._default_role).columns
        values = {"email": email, "hashed_password": await self._nobodys_password(), "is_verified": True, **rights}
        user = await self.user_db.create(values)
        lifetime = self.verification_token_lifetime_seconds
        self._mail_queue.put(self._reset_mail(user, email, lifetime, self._templates.invitation))
        return user

    async def identify(self, credentials: OAuth2PasswordRequestForm) -> Identified:
        """The active user with these credentials. It takes as long to find none."""
        user = await self.user_db.get_by_email(credentials.username)
        right, better_hash = await self._passwords.verify(credentials.password, user.hashed_password if user else None)
        if user is None or not right or not user.is_active:
            return Identified(user.id if user else None, None)
        return Identified(user.id, await self.user_db.rehash(user, better_hash) if better_hash else user)

    async def check_password(self, user: Account, password: str) -> None:
        """Lets the user show once more who they are, before something is changed that a thief would change.

        Raises WrongPassword.
        """
        if not (await self._passwords.verify(password, user.hashed_password)).right:
            raise WrongPassword

    async def change_own(
        self, user: Account, current_password: str, changes: Mapping[str, Any], *, within: UUID, ends: Access
    ) -> Account:
        """The user with these fields changed, as the user asks in a session, whose password was found to be this one.
        It ``ends`` what the user wants ended, but for that session.

        Raises WrongPassword when the password was changed since then or the session has ended, UserAlreadyExists and
        InvalidPasswordException.
        """
        # Another salt would make the links useless with which an owner gets the account back from a thief.
        if passwords.are_the_same(changes.get("password", ""), current_password):
            raise InvalidPasswordException("must not be the one that it is")
        try:
            return await self._change(user, changes, decided_on=_WHO, within=within, ends=ends)
        except (Overtaken, UserNotExists) as error:
            raise WrongPassword from error

    # Another write came first: look at the user again.
    @retry(times=4, delay=0, exceptions=Overtaken)
    async def change_other(self, user_id: UUID, changes: Mapping[str, Any]) -> Account:
        """The user with these fields changed by a superuser, who may say of a new address that it is the user's. A new
        password and a deactivation end whatever anybody could act as the user with: somebody else may have made it.

        Raises UserNotExists, UserAlreadyExists and InvalidPasswordException.
        """
        ends = EVERYTHING if "password" in changes or changes.get("is_active") is False else NOTHING
        return await self._change(await self.get(user_id), changes, decided_on=("email", "new_email"), ends=ends)

    async def _change(
        self,
        user: Account,
        changes: Mapping[str, Any],
        *,
        decided_on: Collection[str],
        within: UUID | None = None,
        ends: Access = NOTHING,
    ) -> Account:
        """A new address waits until it is confirmed, and is sent a link. Raises Overtaken."""
        values = dict(changes)
        email = values.get("email", user.email)
        if "password" in values:
            values["hashed_password"] = await self._hash(values.pop("password"), email)
        if "email" in values and not values.get("is_verified"):
            values["new_email"] = await self._free(user, values.pop("email"))
        elif not _RECOVERED.isdisjoint(values):
            values["new_email"] = None  # somebody else may have asked for it
        changed = await self.user_db.update(user, values, decided_on=decided_on, within=within, ends=ends)
        if "new_email" in values and changed.new_email is not None:
            self._mail_queue.put(self._mail_to_confirm(changed, changed.new_email))
        if changed.email != user.email:
            self._mail_queue.put(self._templates.new_address(user.email, changed.email))
        if "hashed_password" in values:
            self._mail_queue.put(self._templates.new_password(changed.email))
        return changed

    async def _free(self, user: Account, email: str) -> str | None:
        """The address, if it is another one than the user's. Raises UserAlreadyExists if it is somebody else's."""
        holder = await self.user_db.get_by_email(email)
        if holder is not None and holder.id != user.id:
            raise UserAlreadyExists
        return email if email != user.email else None

    async def mail_link_to_confirm(self, email: str) -> None:
        """Sends a link to the active user with this address, if it is not confirmed. It takes as long to find none."""
        user = await self.user_db.get_by_email(email)
        mail = self._mail_to_confirm(user, user.email if user else email)
        if user is not None and user.is_active and not user.is_verified:
            self._mail_queue.put(mail)

    async def link_to_confirm(self, token: str) -> tuple[Account, str]:
        """The user whom the token of a link to confirm an address was made for, and the address.

        Raises InvalidVerifyToken, also when it is no longer an address of the user, and UserAlreadyVerified.
        """
        try:
            claims = _read(token, self._secrets.verification, self.verification_token_audience)
            user = await self.get(self.parse_id(claims["sub"]))
            email = claims["email"]
        except (jwt.PyJWTError, KeyError, InvalidID, UserNotExists) as error:
            raise InvalidVerifyToken from error
        if email not in {user.email, user.new_email} or not user.is_active:
            raise InvalidVerifyToken
        if email == user.email and user.is_verified:
            raise UserAlreadyVerified
        return user, email

    async def confirm(self, user: Account, email: str) -> Account:
        """The user with this address confirmed, which is the user's from now on, as found with the right password.

        Raises InvalidVerifyToken when anything of this is otherwise by now, and UserAlreadyExists.
        """
        values = {"is_verified": True} if email == user.email else {"is_verified": True, "email": email}
        try:
            return await self._change(user, values, decided_on=(*_WHO, "new_email", "is_active"))
        except (Overtaken, UserNotExists) as error:
            raise InvalidVerifyToken from error

    def _mail_to_confirm(self, user: Account | None, email: str) -> Email:
        claims = {"sub": str(user.id if user else email), "email": email, "aud": self.verification_token_audience}
        token = generate_jwt(claims, self.verification_token_secret, self.verification_token_lifetime_seconds)
        return self._templates.verification(email, token, self.verification_token_lifetime_seconds // _HOUR_SECONDS)

    async def mail_reset_link(self, email: str) -> UUID | None:
        """Sends a link with which the password can be set to the active user with this address, and tells who that is.

        It takes as long to find none.
        """
        user = await self.user_db.get_by_email(email)
        mail = self._reset_mail(user, email, self.reset_password_token_lifetime_seconds, self._templates.password_reset)
        if user is not None and user.is_active:
            self._mail_queue.put(mail)
        return user.id if user else None

    async def forgot_password(self, user: Account, request: Request | None = None) -> None:
        """Sends a link with which the password can be set. Raises UserInactive."""
        if not user.is_active:
            raise UserInactive
        lifetime = self.reset_password_token_lifetime_seconds
        self._mail_queue.put(self._reset_mail(user, user.email, lifetime, self._templates.password_reset))

    def _reset_mail(
        self, user: Account | None, email: str, seconds: int, template: Callable[[str, str, int], Email]
    ) -> Email:
        claims = {
            "sub": str(user.id if user else email),
            "password_fgpt": self._fingerprint(user, self._secrets.reset[0]),
            "aud": self.reset_password_token_audience,
        }
        token = generate_jwt(claims, self.reset_password_token_secret, seconds)
        return template(user.email if user else email, token, seconds // _HOUR_SECONDS)

    async def reset_password(self, token: str, password: str, request: Request | None = None) -> Account:
        """Sets a new password, and ends whatever anybody could act as the user with.

        Raises InvalidResetPasswordToken, also when another password was set meanwhile, and InvalidPasswordException.
        """
        user = await self._user_of_reset_token(token)
        try:
            changed = await self._change(user, {"password": password}, decided_on=(*_WHO, "is_active"), ends=EVERYTHING)
        except (Overtaken, UserNotExists) as error:
            raise InvalidResetPasswordToken from error
        await self.on_after_reset_password(changed, request)
        return changed

    # Another request came first: find what it has made.
    @retry(times=4, delay=0, exceptions=Overtaken)
    async def oauth_callback(  # noqa: PLR0917  # as fastapi-users has it
        self,
        oauth_name: str,
        access_token: str,
        account_id: str,
        account_email: str,
        expires_at: int | None = None,
        refresh_token: str | None = None,
        request: Request | None = None,
        *,
        associate_by_email: bool = False,
        is_verified_by_default: bool = False,
    ) -> Account:
        """The user whom this account with a provider belongs to; a new one, if need be. The tokens are not kept.

        ``account_email`` is an address that the provider has verified, or empty. Raises SignInFailed.
        """
        account = ProviderAccount(oauth_name, account_id, account_email)
        user = await self.user_db.get_by_oauth_account(oauth_name, account_id)
        if user is None:
            return await self._user_of_address(account, request)
        if not user.is_active:
            raise AccountInactive(oauth_name)
        if account_email:
            await self.user_db.note_oauth_address(account)
        return user

    async def _user_of_address(self, account: ProviderAccount, request: Request | None) -> Account:
        """The user with the account's address, to whom it is linked by that."""
        account = account._replace(email=_usable(account))
        user = await self.user_db.get_by_email(account.email)
        if user is None and not self._is_open:
            raise NobodysAccount(account.provider)
        if user is None:
            values = {"hashed_password": await self._nobodys_password(), **self._default_role.columns}
            new = await self.user_db.create_with_oauth_account(account, values)
            if request is not None:
                about(request, kinds=["registered", "signed-in"])
            return new
        if not user.is_active:
            raise AccountInactive(account.provider)
        # Its maker may have no right to the address, and may be waiting for the owner to use the account.
        if not user.is_verified:
            raise EmailNotConfirmed(account.provider)
        await self.user_db.link_oauth_account(user, account)
        self._mail_queue.put(self._templates.new_login(user.email, TITLES[account.provider]))
        if request is not None:
            about(request, kinds=["login-linked", "signed-in"])
        return user

    def tell_of_token(self, user: Account, name: str) -> None:
        """Mails the user that there is a new token for a program."""
        self._mail_queue.put(self._templates.new_token(user.email, name))

    async def _nobodys_password(self) -> str:
        """The hash of a password that nobody knows: the user chooses one with a link that is mailed."""
        return await self._passwords.hash(secrets.token_urlsafe())

    async def _hash(self, password: str, email: str) -> str:
        if fault := passwords.fault_of(password, email):
            raise InvalidPasswordException(fault)
        if await self._breaches.have(passwords.normalised(password)):
            raise InvalidPasswordException("must not be one that was found in stolen data")
        return await self._passwords.hash(password)

    async def _user_of_reset_token(self, token: str) -> Account:
        try:
            claims = _read(token, self._secrets.reset, self.reset_password_token_audience)
            user = await self.get(self.parse_id(claims["sub"]))
            fits = any(
                hmac.compare_digest(claims["password_fgpt"], self._fingerprint(user, secret))
                for secret in self._secrets.reset
            )
        except (jwt.PyJWTError, KeyError, InvalidID, UserNotExists) as error:
            raise InvalidResetPasswordToken from error
        if not fits or not user.is_active:
            raise InvalidResetPasswordToken
        return user

    def _fingerprint(self, user: Account | None, secret: str) -> str:
        """Changes with the password, so that a link is good once, and with the address that the link was sent to."""
        facts = f"{user.hashed_password}\n{user.email}".encode() if user else b""
        return hmac.digest(secret.encode(), facts, "sha256").hex()


def _read(token: str, secrets: Sequence[str], audience: str) -> dict[str, Any]:
    """The claims of a token that was signed with one of the secrets. Raises PyJWTError."""
    *others, last = secrets
    for secret in others:
        with suppress(jwt.InvalidSignatureError):
            return decode_jwt(token, secret, [audience])
    return decode_jwt(token, last, [audience])


def _usable(account: ProviderAccount) -> str:
    """The account's address in the form in which it is stored."""
    if not account.email:
        raise NoVerifiedEmail(account.provider)
    try:
        return normalised(account.email)
    except ValueError as error:
        raise UnusableEmail(account.provider) from error
