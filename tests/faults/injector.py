"""Injects the faults of a schedule, and measures how long the system takes to recover."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import psycopg
from faults.schedule import Cut, Kill, Step
from faults.system import System
from support.waiting import until


class Disruption(NamedTuple):
    """A fault, from its beginning until the system has recovered."""

    fault: Kill | Cut
    began: float
    mended: float
    """When the process was started again, or the network was well."""
    ended: float
    """When a change that was made after that stood in the log."""

    @property
    def recovery(self) -> float:
        """In seconds."""
        return self.ended - self.mended

    def meets(self, other: "Disruption") -> bool:
        return self is not other and self.began < other.ended and other.began < self.ended


class FaultInjector:
    """Carries out a schedule."""

    def __init__(self, system: System) -> None:
        self.disruptions: list[Disruption] = []
        self._system = system
        self._turns: defaultdict[object, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def carry_out(self, schedule: Sequence[Step]) -> None:
        """To the end, when everything runs and all networks are well. Raises GaveUp, in a group."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as faults:
            for step in schedule:
                await asyncio.sleep(step.pause)
                print(f"{time.monotonic() - began:6.1f} s  {step.fault}")
                fault = faults.create_task(self._carry_out(step.fault))
                if step.wait:
                    await fault

    async def _carry_out(self, fault: Kill | Cut) -> None:
        # One disruption with a process or a link at a time.
        async with self._turns[fault.victim if isinstance(fault, Kill) else fault.link]:
            began = time.time()
            if isinstance(fault, Kill):
                mended = await self._kill(fault)
                ended = await self._flowing_since(mended, fault.victim)
            else:
                await self._cut(fault)
                mended = ended = time.time()
            self.disruptions.append(Disruption(fault, began, mended, ended))

    async def _kill(self, kill: Kill) -> float:
        """Returns when the process was started again."""
        victim = self._system.victims[kill.victim]
        await asyncio.to_thread(victim.kill)
        await asyncio.sleep(kill.down)
        started = time.time()
        await asyncio.to_thread(victim.start)
        return started

    async def _cut(self, cut: Cut) -> None:
        proxy = self._system.links[cut.link]
        match cut.way:
            case "dropped":
                return proxy.drop()
            case "half closed to client":
                return proxy.half_close("client")
            case "half closed to server":
                return proxy.half_close("server")
            case "refused":
                proxy.refuse()
                proxy.drop()
            case "delayed":
                proxy.delay(cut.lag)
            case "black hole":
                proxy.black_hole()
        await asyncio.sleep(cut.seconds)
        await proxy.heal()
        return None

    async def _flowing_since(self, moment: float, victim: str) -> float:
        """When the first change was recorded that was made after this moment. Raises GaveUp."""

        async def recorded() -> float:
            try:
                [(first,)] = await self._system.query(
                    "SELECT extract(epoch FROM min(recorded_at))::float FROM event_log"
                    " WHERE occurred_at > to_timestamp(%s)",
                    moment,
                )
            except psycopg.OperationalError:
                first = None
            if first is None:
                # Each look is paid for by those who are looked at.
                await asyncio.sleep(0.1)
            return float(first or 0)

        return await until(recorded, f"changes are recorded that were made since {victim} was started")
