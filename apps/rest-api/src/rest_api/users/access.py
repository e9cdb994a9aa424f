"""What others can be acted as with: endpoints for superusers under /users/{user_id}."""

from contextlib import suppress
from typing import Any

from book_db.accounts.users import EVERYTHING
from fastapi import APIRouter, Response
from fastapi_users.exceptions import UserInactive

from rest_api.guard import SessionRoute
from rest_api.problems.document import documented
from rest_api.users.schemas import Access, AccessId, UserId
from rest_api.users.services import Services, require_superuser

router = APIRouter(
    prefix="/users/{user_id}",
    route_class=SessionRoute,
    dependencies=[require_superuser],
    responses=documented(404, 422),
)


@router.get("/access", response_model=Access, operation_id="listAccess")
async def list_access(user_id: UserId, services: Services) -> dict[str, Any]:
    """See where a user is signed in, with which tokens programs act in the user's name, and with which accounts at
    providers the user can sign in.
    """
    user = await services.manager.get(user_id)
    return {
        "sessions": await services.sessions.of(user.id),
        "tokens": await services.api_tokens.of(user.id),
        "logins": await services.oauth_accounts.links_of(user.id),
    }


@router.post("/sign-out", status_code=204, operation_id="endAccess")
async def end_access(user_id: UserId, services: Services) -> None:
    """End every session, token and login of a user at once. The password stays as it is."""
    await services.users.end(user_id, EVERYTHING)


@router.delete("/access/{access_id}", status_code=204, operation_id="endOneAccess")
async def end_one_access(user_id: UserId, access_id: AccessId, services: Services) -> None:
    """End one session, token or login of a user at once."""
    await services.users.end_one(user_id, access_id)


@router.post("/password-reset", status_code=202, response_class=Response, operation_id="startReset")
async def start_reset(user_id: UserId, services: Services) -> None:
    """Have a link sent to a user with which a new password can be chosen. It ends every session, token and login. Of a
    user who is deactivated nothing comes of it.
    """
    user = await services.manager.get(user_id)
    with suppress(UserInactive):
        await services.manager.forgot_password(user)
