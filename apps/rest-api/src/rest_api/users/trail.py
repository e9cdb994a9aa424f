"""The audit trail: what is done with accounts, and what is tried, is noted before it is answered.

An endpoint says what its request is about (`about`), and the middleware notes how it was answered: so nothing is noted
as done that was not, and no endpoint can forget what became of it.

docs/decisions/0033 gives the reasons.
"""

import time
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final
from uuid import UUID

import structlog
from book_db.accounts.audit_trail import AccountEvent, AccountEvents
from book_db.accounts.authentication import Caller
from book_db.errors import DatabaseUnavailable
from book_runtime.telemetry import current_trace_id
from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rest_api.client_address import address_of

_log = structlog.get_logger(__name__)

KINDS: Final[Mapping[str, str]] = {
    "register": "registered",
    "login": "signed-in",
    "signInWithGitHub": "signed-in",
    "signInWithGoogle": "signed-in",
    "logout": "signed-out",
    "refresh": "session-refreshed",
    "endSession": "session-ended",
    "endOtherSessions": "other-sessions-ended",
    "createToken": "token-made",
    "removeToken": "token-removed",
    "unlinkLogin": "login-unlinked",
    "forgotPassword": "reset-asked-for",
    "startReset": "reset-asked-for",
    "resetPassword": "password-reset",
    "verifyEmail": "address-confirmed",
    "changeMe": "account-changed",
    "createUser": "invited",
    "changeUser": "account-changed",
    "deleteUser": "account-removed",
    "endAccess": "access-ended",
    "endOneAccess": "access-ended",
}
"""By operation. An endpoint that does one thing or another says which."""

_QUIET: Final = frozenset((("session-refreshed", "done"),))
"""What sessions do every quarter of an hour by themselves."""

_OUTCOMES: Final = {
    HTTPStatus.BAD_REQUEST: "wrong",
    HTTPStatus.FORBIDDEN: "refused",
    HTTPStatus.NOT_FOUND: "refused",
    HTTPStatus.CONFLICT: "refused",
    HTTPStatus.TOO_MANY_REQUESTS: "refused",
}
"""Of whatever was not done. What is not listed was not understood, or failed: it is no act."""

_REPEAT_SECONDS: Final = 60.0
"""Seconds in which what is refused to the same ones again and again is noted once: there is no limit to it."""

_MAX_REFUSED_REMEMBERED: Final = 10_000


@dataclass
class _About:
    user_id: UUID | None = None
    session_id: UUID | None = None
    kinds: list[str] = field(default_factory=list)
    detail: str | None = None
    outcome: str | None = None


def about(
    request: Request,
    user_id: UUID | None = None,
    *,
    session_id: UUID | None = None,
    kinds: Collection[str] = (),
    detail: str | None = None,
    outcome: str | None = None,
) -> None:
    """Says what a request is about, as far as it is known by now; what was said before stays.

    ``outcome`` is for what its status does not tell.
    """
    said: _About = request.scope.setdefault("state", {}).setdefault("about", _About())
    said.user_id = user_id or said.user_id
    said.session_id = session_id or said.session_id
    said.kinds += kinds
    said.detail = detail or said.detail
    said.outcome = outcome or said.outcome


class Trail:
    """ASGI middleware: notes what becomes of the requests that are about accounts, in the log and in the database."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._refused: OrderedDict[tuple[str, object], float] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                await self._note(scope, message["status"])
            await send(message)

        await self._app(scope, receive, noted if scope["type"] == "http" else send)

    async def _note(self, scope: Scope, status: int) -> None:
        kind = KINDS.get(getattr(scope.get("route"), "operation_id", None) or "")
        if kind is None:
            return
        outcome = "done" if status < HTTPStatus.BAD_REQUEST else _OUTCOMES.get(HTTPStatus(status))
        if outcome is None:
            return
        state = scope.get("state", {})
        caller: Caller | None = state.get("caller")
        said: _About | None = state.get("about")
        if said is None and caller is None:
            return  # it was not so much as understood
        outcome = (said.outcome if said else None) or outcome
        events = [
            event
            for event in _events(Request(scope), kind, outcome, caller, said or _About())
            if (event.kind, outcome) not in _QUIET and not self._was_noted(event)
        ]
        if events:
            await _keep(scope["app"].state.account_events, events)

    def _was_noted(self, event: AccountEvent) -> bool:
        if event.outcome != "refused":
            return False
        now, who = time.monotonic(), (event.kind, event.actor_id or event.address)
        if now < self._refused.get(who, 0.0):
            return True
        self._refused[who] = now + _REPEAT_SECONDS
        self._refused.move_to_end(who)
        if len(self._refused) > _MAX_REFUSED_REMEMBERED:
            self._refused.popitem(last=False)
        return False


def _events(request: Request, kind: str, outcome: str, caller: Caller | None, said: _About) -> list[AccountEvent]:
    user_id = said.user_id or _user_in_path(request) or (caller.user_id if caller else None)
    return [
        AccountEvent(
            each,
            outcome,
            user_id=user_id,
            actor_id=caller.user_id if caller else None,
            session_id=said.session_id or (caller.session_id if caller else None),
            address=address_of(request) or None,
            trace_id=current_trace_id(),
            detail=said.detail,
        )
        for each in said.kinds or [kind]
    ]


def _user_in_path(request: Request) -> UUID | None:
    try:
        return UUID(str(request.path_params.get("user_id")))
    except ValueError:
        return None


async def _keep(trail: AccountEvents, events: Collection[AccountEvent]) -> None:
    for event in events:
        _log.info("account event", **_told(event))
    try:
        await trail.add(events)
    except DatabaseUnavailable as error:
        # What was done is done; the log has it.
        _log.error("an account event could not be stored", cause=repr(error), kinds=[each.kind for each in events])


def _told(event: AccountEvent) -> dict[str, Any]:
    return {name: str(value) for name, value in event._asdict().items() if value is not None}
