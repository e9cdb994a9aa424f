"""Signing in and out, and the ways to an account: the endpoints under /auth."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response
from fastapi.security import OAuth2PasswordRequestForm

from rest_api.forms import FormRoute
from rest_api.guard import JsonRoute, SessionRoute, caller_of
from rest_api.problems.document import documented
from rest_api.users.accounts import Account
from rest_api.users.problems import BadCredentials
from rest_api.users.proof import noting_a_wrong_password
from rest_api.users.rate_limits import Limits
from rest_api.users.schemas import EmailOnly, NewPassword, Refresh, Tokens, UserCreate, UserRead, Verification
from rest_api.users.services import Services
from rest_api.users.strategy import answer
from rest_api.users.trail import about

Responses = dict[int | str, dict[str, Any]]

router = APIRouter(prefix="/auth", tags=["auth"], responses=documented(413, 422, 503))
_form = APIRouter(route_class=FormRoute, responses=documented(415))
_open = APIRouter(route_class=JsonRoute, responses=documented(400, 415))
_guarded = APIRouter(route_class=SessionRoute)

_WRONG_CREDENTIALS: Final[Responses] = {400: {"description": "The e-mail address or the password is wrong."}}
_BAD_REFRESH_TOKEN: Final[Responses] = {
    400: {"description": "The refresh token is not good any more, or the request cannot be read."}
}
_BAD_LINK: Final[Responses] = {400: {"description": "The token is not good any more, or the request cannot be read."}}


@_open.post(
    "/register", status_code=201, response_model=UserRead, responses=documented(403, 409, 429), operation_id="register"
)
async def register(new: UserCreate, request: Request, limits: Limits, services: Services) -> Account:
    """Make an account. A link to confirm the address is sent to it; whether signing in waits for that, and whether
    accounts are made here by everybody, is up to who runs the service (`REGISTRATION`).
    """
    about(request)
    await limits.register(request, new.email)
    user = await services.manager.register(new.email, new.password)
    about(request, user.id)
    return user


@_form.post("/login", response_model=Tokens, responses=_WRONG_CREDENTIALS | documented(403, 429), operation_id="login")
async def login(
    credentials: Annotated[OAuth2PasswordRequestForm, Depends()], request: Request, limits: Limits, services: Services
) -> Response:
    """Sign in with e-mail address (as `username`) and password (RFC 6749, section 4.3)."""
    about(request)
    await limits.login(request)
    async with limits.guessing(request, credentials.username):
        found = await services.manager.identify(credentials)
        about(request, found.user_id)
        if found.user is None:
            raise BadCredentials
    return await services.backend.login(services.strategy_of(request), found.user)


@_open.post("/refresh", response_model=Tokens, responses=_BAD_REFRESH_TOKEN | documented(429), operation_id="refresh")
async def refresh(known: Refresh, request: Request, limits: Limits, services: Services) -> Response:
    """Get new tokens for the session that a refresh token belongs to (RFC 6749, section 6).

    A refresh token is good once. One that comes a second time ends its session at once: somebody has stolen it.
    """
    token = known.refresh_token
    about(request)
    await limits.refresh_from(request)
    await limits.refresh_of(str(await services.sessions.of_refresh_token(token) or token))
    return answer(await services.strategy.refresh(token))


@_guarded.post("/logout", status_code=204, operation_id="logout")
async def logout(request: Request, services: Services) -> None:
    """Sign out. The access token and the refresh token are good for nothing from then on."""
    await services.sessions.end(caller_of(request).session())


@_open.post(
    "/forgot-password",
    status_code=202,
    response_class=Response,
    responses=documented(429),
    operation_id="forgotPassword",
)
async def forgot_password(known: EmailOnly, request: Request, limits: Limits, services: Services) -> None:
    """Have a link sent with which a new password can be chosen. The answer is the same if nobody has the address."""
    about(request)
    await limits.mail(request, known.email)
    about(request, await services.manager.mail_reset_link(known.email))


@_open.post("/reset-password", status_code=204, responses=_BAD_LINK | documented(429), operation_id="resetPassword")
async def reset_password(new: NewPassword, request: Request, limits: Limits, services: Services) -> None:
    """Choose a new password with the token of the link. It works once, and ends every session."""
    about(request)
    await limits.link(request, new.token)
    user = await services.manager.reset_password(new.token, new.password)
    about(request, user.id)
    await limits.forgive(request, user.email)


@_open.post(
    "/request-verify-token",
    status_code=202,
    response_class=Response,
    responses=documented(429),
    operation_id="requestVerification",
)
async def request_verification(known: EmailOnly, request: Request, limits: Limits, services: Services) -> None:
    """Have a link sent that confirms the address. The answer is the same if nobody has the address."""
    await limits.mail(request, known.email)
    await services.manager.mail_link_to_confirm(known.email)


@_open.post(
    "/verify", response_model=UserRead, responses=_BAD_LINK | documented(403, 409, 429), operation_id="verifyEmail"
)
async def verify_email(proof: Verification, request: Request, limits: Limits, services: Services) -> Account:
    """Confirm an address with the token of the link and the password of the account. From then on it is in force."""
    about(request)
    await limits.link(request, proof.token)
    user, email = await services.manager.link_to_confirm(proof.token)
    about(request, user.id, kinds=["address-confirmed"] if email == user.email else ["address-changed"])
    async with limits.guessing(request, user.email):
        with noting_a_wrong_password(request):
            await services.manager.check_password(user, proof.current_password)
    return await services.manager.confirm(user, email)


router.include_router(_form)
router.include_router(_open)
router.include_router(_guarded)
