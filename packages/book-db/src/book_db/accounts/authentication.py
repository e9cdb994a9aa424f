"""Authenticates callers: from a token to a user whose session is live, or whose API token it is.

docs/decisions/0005 and 0013 give the reasons.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from typing import Final, NamedTuple
from uuid import UUID

from book_runtime.batching import BatchLoader
from book_runtime.tokens import InvalidToken, TokenVerifier

from book_db.accounts.api_tokens import ApiTokens, GoodToken
from book_db.accounts.invalidation import CALLERS_CHANGED
from book_db.accounts.secret_tokens import API_TOKEN, digest, is_whole
from book_db.accounts.sessions import LiveSession, Sessions
from book_db.errors import InsufficientRole, InsufficientScope, SessionRequired
from book_db.postgres.listener import Listener
from book_db.roles import ALL_SCOPES, Role

_REMEMBERED_SECONDS: Final = 5.0
"""Bounds how long a lost notification is missed."""

_REMEMBERED_MAX_TOKENS: Final = 50_000


class Caller(NamedTuple):
    """In whose name the call is, and what it may do."""

    user_id: UUID
    session_id: UUID | None
    """The sign-in the call belongs to; none when a program calls with a token of its own."""
    scopes: frozenset[str]
    """Of the token. A session has all of them."""
    role: Role
    """Of the user."""

    def require_scope(self, scope: str) -> None:
        """Raises InsufficientScope and InsufficientRole."""
        if scope not in self.scopes:
            raise InsufficientScope(scope)
        if scope not in self.role.scopes:
            raise InsufficientRole(self.role)

    def session(self) -> UUID:
        """The sign-in. Raises SessionRequired when there is none."""
        if self.session_id is None:
            raise SessionRequired
        return self.session_id


class _Memory(NamedTuple):
    caller: Caller
    until: float


class Authenticator:
    """Authenticates callers by their tokens.

    Results are cached for a few seconds, and invalidated at once when PostgreSQL notifies that the user's sessions or
    rights have changed. Nothing is cached while the listener is not connected.
    """

    def __init__(self, verifier: TokenVerifier, sessions: Sessions, api_tokens: ApiTokens) -> None:
        self._verifier = verifier
        self._sessions = sessions
        self._api_tokens = api_tokens
        self._live = BatchLoader(self._look_up_sessions)
        self._good = BatchLoader(self._look_up_api_tokens)
        self._remembered: dict[str, _Memory] = {}
        self._tokens: defaultdict[str, set[str]] = defaultdict(set)
        self._changes = 0
        self._is_connected = False
        sessions.on_change(self.forget)

    async def authenticate(self, token: str) -> Caller:
        """The caller that the token stands for.

        Raises InvalidToken when it is not a good token, or when its session or its user's account has ended.
        """
        memory = self._remembered.get(token)
        if memory is not None and time.monotonic() < memory.until:
            return memory.caller
        changes = self._changes
        memory = await (self._program(token) if token.startswith(API_TOKEN) else self._person(token))
        # What changed during the look-up may have changed this caller.
        if self._is_connected and changes == self._changes:
            self._remember(token, memory)
        return memory.caller

    def forget(self, user_id: str) -> None:
        """Forgets what is remembered of a user."""
        self._changes += 1
        for token in self._tokens.pop(user_id, ()):
            self._remembered.pop(token, None)

    def listener(self, url: str, others: Mapping[str, Callable[[str], None]] | None = None) -> Listener:
        """What must run for anything to be cached. Its connection serves the channels of ``others`` as well."""
        handlers = {CALLERS_CHANGED: self.forget, **(others or {})}
        return Listener(url, handlers, on_connected=self._on_connected, on_disconnected=self._on_disconnected)

    def _on_connected(self) -> None:
        # Look-ups in progress began when a notification could still be missed.
        self._changes += 1
        self._is_connected = True

    def _on_disconnected(self) -> None:
        self._is_connected = False
        self._forget_all()

    async def _person(self, token: str) -> _Memory:
        claims = self._verifier.verify(token)
        until = time.monotonic() + min(_REMEMBERED_SECONDS, claims.expires.timestamp() - time.time())
        live = await self._live.load(claims.session)
        if live is None or live.user_id != claims.subject:
            raise InvalidToken("its session has ended")
        return _Memory(Caller(live.user_id, claims.session, ALL_SCOPES, live.role), until)

    async def _program(self, token: str) -> _Memory:
        if not is_whole(token, API_TOKEN):
            raise InvalidToken("it is malformed")
        asked_at = time.monotonic()
        found = await self._good.load(digest(token))
        if found is None:
            raise InvalidToken("it was removed or has expired")
        until = asked_at + min(_REMEMBERED_SECONDS, found.seconds_left)
        return _Memory(Caller(found.user_id, None, found.scopes, found.role), until)

    def _remember(self, token: str, memory: _Memory) -> None:
        if len(self._remembered) >= _REMEMBERED_MAX_TOKENS:
            self._forget_all()
        self._remembered[token] = memory
        self._tokens[str(memory.caller.user_id)].add(token)

    def _forget_all(self) -> None:
        self._remembered.clear()
        self._tokens.clear()

    async def _look_up_sessions(self, session_ids: Collection[UUID]) -> dict[UUID, LiveSession | None]:
        live = await self._sessions.live(session_ids)
        return {session_id: live.get(session_id) for session_id in session_ids}

    async def _look_up_api_tokens(self, hashes: Collection[bytes]) -> dict[bytes, GoodToken | None]:
        good = await self._api_tokens.good(hashes)
        return {each: good.get(each) for each in hashes}
