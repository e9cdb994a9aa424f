"""grpc.health.v1: SERVING while PostgreSQL answers. The broker may be away, reads do not need it."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from typing import Any, Final

import grpc
import structlog
from book_db.errors import DatabaseUnavailable
from book_db.postgres.database import Database
from grpc_health.v1.health_pb2 import (  # type: ignore[attr-defined]  # its stubs are older than HealthList
    HealthCheckRequest,
    HealthCheckResponse,
    HealthListRequest,
    HealthListResponse,
)
from grpc_health.v1.health_pb2_grpc import HealthServicer

_log = structlog.get_logger(__name__)

_PING_SECONDS: Final = 1.0
_PING_TIMEOUT_SECONDS: Final = 3.0


class Health(HealthServicer):
    """The health of the server as a whole ("") and of each service, which is the same: all stand on one database.

    Unlike the one in grpcio-health-checking it ends the streams of its watchers when the server drains, which would
    otherwise wait for them as long as it may.
    """

    def __init__(self, services: Iterable[str]) -> None:
        self._services = frozenset(("", *services))
        self._serving = False
        self._draining = asyncio.Event()
        self._changed = asyncio.Event()

    async def watch(self, database: Database) -> None:
        """Asks the database again and again, until the server drains."""
        while not self._draining.is_set():
            serving = await _answers(database)
            # That it serves no more, the database says: it is out.
            if serving and not self._serving:
                _log.info("serving")
            self._tell(serving=serving)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._draining.wait(), _PING_SECONDS)

    def drain(self) -> None:
        """NOT_SERVING from now on, whatever the database does."""
        self._draining.set()
        self._tell(serving=False)

    async def Check(self, request: HealthCheckRequest, context: Any) -> HealthCheckResponse:
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, "There is no such service here.")
        return self._answer(request.service)

    async def List(self, request: HealthListRequest, context: Any) -> HealthListResponse:
        return HealthListResponse(statuses={service: self._answer(service) for service in self._services})

    async def Watch(self, request: HealthCheckRequest, context: Any) -> AsyncIterator[HealthCheckResponse]:
        told = None
        while True:
            # All of one moment: while an answer is sent the server may begin to drain.
            changed, answer, is_last = self._changed, self._answer(request.service), self._draining.is_set()
            if answer != told:
                yield answer
                told = answer
            if is_last:
                return
            await changed.wait()

    def _tell(self, *, serving: bool) -> None:
        self._serving = serving and not self._draining.is_set()
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _answer(self, service: str) -> HealthCheckResponse:
        if service not in self._services:
            return HealthCheckResponse(status=HealthCheckResponse.SERVICE_UNKNOWN)
        serving = HealthCheckResponse.SERVING if self._serving else HealthCheckResponse.NOT_SERVING
        return HealthCheckResponse(status=serving)


async def _answers(database: Database) -> bool:
    try:
        async with asyncio.timeout(_PING_TIMEOUT_SECONDS):
            await database.ping()
    except DatabaseUnavailable:
        return False
    except TimeoutError:
        if database.outage is not None:
            database.outage.begin(f"it has not answered for {_PING_TIMEOUT_SECONDS:.0f} seconds")
        return False
    return True
