"""Who is calling: from an access token to a user whose session is live."""

import time
from collections import defaultdict
from collections.abc import Collection
from typing import Final, NamedTuple
from uuid import UUID

from book_runtime.tokens import InvalidToken, TokenVerifier

from book_db.books.coalescing import Coalescer
from book_db.notifications import Listener
from book_db.users import CALLERS_CHANGED, Sessions

_REMEMBERED_FOR: Final = 5.0
"""Seconds. What bounds a notification that was lost on its way."""

_MOST_REMEMBERED: Final = 50_000


class Caller(NamedTuple):
    """The user who calls, and the sign-in the call belongs to."""

    user_id: UUID
    session_id: UUID


class _Memory(NamedTuple):
    caller: Caller
    until: float


class Callers:
    """Tells who is calling.

    What was found of a token is remembered for a few seconds, and forgotten at once when PostgreSQL tells that the
    user's sessions or rights have changed. While it cannot tell, nothing is remembered.
    """

    def __init__(self, verifier: TokenVerifier, sessions: Sessions) -> None:
        self._verifier = verifier
        self._sessions = sessions
        self._live = Coalescer(self._look_up)
        self._remembered: dict[str, _Memory] = {}
        self._tokens: defaultdict[str, set[str]] = defaultdict(set)
        self._changes = 0
        self._hearing = False
        sessions.on_change(self.forget)

    async def identify(self, token: str) -> Caller:
        """The caller that the token stands for.

        Raises InvalidToken when it is not a good token, or when its session or its user's account has ended.
        """
        memory = self._remembered.get(token)
        if memory is not None and time.monotonic() < memory.until:
            return memory.caller
        claims = self._verifier.verify(token)
        changes = self._changes
        user_id = await self._live.load(claims.session)
        if user_id is None or user_id != claims.subject:
            raise InvalidToken("its session has ended")
        caller = Caller(user_id, claims.session)
        # What changed during the look-up may have changed this caller.
        if self._hearing and changes == self._changes:
            self._remember(token, caller, claims.expires.timestamp() - time.time())
        return caller

    def forget(self, user_id: str) -> None:
        """Forgets what is remembered of a user."""
        self._changes += 1
        for token in self._tokens.pop(user_id, ()):
            self._remembered.pop(token, None)

    def listener(self, url: str) -> Listener:
        """What must run beside this for anything to be remembered."""
        return Listener(url, {CALLERS_CHANGED: self.forget}, hearing=self._begin_to_hear, deaf=self._go_deaf)

    def _begin_to_hear(self) -> None:
        # Look-ups that are under way began when a change could still be missed.
        self._changes += 1
        self._hearing = True

    def _go_deaf(self) -> None:
        self._hearing = False
        self._forget_all()

    def _remember(self, token: str, caller: Caller, seconds_left: float) -> None:
        if len(self._remembered) >= _MOST_REMEMBERED:
            self._forget_all()
        self._remembered[token] = _Memory(caller, time.monotonic() + min(_REMEMBERED_FOR, seconds_left))
        self._tokens[str(caller.user_id)].add(token)

    def _forget_all(self) -> None:
        self._remembered.clear()
        self._tokens.clear()

    async def _look_up(self, session_ids: Collection[UUID]) -> dict[UUID, UUID | None]:
        live = await self._sessions.live(session_ids)
        return {session_id: live.get(session_id) for session_id in session_ids}
