"""What is printed at the end of a run."""

from collections import Counter, defaultdict
from collections.abc import Iterable

from faults.deliveries import Deliveries
from faults.havoc import Havoc, Trouble
from faults.judge import Evidence
from faults.schedule import Cut, Kill


def report_of(seed: str, havoc: Havoc, evidence: Evidence, deliveries: Deliveries) -> str:
    """The figures of a run."""
    attempts = [attempt for write in evidence.writes for attempt in write.attempts]
    changes = Counter[str](entry.kind for _, entry in evidence.log)
    kills = [(trouble, trouble.fault) for trouble in havoc.troubles if isinstance(trouble.fault, Kill)]
    cuts = Counter[str](trouble.fault.way for trouble in havoc.troubles if isinstance(trouble.fault, Cut))
    alone = [(trouble, kill) for trouble, kill in kills if not any(map(trouble.meets, havoc.troubles))]
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
            f"the same for the {len(alone)} that no other trouble met: {_slowest(alone)}",
        )
    )


def counted(counter: Counter[str]) -> str:
    return ", ".join(f"{what} {count:,}" for what, count in counter.most_common())


def _slowest(kills: Iterable[tuple[Trouble, Kill]]) -> str:
    by_victim: defaultdict[str, float] = defaultdict(float)
    for trouble, kill in kills:
        by_victim[kill.victim] = max(by_victim[kill.victim], trouble.recovery)
    slowest = sorted(by_victim.items(), key=lambda each: -each[1])
    return ", ".join(f"{seconds:.1f} s {victim}" for victim, seconds in slowest)
