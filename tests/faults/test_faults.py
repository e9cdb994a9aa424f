"""No event is lost: real processes on real servers, killed and cut off again and again while writers write.

Read schedule.py for what goes wrong, load.py for who suffers from it, and judge.py for what must hold in the end.
"""

import shutil
from pathlib import Path

import pytest
from faults.aftermath import evidence_of
from faults.deliveries import counting_deliveries
from faults.injector import FaultInjector
from faults.judge import violations
from faults.load import writing
from faults.report import report_of
from faults.schedule import Step, schedule_of
from faults.system import System
from faults.watcher import watching


class TestOneKill:
    @pytest.mark.asyncio(loop_scope="class")
    async def test_loses_nothing(self, shared_system: System, seed: str, tmp_path: Path) -> None:
        await run_with_faults(shared_system, seed, tmp_path, schedule_of(seed, kills=1, spared=["rabbitmq"], haste=8))


class TestManyKills:
    @pytest.mark.parametrize(
        "kills", [pytest.param(7, marks=pytest.mark.slow), pytest.param(100, marks=pytest.mark.faults)]
    )
    async def test_nothing_is_lost(self, system: System, seed: str, tmp_path: Path, kills: int) -> None:
        await run_with_faults(system, seed, tmp_path, schedule_of(seed, kills=kills))


async def run_with_faults(system: System, seed: str, tmp_path: Path, schedule: list[Step]) -> None:
    print(f"FAULT_SEED={seed} repeats this schedule.")
    injector = FaultInjector(system)
    try:
        async with (
            counting_deliveries(system) as deliveries,
            watching(system.rest_url, system.grpc_address) as watcher,
        ):
            async with writing(system.rest_url, seed) as load:
                await injector.carry_out(schedule)
            evidence = await evidence_of(system, load, watcher)
        print(report_of(seed, injector, evidence, deliveries))
        assert violations(evidence) == []
    except BaseException:
        keep_the_logs(system, tmp_path)
        raise


def keep_the_logs(system: System, folder: Path) -> None:
    """Where pytest keeps them for three runs."""
    for name, victim in system.victims.items():
        shutil.copy(victim.log, folder / f"{name}.log")
    print(f"All logs are in {folder}.")
