"""How a user stays signed in: an access token that names a session."""

from uuid import UUID

from book_db.callers import Callers
from book_db.errors import UserNotFound
from book_db.sessions import Sessions
from book_runtime.tokens import InvalidToken
from fastapi import Response
from fastapi_users.authentication import BearerTransport, Strategy
from fastapi_users.manager import BaseUserManager

from rest_api.guard import bearer
from rest_api.users.accounts import Account
from rest_api.users.problems import BadCredentials
from rest_api.users.schemas import AccessToken
from rest_api.users.signing import TokenSigner


class SessionStrategy(Strategy[Account, UUID]):
    """Signs tokens for sessions. The token is good as long as its session is."""

    def __init__(self, sessions: Sessions, callers: Callers, signer: TokenSigner, lifetime_seconds: int) -> None:
        self._sessions = sessions
        self._callers = callers
        self._signer = signer
        self._lifetime_seconds = lifetime_seconds

    async def write_token(self, user: Account) -> str:
        try:
            sign_in = await self._sessions.begin(user.id, self._lifetime_seconds, hashed_password=user.hashed_password)
        except UserNotFound as error:  # or changed, since the password was found right
            raise BadCredentials from error
        return self._signer.sign(user.id, sign_in.session_id, self._lifetime_seconds)

    async def read_token(self, token: str | None, user_manager: BaseUserManager[Account, UUID]) -> Account | None:
        try:
            caller = await self._callers.identify(token or "")
        except InvalidToken:
            return None
        return await user_manager.user_db.get(caller.user_id)

    async def destroy_token(self, token: str, user: Account) -> None:
        caller = await self._callers.identify(token)
        await self._sessions.end(caller.session())
        # PostgreSQL tells every process; this one need not wait for it.
        self._callers.forget(str(user.id))


class TokenTransport(BearerTransport):
    """Gives the token as RFC 6749, section 5.1, asks: with its lifetime, and not to be stored on its way."""

    scheme = bearer

    def __init__(self, lifetime_seconds: int) -> None:
        self._lifetime_seconds = lifetime_seconds

    async def get_login_response(self, token: str) -> Response:
        answer = AccessToken(access_token=token, expires_in=self._lifetime_seconds)
        return Response(
            answer.model_dump_json(),
            media_type="application/json",
            headers={"Cache-Control": "no-store"},
        )
