"""How soon a process is ready, and how much memory it has when nothing is asked of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from support.services import GrpcApi, RestApi, Service

from benchmarks.bench import Bench
from benchmarks.catalogue import Catalogue
from benchmarks.figures import Row, RunSize, Wanted
from benchmarks.measuring import Measurement
from benchmarks.startup import start_and_idle, start_once

_READY: Final = Wanted(1.5, "s", is_most=True)


def starts(bench: Bench) -> Iterator[Measurement]:
    yield _Starting(bench.catalogue, RestApi, Wanted(110, "MB", is_most=True))
    yield _Starting(bench.catalogue, GrpcApi, Wanted(90, "MB", is_most=True))


@dataclass(frozen=True, slots=True)
class _Starting:
    catalogue: Catalogue
    service: type[Service]
    memory: Wanted

    @property
    def what(self) -> str:
        return f"start of {self.service.name}"

    def take(self, size: RunSize) -> Sequence[Row]:
        if size.warm_up:
            measured = start_and_idle(self.service, self.catalogue, size.starts)
        else:
            measured = start_once(self.service, self.catalogue)
        return [
            Row(f"{self.what} until it is ready", "", measured.seconds, _READY),
            Row(f"memory of {self.service.name}, idle", "", measured.megabytes, self.memory),
        ]
