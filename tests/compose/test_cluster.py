"""`docker compose --profile cluster up` gives a cluster that gets over the loss of a node: `make test-compose`."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Final

import httpx
import pytest
from compose.clusters import (
    BROKERS,
    CONSUMERS,
    RELAYS,
    Loss,
    Readers,
    Users,
    active_consumer,
    active_relay,
    leader_of_the_log,
    members_of_the_log,
    reading,
)
from faults.aftermath import LOG, NEWEST, ROWS, WAITING, books_of, entries_of, errors_in, shown_to_readers
from faults.judge import Evidence, violations
from faults.load import Load, writing
from faults.report import counted
from faults.watcher import Watcher, watching
from support.compose import Running
from support.waiting import wait_until

pytestmark = pytest.mark.compose

OURS: Final = ("rest-api", "rest-api-2", *RELAYS, *CONSUMERS)

_TO_BE_REPEATED: Final = ("UNAVAILABLE",)

_LONGEST: Final = 30.0
"""Seconds that anybody may have to wait for anything while a node is lost, on a busy machine."""

_ASK_FOR_MAILS: Final = """
import json
from urllib.error import HTTPError
from urllib.request import Request, urlopen

for number in range(62):
    request = Request(
        "http://nginx:8000/api/v1/auth/forgot-password",
        json.dumps({"email": f"{number}@example.org"}).encode(),
        {"content-type": "application/json", "x-forwarded-for": f"198.51.100.{number}"},
    )
    try:
        print(urlopen(request).status)
    except HTTPError as error:
        print(error.code)
"""

# What nginx says where no replica has answered it.
_OF_NGINX: Final = frozenset(("502 outcome-unknown",))


class TestACluster:
    def test_the_queue_of_the_log_is_on_every_broker(self, cluster: Running) -> None:
        wait_until(lambda: len(members_of_the_log(cluster)) == len(BROKERS), "a member on each broker")

    def test_the_replica_follows_and_is_read_only(self, cluster: Running) -> None:
        follows = "SELECT application_name, state FROM pg_stat_replication"
        assert cluster.query(follows) == "replica|streaming"
        assert cluster.query("SHOW transaction_read_only", service="postgres-replica") == "on"

    def test_the_second_of_each_reads_from_the_replica(self, cluster: Running) -> None:
        readers = (
            "SELECT DISTINCT application_name FROM pg_stat_activity WHERE application_name LIKE '%-api' ORDER BY 1"
        )
        wait_until(
            lambda: cluster.query(readers, service="postgres-replica").split() == ["grpc-api", "rest-api"],
            "both read from the replica",
        )
        for service in ("rest-api-2", "grpc-api-2"):
            assert "the replica is read" in cluster.system.log(service)


class TestNginx:
    def test_clients_have_limits_of_their_own_behind_it(self, cluster: Running) -> None:
        """Also those who say that they are others."""
        answers = cluster.system.execute("grpc-api-2", "python", "-c", _ASK_FOR_MAILS).split()
        assert answers == ["202"] * 60 + ["429"] * 2
        assert ask_for_a_mail(cluster.url) == httpx.codes.ACCEPTED

    def test_inner_services_are_not_published(self, cluster: Running) -> None:
        published = {
            service
            for service in cluster.system.services
            if any(cluster.system.inspect(service)["NetworkSettings"]["Ports"].values())
        }
        assert published == {"rest-api", "grpc-api", "nginx"}


def ask_for_a_mail(url: str) -> int:
    return httpx.post(f"{url}/api/v1/auth/forgot-password", json={"email": "nobody@example.org"}).status_code


class TestLosingANode:
    async def test_nothing_is_lost_with_one_of_each(self, cluster: Running) -> None:
        rest_url, grpc_address = cluster.url, f"127.0.0.1:{cluster.grpc_port}"
        await asyncio.to_thread(TestACluster().test_the_queue_of_the_log_is_on_every_broker, cluster)
        async with watching(rest_url, grpc_address) as watcher:
            async with (
                writing(rest_url, "cluster") as load,
                reading(load, rest_url, grpc_address) as readers,
            ):
                losses = await lose_one_of_each(cluster, Users(load, readers, watcher))
            evidence = await evidence_of(cluster, load, readers, watcher)
        print(report_of(losses, evidence, readers))
        assert violations(evidence) == []
        assert [what for _, what in readers.failures if not what.startswith(_TO_BE_REPEATED)] == []
        assert len(readers.failures) < len(readers.answered) / 100
        assert [str(loss) for loss in losses if loss.longest > _LONGEST] == []
        await asyncio.to_thread(wait_until_the_replica_has_all, cluster)
        await asyncio.to_thread(cluster.system.wait_until_healthy)


async def lose_one_of_each(cluster: Running, users: Users) -> list[Loss]:
    consumer = await asyncio.to_thread(active_consumer, cluster)
    relay = await asyncio.to_thread(active_relay, cluster)
    leader = await asyncio.to_thread(leader_of_the_log, cluster)
    return [
        await users.lose(cluster, "rest-api", "one of two"),
        await users.lose(cluster, consumer, "which records"),
        await users.lose(cluster, relay, "which relays"),
        await users.lose(cluster, leader, "which leads the queue"),
        await users.lose(cluster, "postgres-replica", "the only one"),
        await users.lose(cluster, "postgres", "the primary", alone=True),
    ]


async def evidence_of(cluster: Running, load: Load, readers: Readers, watcher: Watcher) -> Evidence:
    """What there is when all is quiet."""
    await asyncio.to_thread(
        wait_until,
        lambda: left_in(cluster)["outbox"] == 0 and int(cluster.query(NEWEST)) == watcher.position,
        "everything has arrived",
    )
    log, rows = entries_of(cluster.rows(LOG)), books_of(cluster.rows(ROWS))
    shown = await shown_to_readers(cluster.url, rows.keys() | {entry.book.id for _, entry in log}, rows)
    reads = load.reads | readers.books
    errors = errors_in({service: cluster.system.log(service) for service in OURS})
    return Evidence(
        load.writes, reads, log, watcher.seen, rows, shown, left_in(cluster), errors, proxy_answers=_OF_NGINX
    )


def left_in(cluster: Running) -> dict[str, int]:
    [(outbox, parked)] = [map(int, cluster.query(WAITING).split("|"))]
    letters = cluster.system.execute("grpc-api", "grpc-api", "dead-letters", "list")
    return {"outbox": outbox, "parked events": parked, "dead letters": len(letters.splitlines())}


def wait_until_the_replica_has_all(cluster: Running) -> None:
    everything = "SELECT md5(string_agg(event_log::text, '' ORDER BY position)) FROM event_log"
    wait_until(
        lambda: cluster.query(everything) == cluster.query(everything, service="postgres-replica"),
        "the replica has the log of its primary",
    )


def report_of(losses: Sequence[Loss], evidence: Evidence, readers: Readers) -> str:
    """The figures of a run."""
    answers = Counter(attempt.answer for write in evidence.writes for attempt in write.attempts)
    failures = Counter(what for _, what in readers.failures)
    return "\n".join(
        (
            *map(str, losses),
            f"{len(evidence.writes):,} writes: {counted(answers)}",
            f"{len(evidence.log):,} changes in the log",
            f"{len(readers.answered):,} reads over gRPC; failed: {counted(failures) or 0}",
        )
    )
