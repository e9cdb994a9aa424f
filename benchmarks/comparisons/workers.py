"""One worker process against two on one port."""

from collections.abc import Iterator
from typing import Final

from support.services import RestApi

from benchmarks.bench import Bench
from benchmarks.measuring import Comparison, Measurement

_LISTENS: Final = "listening"


def workers(bench: Bench) -> Iterator[Measurement]:
    """Where the load and the servers have cores of their own, the second worker has one as well. With two cores in all
    it shares one with wrk and Redis, and the figure says how much is left of it.
    """
    environment = {**bench.catalogue.environment, "REST_SHARE_PORT": "on"}
    with RestApi(bench.workspace, environment) as first, _Second(bench, first):
        two, one = bench.reading(first), bench.reading(bench.rest)
        yield Comparison("GET a book, cached, two workers", "one worker", 1.7, two, one, first)


class _Second(RestApi):
    """On the port of the first."""

    def __init__(self, bench: Bench, first: RestApi) -> None:
        super().__init__(bench.workspace, first.environment)
        self.environment["REST_PORT"] = str(first.port)
        self.url = first.url

    def _answers(self) -> bool:
        # Whoever is asked on this port may be the first.
        return self.log.exists() and _LISTENS in self.output
