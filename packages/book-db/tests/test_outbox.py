"""The outbox: one relay leads, claims in order, forgets what was confirmed, and is woken by the bell."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from book_db.books.catalogue import Catalogue
from book_db.books.model import Change
from book_db.database import Database
from book_db.errors import DatabaseUnavailable
from book_db.outbox import Outbox, OutboxBell, OutboxLead
from support.data_layer import Query, StatementsOf, a_draft

KILL_THE_LEAD = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"


@pytest.fixture
def outbox(database: Database) -> Outbox:
    return Outbox(database)


@pytest.fixture
async def lead(outbox: Outbox) -> AsyncIterator[OutboxLead]:
    async with outbox.lead() as lead:
        yield lead


class TestEvents:
    async def test_come_in_the_order_of_the_changes(self, catalogue: Catalogue, actor: UUID, lead: OutboxLead) -> None:
        book = await catalogue.add(a_draft(title="Emma"), actor)
        changed = await catalogue.change(book.id, Change(title="Persuasion"), actor)
        await catalogue.remove(book.id, actor)
        created, updated, deleted = await lead.claim(10)
        assert [event.kind for event in (created, updated, deleted)] == ["created", "updated", "deleted"]
        assert (created.book, updated.book) == (book, changed)
        assert (deleted.book.title, deleted.book.version) == ("Persuasion", 3)
        assert {event.actor for event in (created, updated, deleted)} == {actor}
        assert len({event.id for event in (created, updated, deleted)}) == 3
        assert datetime.now(UTC) - deleted.occurred_at < timedelta(minutes=1)

    async def test_are_claimed_oldest_first_and_no_more_than_asked_for(
        self, catalogue: Catalogue, actor: UUID, lead: OutboxLead
    ) -> None:
        books = await catalogue.add_many([a_draft()] * 5, actor)
        assert [event.book for event in await lead.claim(3)] == books[:3]

    async def test_stay_until_they_are_forgotten(self, catalogue: Catalogue, actor: UUID, lead: OutboxLead) -> None:
        books = await catalogue.add_many([a_draft()] * 3, actor)
        claimed = await lead.claim(2)
        assert await lead.claim(2) == claimed
        await lead.forget(claimed)
        assert [event.book for event in await lead.claim(2)] == books[2:]

    async def test_carry_the_trace_of_the_request_they_came_from(
        self, catalogue: Catalogue, actor: UUID, lead: OutboxLead, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        monkeypatch.setattr("book_db.books.catalogue.current_traceparent", lambda: trace)
        await catalogue.add(a_draft(), actor)
        [event] = await lead.claim(1)
        assert event.traceparent == trace

    async def test_that_wait_are_counted(
        self, catalogue: Catalogue, actor: UUID, outbox: Outbox, lead: OutboxLead
    ) -> None:
        assert await outbox.waiting() == (0, None)
        oldest, *_ = await catalogue.add_many([a_draft()] * 3, actor)
        await catalogue.change(oldest.id, Change(title="Emma"), actor)
        assert await outbox.waiting() == (4, oldest.created_at)


class TestLead:
    async def test_one_leads_and_the_other_stands_by(self, outbox: Outbox) -> None:
        led = asyncio.Event()

        async def stand_by() -> None:
            async with outbox.lead(stand_by=0.05):
                led.set()

        async with outbox.lead():
            standing_by = asyncio.create_task(stand_by())
            await asyncio.sleep(0.3)
            assert not led.is_set()
        async with asyncio.timeout(1):
            await standing_by

    async def test_the_other_takes_over_when_the_connection_of_the_first_is_killed(
        self, outbox: Outbox, query: Query
    ) -> None:
        first_leads = asyncio.Event()

        async def lead_until_it_is_lost() -> None:
            async with outbox.lead() as lead:
                first_leads.set()
                while True:
                    await lead.wait(10)

        first = asyncio.create_task(lead_until_it_is_lost())
        await first_leads.wait()
        second = outbox.lead()
        taking_over = asyncio.create_task(second.__aenter__())
        await asyncio.sleep(0.2)
        assert not taking_over.done()
        killed = time.monotonic()
        query(KILL_THE_LEAD)
        await taking_over
        assert time.monotonic() - killed < 2
        with pytest.raises(DatabaseUnavailable):
            await first
        await second.__aexit__(None, None, None)

    async def test_the_other_takes_over_when_the_first_hangs_and_its_connection_lives(self, outbox: Outbox) -> None:
        async with outbox.lead(silence=0.5) as hanging:
            began = time.monotonic()
            async with outbox.lead(stand_by=0.05):
                assert 0.4 < time.monotonic() - began < 3
            with pytest.raises(DatabaseUnavailable):
                await hanging.claim(1)

    async def test_one_that_asks_now_and_then_keeps_the_lead(self, outbox: Outbox) -> None:
        async with outbox.lead(silence=0.5) as lead:
            for _ in range(5):
                await lead.wait(0.2)
                await lead.claim(1)

    async def test_every_act_on_a_lost_connection_says_so_where_it_happens(self, outbox: Outbox, query: Query) -> None:
        """Inside of the block, since there a relay would catch it."""
        acts: list[Callable[[OutboxLead], Awaitable[object]]] = [
            lambda lead: lead.claim(1),
            lambda lead: lead.forget([]),
            lambda lead: lead.wait(1),
        ]
        for act in acts:
            async with outbox.lead() as lead:
                query(KILL_THE_LEAD)
                with pytest.raises(DatabaseUnavailable):
                    await act(lead)

    async def test_a_connection_that_stood_by_does_not_go_back_to_the_pool(
        self, outbox: Outbox, database: Database
    ) -> None:
        async with outbox.lead():
            standing_by = asyncio.create_task(outbox.lead(silence=0.3).__aenter__())
            await asyncio.sleep(0.1)
            standing_by.cancel()
            await asyncio.wait([standing_by])
            await asyncio.sleep(0.5)
            await database.ping()

    async def test_a_connection_that_led_does_not_go_back_to_the_pool(self, outbox: Outbox, query: Query) -> None:
        async with outbox.lead():
            pass
        assert query("SELECT * FROM pg_locks WHERE locktype = 'advisory'") == []


class TestBell:
    async def test_wakes_a_lead_that_waits(self, catalogue: Catalogue, actor: UUID, lead: OutboxLead) -> None:
        waiting = asyncio.create_task(lead.wait(10))
        await asyncio.sleep(0.1)
        await catalogue.add(a_draft(), actor)
        answered = time.monotonic()
        await waiting
        assert time.monotonic() - answered < 0.1

    async def test_that_rang_while_the_lead_was_busy_is_heard(
        self, catalogue: Catalogue, actor: UUID, lead: OutboxLead, bell: OutboxBell
    ) -> None:
        await catalogue.add(a_draft(), actor)
        await bell.close()
        await lead.claim(10)
        began = time.monotonic()
        await lead.wait(10)
        assert time.monotonic() - began < 0.1

    async def test_a_lead_that_nobody_wakes_looks_by_itself(self, lead: OutboxLead) -> None:
        began = time.monotonic()
        await lead.wait(0.2)
        assert 0.15 < time.monotonic() - began < 1

    async def test_many_rings_in_one_turn_are_one_statement(
        self, database: Database, bell: OutboxBell, lead: OutboxLead, statements_of: StatementsOf
    ) -> None:
        with statements_of(database) as statements:
            for _ in range(100):
                bell.ring()
            await bell.close()
        assert len([statement for statement in statements if "pg_notify" in statement]) == 1

    async def test_a_ring_during_a_ring_is_not_lost(
        self, bell: OutboxBell, lead: OutboxLead, database: Database, statements_of: StatementsOf
    ) -> None:
        with statements_of(database) as statements:
            bell.ring()
            await asyncio.sleep(0)
            bell.ring()
            await bell.close()
        assert len([statement for statement in statements if "pg_notify" in statement]) == 2

    async def test_a_bell_without_a_database_loses_nothing_but_the_ring(self) -> None:
        database = Database.open("postgresql://postgres@127.0.0.1:1/books")
        bell = OutboxBell(database)
        bell.ring()
        await bell.close()
