"""Users: the endpoints under /users."""

from collections.abc import Iterator, Mapping
from typing import Any

from book_db.accounts.users import NOTHING, Access
from book_db.roles import role_of
from fastapi import APIRouter, Depends, Request

from rest_api.fields import utf8_alone
from rest_api.guard import SessionRoute, caller_of
from rest_api.problems.document import documented
from rest_api.users import page_tokens
from rest_api.users.access import router as access
from rest_api.users.accounts import Account
from rest_api.users.own_sessions import router as own_sessions
from rest_api.users.own_tokens import router as own_tokens
from rest_api.users.problems import NotForOneself, PasswordNeeded
from rest_api.users.proof import Proof
from rest_api.users.rate_limits import Limits
from rest_api.users.schemas import (
    PAGE_SIZE_DEFAULT,
    PageSize,
    PageToken,
    UserId,
    UserInvite,
    UserPage,
    UserRead,
    UserUpdate,
    UserUpdateBySuperuser,
)
from rest_api.users.services import CurrentUser, Services, require_superuser
from rest_api.users.trail import about

router = APIRouter(tags=["users"], responses=documented(503))
_oneself = APIRouter(prefix="/users/me", route_class=SessionRoute)
_everyone = APIRouter(
    prefix="/users", route_class=SessionRoute, dependencies=[require_superuser], responses=documented(422)
)

_WRITES = documented(400, 409, 413, 415, 422)


@_oneself.get("", response_model=UserRead, operation_id="getMe")
async def get_me(user: CurrentUser) -> Account:
    """Who is signed in."""
    return user


@_oneself.patch("", response_model=UserRead, responses=_WRITES | documented(429), operation_id="changeMe")
async def change_me(change: UserUpdate, request: Request, prove: Proof, limits: Limits, services: Services) -> Account:
    """Change one's own address or password, with the password as it is now.

    A new password ends every other session, and the tokens of one's programs if that is wanted. A new address is sent a
    link, and is one's own when it is confirmed; the old one is told.
    """
    about(request, kinds=[_WANTED[name] for name in sorted(change.values())])
    user = await prove(change.current_password)
    if "password" in change.model_fields_set:
        await limits.password(user.email)
    if "email" in change.model_fields_set:
        # It tells who has an account, and sends a mail to whoever has the address.
        await limits.register(request, change.email)
        await limits.mail(request, change.email)
    session_id = caller_of(request).session()
    ends = Access.SESSIONS if "password" in change.model_fields_set else NOTHING
    if change.end_tokens:
        ends |= Access.TOKENS
    return await services.manager.change_own(
        user, change.current_password, change.values(), within=session_id, ends=ends
    )


@_everyone.get("", response_model=UserPage, operation_id="listUsers", dependencies=[Depends(utf8_alone)])
async def list_users(
    services: Services, page_size: PageSize = PAGE_SIZE_DEFAULT, page_token: PageToken = None
) -> dict[str, object]:
    """Page through the users, by ascending id."""
    after = page_tokens.decode(page_token) if page_token is not None else None
    users = await services.users.page(page_size + 1, after)
    more = len(users) > page_size
    return {
        "users": users[:page_size],
        "next_page_token": page_tokens.encode(users[page_size - 1].id) if more else None,
    }


@_everyone.post(
    "", status_code=201, response_model=UserRead, responses=documented(429) | _WRITES, operation_id="createUser"
)
async def create_user(new: UserInvite, request: Request, prove: Proof, services: Services) -> Account:
    """Make an account for somebody, with one's own password as it is now. A link to choose its password is sent to the
    address, which counts as confirmed.
    """
    about(request)
    await prove(new.current_password)
    user = await services.manager.invite(new.email, new.role)
    about(request, user.id)
    return user


@_everyone.get("/{user_id}", response_model=UserRead, responses=documented(404), operation_id="getUser")
async def get_user(user_id: UserId, services: Services) -> Account:
    """Read one user."""
    return await services.manager.get(user_id)


@_everyone.patch(
    "/{user_id}", response_model=UserRead, responses=documented(404, 429) | _WRITES, operation_id="changeUser"
)
async def change_user(
    user_id: UserId, change: UserUpdateBySuperuser, request: Request, prove: Proof, services: Services
) -> Account:
    """Change a user; another address, password or right with one's own password as it is now.

    A new password and a deactivation end the user's sessions, take back the tokens of the user's programs and forget
    the accounts at providers that the user signs in with, at once. A new address is the user's when it is confirmed, or
    at once with `is_verified`. One's own address and password are changed at `/users/me`.
    """
    named = change.model_fields_set
    about(request, user_id, kinds=sorted(_kinds_of(change.values())))
    if user_id == caller_of(request).user_id and named & {"email", "password"}:
        raise NotForOneself
    if named & {"email", "password", "role", "is_superuser", "is_verified"}:
        if "current_password" not in named:
            raise PasswordNeeded
        await prove(change.current_password)
    return await services.manager.change_other(user_id, change.values())


@_everyone.delete("/{user_id}", status_code=204, responses=documented(404, 409), operation_id="deleteUser")
async def delete_user(user_id: UserId, services: Services) -> None:
    """Remove a user, and with the user every session and token. The user's books stay."""
    await services.manager.delete(await services.manager.get(user_id))


_WANTED = {"password": "password-changed", "email": "address-asked-for"}
"""What is noted of a change of one's own account, by its fields."""


def _kinds_of(values: Mapping[str, Any]) -> Iterator[str]:
    """What is noted of a superuser's change of an account."""
    if "password" in values:
        yield "password-set"
    if "email" in values:
        yield "address-set" if values.get("is_verified") else "address-asked-for"
    elif "is_verified" in values:
        yield "address-vouched-for" if values["is_verified"] else "address-doubted"
    if "is_superuser" in values:
        yield f"role-{role_of(is_superuser=values['is_superuser'], is_editor=values.get('is_editor', True))}-given"
    if "is_active" in values:
        yield "activated" if values["is_active"] else "deactivated"


router.include_router(_oneself)
router.include_router(own_sessions)
router.include_router(own_tokens)
router.include_router(_everyone)
router.include_router(access)
