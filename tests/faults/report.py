"""What is printed at the end of a run."""

from collections import Counter, defaultdict
from collections.abc import Iterable

from faults.deliveries import Deliveries
from faults.injector import Disruption, FaultInjector
from faults.judge import Evidence
from faults.schedule import Cut, Kill


def report_of(seed: str, injector: FaultInjector, evidence: Evidence, deliveries: Deliveries) -> str:
    """The figures of a run."""
    attempts = [attempt for write in evidence.writes for attempt in write.attempts]
    changes = Counter[str](entry.kind for _, entry in evidence.log)
    disruptions = injector.disruptions
    kills = [(disruption, disruption.fault) for disruption in disruptions if isinstance(disruption.fault, Kill)]
    cuts = Counter[str](disruption.fault.way for disruption in disruptions if isinstance(disruption.fault, Cut))
    alone = [(disruption, kill) for disruption, kill in kills if not any(map(disruption.meets, disruptions))]
    return "\n".join(
        (
            f"seed {seed}",
            f"{len(kills)} kills: {counted(Counter(kill.victim for _, kill in kills))}",
            f"{cuts.total()} cuts: {counted(cuts)}",
            f"{len(evidence.writes):,} writes, asked for in {len(attempts):,} requests: "
            + counted(Counter(attempt.answer for attempt in attempts)),
            f"{len(evidence.log):,} changes in the log: {counted(changes)}",
            f"{deliveries.by_outcome['repeated']:,} events were delivered again and dropped",
            f"slowest recovery from a kill: {_slowest(kills)}",
            f"the same for the {len(alone)} that no other disruption met: {_slowest(alone)}",
        )
    )


def counted(counter: Counter[str]) -> str:
    return ", ".join(f"{what} {count:,}" for what, count in counter.most_common())


def _slowest(kills: Iterable[tuple[Disruption, Kill]]) -> str:
    by_victim: defaultdict[str, float] = defaultdict(float)
    for disruption, kill in kills:
        by_victim[kill.victim] = max(by_victim[kill.victim], disruption.recovery)
    slowest = sorted(by_victim.items(), key=lambda each: -each[1])
    return ", ".join(f"{seconds:.1f} s {victim}" for victim, seconds in slowest)
