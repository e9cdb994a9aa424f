"""Watchers that come and go at random, at either of two replicas, while two consumers record: each sees every change
that it means exactly once, in one order."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
from book_db.events.log import EVENTS_RECORDED, EventFilter
from book_db.events.model import BookEvent
from book_db.settings import StoreSettings
from book_db.store import Store, open_store
from book_runtime.broker.local import LocalBroker
from book_runtime.settings import load
from book_runtime.tokens import TokenVerifier
from books.v1.book_service_pb2 import WatchBooksRequest
from books.v1.book_service_pb2_grpc import BookServiceStub
from grpc_api.application import serving
from support.data_layer import an_event
from support.tokens import Signer
from support.waiting import patience

if TYPE_CHECKING:
    from books.v1.book_service_pb2_grpc import BookServiceAsyncStub

WATCHERS: Final = 20
BOOKS: Final = 50
AUTHORS: Final = ["Jane Austen", "George Eliot", "Ann Radcliffe"]


@pytest.fixture
async def stores(database_url: str, signer: Signer) -> AsyncIterator[list[Store]]:
    """Those of two processes."""
    settings = load(StoreSettings, database_url=database_url, redis_url=None)
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                open_store(settings, TokenVerifier(signer.public_pem), name=name, hears=[EVENTS_RECORDED])
            )
            for name in ("one", "other")
        ]


@pytest.fixture
async def replicas(stores: list[Store]) -> AsyncIterator[list["BookServiceAsyncStub"]]:
    async with AsyncExitStack() as stack:
        stubs: list[BookServiceAsyncStub] = []
        for store in stores:
            serve = serving(store, LocalBroker(), host="127.0.0.1", port=0, authenticate=False)
            port = await stack.enter_async_context(serve)
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}"))
            stubs.append(BookServiceStub(channel))
        yield stubs


class Restless:
    """A watcher that is cut short again and again."""

    def __init__(self, chance: random.Random, replicas: list["BookServiceAsyncStub"]) -> None:
        ids = frozenset(chance.sample(range(1, BOOKS + 1), 5)) if chance.random() < 0.4 else frozenset[int]()
        self.event_filter = EventFilter(ids, chance.choice(AUTHORS) if chance.random() < 0.4 else "")
        self.seen: list[tuple[int, str]] = []
        self.calls = 0
        self._position = 0
        self._in_vain = 0
        self._chance = chance
        self._replicas = replicas

    async def watch(self, end: asyncio.Future[int]) -> None:
        """Until it has come to the last position of all, which is known when all is recorded."""
        while not (end.done() and self._position >= end.result()):
            before = self._position
            # Now and then it ends in the middle of everything, and now and then when nothing comes any more. Later when
            # the one before was too short for anything to come, or a slow machine would never get anywhere.
            await self._once(self._chance.randrange(1, 300), self._chance.uniform(0.05, 0.5) * (1 + self._in_vain))
            self._in_vain = self._in_vain + 1 if self._position == before else 0

    async def _once(self, responses: int, seconds: float) -> None:
        self.calls += 1
        request = WatchBooksRequest(
            after=self._position, book_ids=sorted(self.event_filter.book_ids), author=self.event_filter.author
        )
        call: Any = self._chance.choice(self._replicas).WatchBooks(request)
        try:
            async with asyncio.timeout(seconds):
                for _ in range(responses):
                    self._note(await call.read())
        except TimeoutError:
            pass
        finally:
            call.cancel()

    def _note(self, response: Any) -> None:
        assert response.position >= self._position
        self._position = response.position
        if response.HasField("event"):
            self.seen.append((response.position, response.event.id))


def some_event(chance: random.Random) -> BookEvent:
    title, author = "A title " * chance.randrange(1, 100), chance.choice(AUTHORS)
    return an_event(chance.randrange(1, BOOKS + 1), kind="updated", title=title, author=author)


async def record(store: Store, chance: random.Random, count: int) -> None:
    while count:
        batch = min(count, chance.choice([1, 1, 1, 2, 5, 40]))
        await store.event_log.record([some_event(chance) for _ in range(batch)])
        count -= batch
        await asyncio.sleep(chance.uniform(0, 0.02))


@pytest.mark.parametrize(
    ("seed", "changes"), [(1, 600), (2, 600), *(pytest.param(seed, 2_000, marks=pytest.mark.slow) for seed in (1, 2))]
)
async def test_nothing_is_missed_and_nothing_told_twice(
    stores: list[Store],
    replicas: list["BookServiceAsyncStub"],
    seed: int,
    changes: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("grpc_api.watching.watch._QUIET_SECONDS", 0.2)
    chances = [random.Random(f"{seed} {number}") for number in range(WATCHERS + len(stores))]  # noqa: S311  # no secrets
    watchers = [Restless(chances.pop(), replicas) for _ in range(WATCHERS)]
    end: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    watching = asyncio.gather(*(watcher.watch(end) for watcher in watchers))
    await asyncio.gather(*(record(store, chances.pop(), changes // 2) for store in stores))
    end.set_result(newest := await stores[0].event_log.newest())
    async with patience("all watchers have seen the last change"):
        await watching

    everything, position = [], 0
    while position < newest:
        page = await stores[0].event_log.after(position, newest)
        everything += page.events
        position = page.position
    assert len(everything) == changes
    for watcher in watchers:
        meant = [(each.position, str(each.event.id)) for each in everything if watcher.event_filter.matches(each.event)]
        assert watcher.seen == meant
    print(
        f"seed {seed}: {changes:,} changes, {WATCHERS} watchers, {sum(watcher.calls for watcher in watchers):,} calls, "
        f"{sum(len(watcher.seen) for watcher in watchers):,} changes told, none missed and none twice"
    )
