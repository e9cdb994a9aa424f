"""One's own sessions: the endpoints under /users/me/sessions."""

from typing import Any

from fastapi import APIRouter, Request

from rest_api.guard import SessionRoute, caller_of
from rest_api.problems.document import documented
from rest_api.users.schemas import SessionId, SessionList
from rest_api.users.services import Services

router = APIRouter(prefix="/users/me/sessions", route_class=SessionRoute)


@router.get("", response_model=SessionList, operation_id="listSessions")
async def list_sessions(request: Request, services: Services) -> dict[str, Any]:
    """See where one is signed in, the session that was used last first. There are 100 at most: one more ends the one
    that was used longest ago.
    """
    caller = caller_of(request)
    sessions = await services.sessions.of(caller.user_id)
    return {"sessions": [each._asdict() | {"current": each.id == caller.session_id} for each in sessions]}


@router.delete("", status_code=204, operation_id="endOtherSessions")
async def end_other_sessions(request: Request, services: Services) -> None:
    """Sign out everywhere else, at once. This session goes on."""
    caller = caller_of(request)
    await services.sessions.end_all(caller.user_id, keep=caller.session())


@router.delete("/{session_id}", status_code=204, responses=documented(404, 422), operation_id="endSession")
async def end_session(session_id: SessionId, request: Request, services: Services) -> None:
    """End one of one's sessions at once, this one too."""
    await services.sessions.end_one(caller_of(request).user_id, session_id)
