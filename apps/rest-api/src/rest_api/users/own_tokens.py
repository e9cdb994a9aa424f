"""Tokens for one's programs: the endpoints under /users/me/tokens."""

from typing import Any, Final

from book_db.accounts.api_tokens import MOST
from book_db.errors import Overtaken, UserNotFound
from fastapi import APIRouter, Request

from rest_api.guard import SessionRoute, caller_of
from rest_api.problems.document import documented
from rest_api.users.problems import WrongPassword
from rest_api.users.proof import Proof
from rest_api.users.schemas import ApiTokenCreate, ApiTokenCreated, ApiTokenId, ApiTokenList
from rest_api.users.services import Services

router = APIRouter(prefix="/users/me/tokens", route_class=SessionRoute)

_TOO_MANY: Final[dict[int | str, dict[str, Any]]] = {409: {"description": f"The user has {MOST} tokens already."}}


@router.post(
    "",
    status_code=201,
    response_model=ApiTokenCreated,
    responses=documented(400, 413, 415, 422, 429) | _TOO_MANY,
    operation_id="createToken",
)
async def create_token(new: ApiTokenCreate, request: Request, prove: Proof, services: Services) -> dict[str, Any]:
    """Make a token for a program, with the password as it is now. The program calls with it in one's name: on books,
    within its scopes, over REST and gRPC.

    The token is shown this once.
    """
    for scope in new.scopes:
        caller_of(request).require_scope(scope)
    user = await prove(new.current_password)
    try:
        made, token = await services.api_tokens.add(
            user.id,
            new.name,
            new.scopes,
            days=new.expires_in_days,
            hashed_password=user.hashed_password,
            within=caller_of(request).session(),
        )
    except (UserNotFound, Overtaken) as error:
        raise WrongPassword from error
    services.manager.tell_of_token(user, made.name)
    return made._asdict() | {"token": token}


@router.get("", response_model=ApiTokenList, operation_id="listTokens")
async def list_tokens(request: Request, services: Services) -> dict[str, Any]:
    """See which tokens are good, the newest first. The tokens themselves are not told again."""
    return {"tokens": [each._asdict() for each in await services.api_tokens.of(caller_of(request).user_id)]}


@router.delete("/{token_id}", status_code=204, responses=documented(404, 422), operation_id="removeToken")
async def remove_token(token_id: ApiTokenId, request: Request, services: Services) -> None:
    """Take a token back. It is good for nothing from then on."""
    await services.api_tokens.remove(caller_of(request).user_id, token_id)
