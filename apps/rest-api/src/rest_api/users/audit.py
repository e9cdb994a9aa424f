"""Reading the audit trail: the endpoints."""

from dataclasses import dataclass
from typing import Annotated, Final, Literal
from uuid import UUID

from book_db.accounts.audit_trail import AccountEvents
from fastapi import APIRouter, Depends, Query, Request

from rest_api.fields import utf8_alone
from rest_api.guard import SessionRoute, caller_of
from rest_api.problems.document import documented
from rest_api.spelling import HYPHENATED, IN_DIGITS, INT64_MAX
from rest_api.users.schemas import AuditPage
from rest_api.users.services import require_superuser

router = APIRouter(
    tags=["users"], route_class=SessionRoute, dependencies=[Depends(utf8_alone)], responses=documented(422, 503)
)

_SIZE_DEFAULT: Final = 100
_SIZE_MAX: Final = 1_000

OfUser = Annotated[UUID | None, Query(description="Of one account alone."), HYPHENATED]


@dataclass(frozen=True)
class _Wanted:
    """Which part of the trail."""

    page_size: Annotated[int, Query(ge=1, le=_SIZE_MAX, description="How many events at most."), IN_DIGITS] = (
        _SIZE_DEFAULT
    )
    before: Annotated[
        int | None,
        Query(ge=1, le=INT64_MAX, description="`next_before` of the page before; none for the newest."),
        IN_DIGITS,
    ] = None
    kind: Annotated[
        str | None,
        Query(pattern="^[a-z-]+$", max_length=50, description="Of one kind alone.", examples=["signed-in"]),
    ] = None
    outcome: Annotated[Literal["done", "wrong", "refused"] | None, Query(description="With one outcome alone.")] = None


Wanted = Annotated[_Wanted, Depends()]


@router.get("/users/me/audit", response_model=AuditPage, operation_id="listMyAudit")
async def list_my_audit(request: Request, wanted: Wanted) -> dict[str, object]:
    """See what was done and tried with one's account, the newest first: signing in, tokens, passwords, addresses, and
    what superusers did.
    """
    return await _page(request, wanted, caller_of(request).user_id)


@router.get("/audit", response_model=AuditPage, dependencies=[require_superuser], operation_id="listAudit")
async def list_audit(request: Request, wanted: Wanted, user_id: OfUser = None) -> dict[str, object]:
    """See what was done and tried with all accounts, the newest first; for superusers."""
    return await _page(request, wanted, user_id)


async def _page(request: Request, wanted: _Wanted, user_id: UUID | None) -> dict[str, object]:
    trail: AccountEvents = request.app.state.account_events
    size = wanted.page_size
    events = await trail.page(size + 1, wanted.before, user_id=user_id, kind=wanted.kind, outcome=wanted.outcome)
    return {"events": events[:size], "next_before": events[size - 1].id if len(events) > size else None}
