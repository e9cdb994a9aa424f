"""One worker process against two on one port."""

from collections.abc import Iterator
from typing import Final

from support.services import RestApi

from benchmarks.measuring import Comparison, Measurement
from benchmarks.stage import Stage

_LISTENS: Final = "listening"


def workers(stage: Stage) -> Iterator[Measurement]:
    """Where the load and the servers have cores of their own, the second worker has one as well. With two cores in all
    it shares one with wrk and Redis, and the figure says how much is left of it.
    """
    environment = {**stage.catalogue.environment, "REST_SHARE_PORT": "on"}
    with RestApi(stage.workspace, environment) as first, _Second(stage, first):
        two, one = stage.reading(first), stage.reading(stage.rest)
        yield Comparison("GET a book, cached, two workers", "one worker", 1.7, two, one, first)


class _Second(RestApi):
    """On the port of the first."""

    def __init__(self, stage: Stage, first: RestApi) -> None:
        super().__init__(stage.workspace, first.environment)
        self.environment["REST_PORT"] = str(first.port)
        self.url = first.url

    def _answers(self) -> bool:
        # Whoever is asked on this port may be the first.
        return self.log.exists() and _LISTENS in self.output
