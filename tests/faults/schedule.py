"""What goes wrong and when, drawn from a seed: with the same seed the same goes wrong, in the same order and manner.

What each fault meets is up to the machine, so a run that failed may have to be repeated more than once.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from random import Random
from typing import Final, Literal, NamedTuple

VICTIMS: Final = {
    "rest-api": ("rest-api",),
    "relay": ("relay-1", "relay-2"),
    "grpc-api": ("grpc-api-1", "grpc-api-2"),
    "rabbitmq": ("rabbitmq",),
    "redis": ("redis",),
    "postgresql": ("postgresql",),
}
"""The processes of each kind."""


class Link(NamedTuple):
    """The connections of one process to another."""

    client: str
    server: str

    def __str__(self) -> str:
        return f"{self.client} to {self.server}"


LINKS: Final = (
    Link("writers", "rest-api"),
    *(Link("watcher", service) for service in VICTIMS["grpc-api"]),
    *(Link("rest-api", server) for server in ("postgresql", "redis")),
    *(Link(relay, server) for relay in VICTIMS["relay"] for server in ("postgresql", "rabbitmq")),
    *(Link(service, server) for service in VICTIMS["grpc-api"] for server in ("postgresql", "rabbitmq", "redis")),
)

Way = Literal["dropped", "half closed to client", "half closed to server", "refused", "delayed", "black hole"]

_WAYS: Final[dict[Way, int]] = {
    "dropped": 3,
    "half closed to client": 1,
    "half closed to server": 1,
    "refused": 2,
    "delayed": 2,
    "black hole": 2,
}
"""What becomes of connections, and how often compared to the others. Refused: after they were dropped."""


@dataclass(frozen=True)
class Kill:
    """SIGKILL to a process, which is started again after so many seconds."""

    victim: str
    down: float

    def __str__(self) -> str:
        return f"{self.victim} killed, down for {self.down:.1f} s"


@dataclass(frozen=True)
class Cut:
    """Disruption on a link for so many seconds. When it is delayed, each piece is by ``lag`` seconds."""

    link: Link
    way: Way
    seconds: float
    lag: float

    def __str__(self) -> str:
        by = f" by {self.lag:.2f} s" if self.way == "delayed" else ""
        lasting = "" if self.way in {"dropped", "half closed to client", "half closed to server"} else self._lasting
        return f"{self.link} {self.way}{by}{lasting}"

    @property
    def _lasting(self) -> str:
        return f" for {self.seconds:.1f} s"


@dataclass(frozen=True)
class Step:
    """A fault, so many seconds after the step before it."""

    pause: float
    fault: Kill | Cut
    wait: bool
    """Whether the next step waits until changes go all the way again. Otherwise faults overlap."""


def schedule_of(seed: str, *, kills: int, spared: Collection[str] = (), haste: float = 1) -> list[Step]:
    """So many kills, about as many of each kind that is not spared, and about as many cuts.

    With haste everything is so many times as short.
    """
    return list(_steps(Random(seed), kills, spared, haste))  # noqa: S311  # what is drawn shall be drawn again


def _steps(random: Random, kills: int, spared: Collection[str], haste: float) -> Iterator[Step]:
    victims = _victims(random, spared)
    for _ in range(kills):
        for _ in range(random.randint(0, 2)):
            yield Step(random.uniform(0, 1) / haste, _cut(random, haste), wait=False)
        kill = Kill(next(victims), down=random.uniform(0, 1.5) / haste)
        yield Step(random.uniform(0, 1.5) / haste, kill, wait=random.random() < 2 / 3)


def _victims(random: Random, spared: Collection[str]) -> Iterator[str]:
    while True:
        for kind in random.sample(list(VICTIMS), len(VICTIMS)):
            if kind not in spared:
                yield random.choice(VICTIMS[kind])


def _cut(random: Random, haste: float) -> Cut:
    [way] = random.choices(list(_WAYS), list(_WAYS.values()))
    return Cut(random.choice(LINKS), way, seconds=random.uniform(0.5, 6) / haste, lag=random.uniform(0.01, 0.5))
