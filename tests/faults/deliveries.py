"""How many events grpc-api was given, by its own count, which begins anew whenever it is killed."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import httpx
from faults.system import System
from prometheus_client.parser import text_string_to_metric_families
from support.services import GrpcApi

_POLL_SECONDS: Final = 0.5


class Deliveries:
    """Events by what became of them. What was counted in the last moment before a kill is missing."""

    def __init__(self) -> None:
        self.by_outcome: Counter[str] = Counter()
        self._last: dict[tuple[str, str], float] = {}

    async def look(self, client: httpx.AsyncClient, service: GrpcApi) -> None:
        port = service.environment["METRICS_PORT"]
        try:
            text = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
        except httpx.TransportError:
            return
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == "colophon_book_log_events_total":
                    self._note(port, sample.labels["outcome"], sample.value)

    def _note(self, port: str, outcome: str, value: float) -> None:
        last = self._last.get((port, outcome), 0)
        self.by_outcome[outcome] += int(value - last if value >= last else value)
        self._last[port, outcome] = value


@asynccontextmanager
async def counting_deliveries(system: System) -> AsyncIterator[Deliveries]:
    """Counts to the end of the block, before which the last look is taken."""
    deliveries = Deliveries()
    services = [service for service in system.services if isinstance(service, GrpcApi)]
    async with httpx.AsyncClient(timeout=2, trust_env=False) as client:

        async def look() -> None:
            await asyncio.gather(*(deliveries.look(client, service) for service in services))

        async def look_again_and_again() -> None:
            while True:
                await look()
                await asyncio.sleep(_POLL_SECONDS)

        looking = asyncio.create_task(look_again_and_again())
        try:
            yield deliveries
            await look()
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
