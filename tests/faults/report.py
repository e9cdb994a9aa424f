"""What is printed at the end of a run."""

from collections import Counter, defaultdict

from faults.deliveries import Deliveries
from faults.havoc import Havoc
from faults.judge import Evidence


def report_of(seed: str, havoc: Havoc, evidence: Evidence, deliveries: Deliveries) -> str:
    """The figures of a run."""
    attempts = [attempt for write in evidence.writes for attempt in write.attempts]
    changes = Counter[str](entry.kind for _, entry in evidence.log)
    return "\n".join(
        (
            f"seed {seed}",
            f"{havoc.kills.total()} kills: {_counted(havoc.kills)}",
            f"{havoc.cuts.total()} cuts: {_counted(havoc.cuts)}",
            f"{len(evidence.writes):,} writes, asked for in {len(attempts):,} requests: "
            + _counted(Counter(attempt.answer for attempt in attempts)),
            f"{len(evidence.log):,} changes in the log: {_counted(changes)}",
            f"{deliveries.by_outcome['repeated']:,} events were delivered again and dropped",
            f"slowest recovery: {_slowest(havoc)}",
        )
    )


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{what} {count:,}" for what, count in counter.most_common())


def _slowest(havoc: Havoc) -> str:
    by_victim: defaultdict[str, float] = defaultdict(float)
    for recovery in havoc.recoveries:
        by_victim[recovery.victim] = max(by_victim[recovery.victim], recovery.seconds)
    slowest = sorted(by_victim.items(), key=lambda each: -each[1])
    return ", ".join(f"{seconds:.1f} s {victim}" for victim, seconds in slowest)
