"""Signing in with a provider, and the accounts with providers that belong to a user."""

from collections.abc import Collection
from typing import Annotated, Any, Final
from uuid import UUID

from book_db.accounts.oauth_accounts import Link
from book_db.errors import Overtaken
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, Field

from rest_api.fields import utf8_alone
from rest_api.guard import SessionRoute, caller_of
from rest_api.problems.document import documented
from rest_api.spelling import HYPHENATED
from rest_api.users.oauth.problems import TITLES
from rest_api.users.oauth.sign_in import Callback, SignIn
from rest_api.users.problems import WrongPassword
from rest_api.users.proof import Proof
from rest_api.users.rate_limits import Limits
from rest_api.users.schemas import CurrentPasswordOnly, LinkedLogin, Tokens
from rest_api.users.services import Services


class AuthorizationUrl(BaseModel):
    """Where to sign in."""

    authorization_url: str = Field(
        description="The address to which this browser is to go. It comes back signed in, or with a problem.",
        examples=["https://github.com/login/oauth/authorize?response_type=code&client_id=..."],
    )


class LinkedLogins(BaseModel):
    """All accounts with providers that belong to a user."""

    logins: list[LinkedLogin]


LinkId = Annotated[UUID, Path(description="The login's id."), HYPHENATED]
Code = Annotated[
    str | None, Query(max_length=2_048, description="What the provider gives for a token, once; without an `error`.")
]
# Short enough that no JSON in it can be nested too deeply to be read.
State = Annotated[str | None, Query(max_length=512, description="What the address to sign in carried along.")]
Error = Annotated[str | None, Query(max_length=100, description="Why there is no code (RFC 6749, 4.1.2.1).")]

_PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    400: {
        "description": "This browser has not begun to sign in, the provider was told not to, its code is not good, or "
        "it has verified no e-mail address that can be used."
    },
    403: {"description": "The account is deactivated."},
    409: {"description": "There is an account with the e-mail address, but nobody has shown that it is theirs."},
    502: {"description": "The provider does not answer as it should."},
}


def router_for(providers: Collection[str]) -> APIRouter:
    """The endpoints of the providers of these names, and of the logins with them; none where there are none."""
    router = APIRouter(responses=documented(503))
    for name in providers:
        router.include_router(_with_provider(name, TITLES[name]))
    if providers:
        router.include_router(_logins)
    return router


async def _limited(request: Request, limits: Limits) -> None:
    await limits.login(request)


def _with_provider(name: str, title: str) -> APIRouter:
    router = APIRouter(prefix=f"/auth/{name}", tags=["auth"])

    async def sign_in_of(request: Request) -> SignIn:
        sign_in: SignIn = request.app.state.sign_ins[name]
        return sign_in

    With = Annotated[SignIn, Depends(sign_in_of)]  # noqa: N806  # a type

    @router.get(
        "/authorize",
        operation_id=f"authorizeWith{title}",
        summary=f"Begin to sign in with {title}",
    )
    async def authorize(request: Request, response: Response, sign_in: With) -> AuthorizationUrl:
        """Get the address at the provider to which the browser is to go. A cookie ties what comes back to this browser
        for an hour.
        """
        response.headers["Cache-Control"] = "no-store"
        return AuthorizationUrl(authorization_url=await sign_in.begin(request, response))

    @router.get(
        "/callback",
        response_model=Tokens,
        dependencies=[Depends(_limited), Depends(utf8_alone)],
        responses=_PROBLEMS | documented(422, 429),
        operation_id=f"signInWith{title}",
        summary=f"Sign in with {title}",
    )
    async def callback(
        request: Request, sign_in: With, code: Code = None, state: State = None, error: Error = None
    ) -> Response:
        """Where the provider sends the browser back to: the same answer as to a password. A user who comes for the
        first time gets an account, or is signed in to the one with the same e-mail address, if that is confirmed here
        and verified by the provider.
        """
        return await sign_in.finish(request, Callback(code, state, error))

    return router


_logins = APIRouter(prefix="/users/me/logins", tags=["users"], route_class=SessionRoute)


@_logins.get("", response_model=LinkedLogins, operation_id="listLogins")
async def list_logins(request: Request, services: Services) -> dict[str, list[Link]]:
    """See with which accounts at providers one can sign in."""
    return {"logins": await services.oauth_accounts.links_of(caller_of(request).user_id)}


@_logins.post(
    "/{link_id}/unlink",
    status_code=204,
    responses=documented(400, 404, 413, 415, 422, 429),
    operation_id="unlinkLogin",
)
async def unlink_login(
    link_id: LinkId, proof: CurrentPasswordOnly, request: Request, prove: Proof, services: Services
) -> None:
    """Keep an account at a provider from signing in, with the password as it is now. Sessions go on. Who has none yet
    chooses a password by mail first.
    """
    user = await prove(proof.current_password)
    try:
        await services.oauth_accounts.unlink(
            user.id, link_id, hashed_password=user.hashed_password, within=caller_of(request).session()
        )
    except Overtaken as error:
        raise WrongPassword from error
