"""The outbox: one relay leads, claims in order, forgets what was confirmed, and is woken by the notifier."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from uuid import UUID

import pytest
from book_db.book import BookPatch
from book_db.books.catalogue import Catalogue
from book_db.errors import DatabaseUnavailable
from book_db.events.outbox import Outbox, OutboxLease, OutboxNotifier
from book_db.postgres.database import Database
from sqlalchemy import text
from support.data_layer import Query, StatementsOf, a_draft, statements_sent_to
from support.waiting import patiently, until

AN_HOUR = 3_600
"""Seconds. Whoever waits for so long was not woken."""

KILL_THE_LEAD = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"


@pytest.fixture
def outbox(database: Database) -> Outbox:
    return Outbox(database)


@pytest.fixture
async def lease(outbox: Outbox) -> AsyncIterator[OutboxLease]:
    async with outbox.acquire_lease() as lease:
        yield lease


class TestEvents:
    async def test_come_in_the_order_of_the_changes(
        self, catalogue: Catalogue, actor: UUID, lease: OutboxLease
    ) -> None:
        began = datetime.now(UTC)
        book = await catalogue.add(a_draft(title="Emma"), actor)
        changed = await catalogue.change(book.id, BookPatch.only(title="Persuasion"), actor)
        await catalogue.remove(book.id, actor)
        created, updated, deleted = [each.event for each in await lease.claim(10)]
        assert [event.kind for event in (created, updated, deleted)] == ["created", "updated", "deleted"]
        assert (created.book, updated.book) == (book, changed)
        assert (deleted.book.title, deleted.book.version) == ("Persuasion", 3)
        assert {event.actor for event in (created, updated, deleted)} == {str(actor)}
        assert len({event.id for event in (created, updated, deleted)}) == 3
        assert began <= created.occurred_at <= deleted.occurred_at <= datetime.now(UTC)

    async def test_are_claimed_oldest_first_and_no_more_than_asked_for(
        self, catalogue: Catalogue, actor: UUID, lease: OutboxLease
    ) -> None:
        books = await catalogue.add_many([a_draft()] * 5, actor)
        assert [each.event.book for each in await lease.claim(3)] == books[:3]

    async def test_stay_until_they_are_forgotten(self, catalogue: Catalogue, actor: UUID, lease: OutboxLease) -> None:
        books = await catalogue.add_many([a_draft()] * 3, actor)
        claimed = await lease.claim(2)
        assert await lease.claim(2) == claimed
        await lease.delete_published(claimed)
        assert [each.event.book for each in await lease.claim(2)] == books[2:]

    async def test_carry_the_trace_of_the_request_they_came_from(
        self, catalogue: Catalogue, actor: UUID, lease: OutboxLease, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        monkeypatch.setattr("book_db.books.catalogue.current_traceparent", lambda: trace)
        await catalogue.add(a_draft(), actor)
        [event] = await lease.claim(1)
        assert event.traceparent == trace

    async def test_that_wait_are_counted(
        self, catalogue: Catalogue, actor: UUID, outbox: Outbox, lease: OutboxLease
    ) -> None:
        assert await outbox.waiting() == (0, None)
        oldest, *_ = await catalogue.add_many([a_draft()] * 3, actor)
        await catalogue.change(oldest.id, BookPatch.only(title="Emma"), actor)
        assert await outbox.waiting() == (4, oldest.created_at)


async def lead_for_a_moment(outbox: Outbox) -> None:
    async with outbox.acquire_lease(retry_every=0.01, idle_timeout=AN_HOUR):
        pass


async def stand_by(outbox: Outbox, database: Database) -> asyncio.Task[None]:
    """One that leads for a moment as soon as it may. It has asked for the lease, and was told that somebody has it."""
    with statements_sent_to(database) as statements:
        standing_by = asyncio.create_task(lead_for_a_moment(outbox))
        await until(lambda: sum("pg_try_advisory_lock" in each for each in statements) > 1, "it asks again")
    assert not standing_by.done()
    return standing_by


class TestLead:
    async def test_one_leads_and_the_other_stands_by(self, outbox: Outbox, database: Database) -> None:
        async with outbox.acquire_lease():
            other = await stand_by(outbox, database)
        await patiently(other, "the other leads")

    async def test_the_other_takes_over_when_the_connection_of_the_first_is_killed(
        self, outbox: Outbox, database: Database, query: Query
    ) -> None:
        first_leads = asyncio.Event()

        async def lead_until_it_is_lost() -> None:
            async with outbox.acquire_lease(idle_timeout=AN_HOUR) as lease:
                first_leads.set()
                await lease.wait(AN_HOUR)

        first = asyncio.create_task(lead_until_it_is_lost())
        await patiently(first_leads.wait(), "the first leads")
        second = await stand_by(outbox, database)
        query(KILL_THE_LEAD)
        await patiently(second, "the second leads")
        with pytest.raises(DatabaseUnavailable):
            await patiently(first, "the first has heard of it")

    async def test_the_other_takes_over_when_the_first_hangs_and_its_connection_lives(self, outbox: Outbox) -> None:
        async with outbox.acquire_lease(idle_timeout=AN_HOUR) as hanging:
            assert await hanging._connection.scalar(text("SHOW idle_session_timeout")) == "1h"
            # Had it been so short from the beginning, a slow machine might not have come to lead.
            await hanging._connection.execute(text("SET idle_session_timeout = '0.1s'"))
            await patiently(lead_for_a_moment(outbox), "the other leads")
            with pytest.raises(DatabaseUnavailable):
                await hanging.claim(1)

    async def test_one_that_asks_now_and_then_keeps_the_lead(self, outbox: Outbox) -> None:
        began = time.monotonic()
        async with outbox.acquire_lease(idle_timeout=1) as lease:
            while time.monotonic() < began + 1.1:
                await lease.wait(0.01)
                await lease.claim(1)

    async def test_one_that_has_nothing_to_ask_can_keep_it(self, outbox: Outbox) -> None:
        began = time.monotonic()
        async with outbox.acquire_lease(idle_timeout=1) as lease:
            while time.monotonic() < began + 1.1:
                await lease.keep()
                await asyncio.sleep(0.01)

    async def test_it_is_kept_beside_whatever_else_is_done(self, outbox: Outbox) -> None:
        async with outbox.acquire_lease() as lease:
            for _ in range(50):
                await asyncio.gather(lease.claim(1), lease.keep())
                await asyncio.gather(lease.wait(0.001), lease.keep())

    async def test_every_act_on_a_lost_connection_says_so_where_it_happens(self, outbox: Outbox, query: Query) -> None:
        """Inside of the block, since there a relay would catch it."""
        acts: list[Callable[[OutboxLease], Awaitable[object]]] = [
            lambda lease: lease.claim(1),
            lambda lease: lease.delete_published([]),
            lambda lease: lease.wait(AN_HOUR),
            lambda lease: lease.keep(),
        ]
        for act in acts:
            async with outbox.acquire_lease() as lease:
                query(KILL_THE_LEAD)
                with pytest.raises(DatabaseUnavailable):
                    await patiently(act(lease), "it says so")

    async def test_a_connection_that_stood_by_does_not_go_back_to_the_pool(
        self, outbox: Outbox, database: Database, query: Query
    ) -> None:
        connections = (
            "SELECT 1 FROM pg_stat_activity WHERE application_name = 'colophon' AND datname = current_database()"
        )
        async with outbox.acquire_lease():
            other = await stand_by(outbox, database)
            other.cancel()
            await asyncio.wait([other])
            await until(lambda: len(query(connections)) == 1, "the lease alone has a connection")
            await database.ping()

    async def test_a_connection_that_led_does_not_go_back_to_the_pool(self, outbox: Outbox, query: Query) -> None:
        async with outbox.acquire_lease():
            pass
        await until(lambda: not query("SELECT 1 FROM pg_locks WHERE locktype = 'advisory'"), "its lock is free")


class TestBell:
    async def test_wakes_a_lease_that_waits(self, catalogue: Catalogue, actor: UUID, lease: OutboxLease) -> None:
        waiting = asyncio.create_task(lease.wait(AN_HOUR))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await catalogue.add(a_draft(), actor)
        await patiently(waiting, "it is woken")

    async def test_that_rang_while_the_lead_was_busy_is_heard(
        self, catalogue: Catalogue, actor: UUID, lease: OutboxLease, notifier: OutboxNotifier
    ) -> None:
        await catalogue.add(a_draft(), actor)
        await notifier.close()
        await lease.claim(10)
        await patiently(lease.wait(AN_HOUR), "the notification arrives")

    async def test_a_lease_without_a_notification_polls(self, lease: OutboxLease) -> None:
        began = time.monotonic()
        await patiently(lease.wait(0.2), "it looks")
        assert time.monotonic() - began > 0.15

    async def test_many_rings_in_one_turn_are_one_statement(
        self, database: Database, notifier: OutboxNotifier, lease: OutboxLease, statements_of: StatementsOf
    ) -> None:
        with statements_of(database) as statements:
            for _ in range(100):
                notifier.notify()
            await notifier.close()
        assert len([statement for statement in statements if "pg_notify" in statement]) == 1

    async def test_a_ring_during_a_ring_is_not_lost(
        self, notifier: OutboxNotifier, lease: OutboxLease, database: Database, statements_of: StatementsOf
    ) -> None:
        with statements_of(database) as statements:
            notifier.notify()
            await asyncio.sleep(0)
            notifier.notify()
            await notifier.close()
        assert len([statement for statement in statements if "pg_notify" in statement]) == 2

    async def test_a_bell_without_a_database_loses_nothing_but_the_ring(self) -> None:
        database = Database.open("postgresql://postgres@127.0.0.1:1/books")
        notifier = OutboxNotifier(database)
        notifier.notify()
        await notifier.close()
        await database.close()
