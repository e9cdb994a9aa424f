"""How a user stays signed in: an access token that names a session, and a refresh token that lets it live on."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from uuid import UUID

from book_db.accounts.authentication import Authenticator
from book_db.accounts.sessions import Client, Sessions, SignIn
from book_db.errors import UserNotFound
from book_runtime.tokens import InvalidToken
from fastapi import Request, Response
from fastapi_users.authentication import AuthenticationBackend, BearerTransport, Strategy
from fastapi_users.manager import BaseUserManager

from rest_api.guard import LOGIN_PATH
from rest_api.users.accounts import Account
from rest_api.users.clients import client_of
from rest_api.users.problems import AddressNotConfirmed, BadCredentials
from rest_api.users.schemas import Tokens
from rest_api.users.signing import TokenSigner
from rest_api.users.trail import about


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """In seconds."""

    access: int
    """Of an access token."""
    refresh: int
    """Of a refresh token, and with it of a session that is not refreshed."""


@dataclass(frozen=True)
class SessionStrategy(Strategy[Account, UUID]):
    """Signs tokens for sessions. A token is good as long as its session is, and no longer than its lifetime."""

    sessions: Sessions
    authenticator: Authenticator
    signer: TokenSigner
    lifetimes: Lifetimes
    confirmed: bool = False
    """Whether nobody signs in who has not confirmed the address."""
    client: Client = field(default_factory=Client)
    """Where the sign-ins come from that this begins."""
    request: Request | None = None
    """That is answered with the sign-in, for the trail."""

    def of(self, request: Request) -> "SessionStrategy":
        """The same for a request."""
        return replace(self, client=client_of(request), request=request)

    async def begin(self, user: Account) -> Tokens:
        """Signs in a user who was found to be the one.

        Raises AddressNotConfirmed, and BadCredentials if the user was changed meanwhile.
        """
        if self.confirmed and not user.is_verified:
            raise AddressNotConfirmed
        try:
            sign_in = await self.sessions.begin(
                user.id,
                self.lifetimes.refresh,
                hashed_password=user.hashed_password,
                email=user.email,
                confirmed=self.confirmed,
                client=self.client,
            )
        except UserNotFound as error:  # or changed, since the password was found right
            raise BadCredentials from error
        if self.request is not None:
            about(self.request, user.id, session_id=sign_in.session_id)
        return self._tokens(sign_in)

    async def refresh(self, token: str) -> Tokens:
        """New tokens of the same session. Raises RefreshRefused."""
        return self._tokens(await self.sessions.refresh(token, self.lifetimes.refresh))

    async def write_token(self, user: Account) -> str:
        return (await self.begin(user)).access_token

    async def read_token(self, token: str | None, user_manager: BaseUserManager[Account, UUID]) -> Account | None:
        try:
            caller = await self.authenticator.authenticate(token or "")
        except InvalidToken:
            return None
        return await user_manager.user_db.get(caller.user_id)

    async def destroy_token(self, token: str, user: Account) -> None:
        caller = await self.authenticator.authenticate(token)
        await self.sessions.end(caller.session())

    def _tokens(self, sign_in: SignIn) -> Tokens:
        return Tokens(
            access_token=self.signer.sign(sign_in.user_id, sign_in.session_id, self.lifetimes.access),
            expires_in=self.lifetimes.access,
            refresh_token=sign_in.refresh_token,
            refresh_expires_in=self.lifetimes.refresh,
        )


class SessionBackend(AuthenticationBackend[Account, UUID]):
    """Answers a sign-in with both tokens, where fastapi-users knows of one. Its OAuth routers sign in with it too."""

    def __init__(self, strategy_of: Callable[[Request], Coroutine[None, None, SessionStrategy]]) -> None:
        super().__init__("password", BearerTransport(LOGIN_PATH), strategy_of)

    async def login(self, strategy: Strategy[Account, UUID], user: Account) -> Response:
        assert isinstance(strategy, SessionStrategy)  # what strategy_of gives
        return answer(await strategy.begin(user))


def answer(tokens: Tokens) -> Response:
    """As RFC 6749, section 5.1, asks: not to be stored on its way."""
    return Response(
        tokens.model_dump_json(),
        media_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
