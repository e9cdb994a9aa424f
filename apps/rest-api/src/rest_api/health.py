"""Health: whether the process lives, and whether it can serve."""

from typing import Literal

from book_db.store import Store
from fastapi import APIRouter, Request
from pydantic import BaseModel

from rest_api.problems.document import documented

router = APIRouter(prefix="/healthz", tags=["health"])


class Live(BaseModel):
    """The process answers."""

    status: Literal["live"] = "live"


class Ready(BaseModel):
    """The service can do its work."""

    status: Literal["ready"] = "ready"
    cache: bool
    """Whether the cache can be used; without it reads are slower, nothing else."""
    cache_trouble: str | None = None
    """What keeps it from being used, where something does."""


@router.get("/live", operation_id="isLive")
async def live() -> Live:
    """Whether the process lives."""
    return Live()


@router.get("/ready", responses=documented(503), operation_id="isReady", response_model_exclude_none=True)
async def ready(request: Request) -> Ready:
    """Whether the service can serve, which it cannot without a database that takes writes."""
    store: Store = request.app.state.store
    await store.database.ping(writes=True)
    return Ready(cache=await store.cache.ready(), cache_trouble=store.cache.trouble)
