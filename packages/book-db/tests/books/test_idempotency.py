"""Adding books once for each idempotency key, whatever happens on the way."""

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from book_db.book import Added, BookPatch, Draft
from book_db.books.catalogue import Catalogue
from book_db.books.idempotency import IdempotencyKey, IdempotencyKeys
from book_db.errors import IdempotencyKeyReused, SafeToRepeat
from book_db.postgres.database import Database
from psycopg.errors import IntegrityError
from sqlalchemy import event
from sqlalchemy.pool import ConnectionPoolEntry
from structlog.testing import capture_logs
from support.data_layer import Query, StatementsOf, a_draft
from support.waiting import until

KEY = IdempotencyKey("8e03978e", "create")
COUNTS = "SELECT (SELECT count(*) FROM books), (SELECT count(*) FROM outbox), (SELECT count(*) FROM idempotency_keys)"

DRAFTS = [
    Draft("Ἰλιάς", "Ὅμηρος", date(1488, 12, 9)),
    Draft('𝔉𝔞𝔲𝔰𝔱 📚 \\ "quoted" {x} %s', "Гёте", date(1, 1, 1)),
    a_draft(),
    a_draft(),
]


class TestTheSecondTime:
    async def test_gives_what_the_first_time_gave_byte_for_byte(
        self, catalogue: Catalogue, actor: UUID, query: Query
    ) -> None:
        first = await catalogue.add_once(DRAFTS, actor, KEY)
        again = await catalogue.add_once(DRAFTS, actor, KEY)
        assert (first.replayed, again.replayed) == (False, True)
        assert [Draft(book.title, book.author, book.publication_date) for book in first.books] == DRAFTS
        assert msgspec.json.encode(again.books) == msgspec.json.encode(first.books)
        assert query(COUNTS) == [(4, 4, 1)]

    async def test_gives_it_also_when_the_book_has_changed_or_gone(
        self, cached_catalogue: Catalogue, actor: UUID, query: Query
    ) -> None:
        first = await cached_catalogue.add_once([a_draft(), a_draft()], actor, KEY)
        changed = await cached_catalogue.change(first.books[0].id, BookPatch.only(title="Emma"), actor)
        await cached_catalogue.remove(first.books[1].id, actor)
        assert await cached_catalogue.add_once([a_draft(), a_draft()], actor, KEY) == Added(first.books, replayed=True)
        assert await cached_catalogue.get(first.books[0].id) == changed

    async def test_is_refused_when_it_is_something_else(self, catalogue: Catalogue, actor: UUID, query: Query) -> None:
        emma, romola = a_draft("Emma"), a_draft("Romola")
        await catalogue.add_once([emma, romola], actor, KEY)
        others = [
            ([romola, emma], KEY),
            ([emma], KEY),
            ([emma, romola, romola], KEY),
            ([emma, a_draft("Romola", publication_date=date(1863, 1, 1))], KEY),
            ([emma, romola], IdempotencyKey(KEY.name, "another operation")),
        ]
        for drafts, key in others:
            with pytest.raises(IdempotencyKeyReused):
                await catalogue.add_once(drafts, actor, key)
        assert query(COUNTS) == [(2, 2, 1)]

    async def test_of_another_user_is_a_first_time(self, catalogue: Catalogue, actor: UUID, query: Query) -> None:
        assert not (await catalogue.add_once([a_draft()], actor, KEY)).replayed
        assert not (await catalogue.add_once([a_draft("Emma")], uuid4(), KEY)).replayed
        assert query(COUNTS) == [(2, 2, 2)]

    async def test_after_a_failure_is_a_first_time(self, catalogue: Catalogue, actor: UUID, query: Query) -> None:
        with pytest.raises(IntegrityError, match="books_title_check"):
            await catalogue.add_once([a_draft(title="")], actor, KEY)
        assert not (await catalogue.add_once([a_draft()], actor, KEY)).replayed
        assert query(COUNTS) == [(1, 1, 1)]

    async def test_of_no_books_leaves_the_key_alone(self, catalogue: Catalogue, actor: UUID, query: Query) -> None:
        assert await catalogue.add_once([], actor, KEY) == Added([], replayed=False)
        assert query(COUNTS) == [(0, 0, 0)]


class TestManyAtOnce:
    async def test_are_done_once_and_all_told_the_same(self, catalogue: Catalogue, actor: UUID, query: Query) -> None:
        answers = await asyncio.gather(*(catalogue.add_once([a_draft()] * 3, actor, KEY) for _ in range(100)))
        assert sum(not replayed for _, replayed in answers) == 1
        assert len({msgspec.json.encode(books) for books, _ in answers}) == 1
        assert query(COUNTS) == [(3, 3, 1)]

    async def test_the_second_waits_for_the_first(self, catalogue: Catalogue, actor: UUID, query: Query) -> None:
        query("BEGIN")
        query(
            "INSERT INTO idempotency_keys (user_id, key, fingerprint, book_ids) VALUES (%s, %s, 'x', '{1}')",
            (actor, KEY.name),
        )
        adding = asyncio.create_task(catalogue.add_once([a_draft()], actor, KEY))
        await until(lambda: query("SELECT 1 FROM pg_locks WHERE NOT granted"), "it waits for the first")
        query("ROLLBACK")
        assert not (await adding).replayed
        assert query(COUNTS) == [(1, 1, 1)]


class TestAConnectionThatIsLost:
    @pytest.fixture
    def cut(self, database: Database) -> Iterator[Callable[[], None]]:
        """Shuts every connection that is in use, as a network does that fails; the server does not notice."""
        in_use: dict[ConnectionPoolEntry, int] = {}

        def note(connection: Any, record: ConnectionPoolEntry, _: object) -> None:
            in_use[record] = connection.driver_connection.fileno()

        def forget(_: object, record: ConnectionPoolEntry) -> None:
            in_use.pop(record, None)

        def shut() -> None:
            while in_use:
                _, descriptor = in_use.popitem()
                with socket.socket(fileno=os.dup(descriptor)) as connection:
                    connection.shutdown(socket.SHUT_RDWR)

        event.listen(database.engine.sync_engine, "checkout", note)
        event.listen(database.engine.sync_engine, "checkin", forget)
        yield shut
        event.remove(database.engine.sync_engine, "checkout", note)
        event.remove(database.engine.sync_engine, "checkin", forget)

    async def test_is_made_up_for_by_the_key(
        self, catalogue: Catalogue, actor: UUID, query: Query, cut: Callable[[], None]
    ) -> None:
        """Either of two attempts is committed, as they go on at the same time; nobody hears of the first."""
        query("BEGIN")
        query("LOCK TABLE outbox")
        adding = asyncio.create_task(catalogue.add_once([a_draft()], actor, KEY))
        await until(lambda: query("SELECT 1 FROM pg_locks WHERE NOT granted"), "it waits for the outbox")
        cut()
        await until(lambda: query("SELECT 1 FROM pg_locks WHERE NOT granted OFFSET 1"), "so does the second attempt")
        query("COMMIT")
        books, _ = await adding
        assert [book.id for book in books] == [id_ for [id_] in query("SELECT id FROM books")]
        assert query(COUNTS) == [(1, 1, 1)]

    async def test_again_and_again_leaves_it_to_the_caller_to_repeat(
        self, catalogue: Catalogue, actor: UUID, query: Query, cut: Callable[[], None]
    ) -> None:
        query("BEGIN")
        query("LOCK TABLE outbox")
        adding = asyncio.create_task(catalogue.add_once([a_draft()], actor, KEY))
        while not adding.done():
            cut()
            await asyncio.sleep(0.02)
        with pytest.raises(SafeToRepeat):
            await adding
        query("COMMIT")
        await catalogue.add_once([a_draft()], actor, KEY)
        assert query(COUNTS) == [(1, 1, 1)]


class TestAKey:
    EXPIRE = "UPDATE idempotency_keys SET created_at = created_at - interval '24 hours'"

    async def test_that_has_expired_counts_for_nothing_though_it_is_still_there(
        self, catalogue: Catalogue, actor: UUID, query: Query
    ) -> None:
        await catalogue.add_once([a_draft("Emma")], actor, KEY)
        query(self.EXPIRE)
        answers = await asyncio.gather(*(catalogue.add_once([a_draft("Romola")], actor, KEY) for _ in range(30)))
        assert sum(not replayed for _, replayed in answers) == 1
        assert query(COUNTS) == [(2, 2, 1)]

    async def test_is_good_for_almost_a_day(self, catalogue: Catalogue, actor: UUID, query: Query) -> None:
        await catalogue.add_once([a_draft()], actor, KEY)
        query("UPDATE idempotency_keys SET created_at = created_at - interval '23 hours 59 minutes'")
        assert (await catalogue.add_once([a_draft()], actor, KEY)).replayed

    async def test_costs_one_statement_more_only_when_it_is_known(
        self, database: Database, catalogue: Catalogue, actor: UUID, statements_of: StatementsOf
    ) -> None:
        for expected in (1, 2):
            with statements_of(database) as statements:
                await catalogue.add_once([a_draft()], actor, KEY)
            assert len([statement for statement in statements if "idempotency_keys" in statement]) == expected


class TestTheSweep:
    FILL = """
        INSERT INTO idempotency_keys (user_id, key, fingerprint, book_ids, created_at)
        SELECT gen_random_uuid(), 'k', 'f', '{1}', now() - age * interval '1 hour' FROM generate_series(1, %s) AS age
    """

    async def test_takes_what_has_expired_and_nothing_else(self, database: Database, query: Query) -> None:
        query(self.FILL, (30,))
        assert await IdempotencyKeys(database).sweep() == 7
        assert query("SELECT count(*) FROM idempotency_keys") == [(23,)]

    async def test_goes_on_until_nothing_is_left_though_several_sweep_at_once(
        self, database: Database, query: Query
    ) -> None:
        query(self.FILL, (3_023,))
        keys = IdempotencyKeys(database)
        swept = await asyncio.gather(keys.sweep(), keys.sweep(), keys.sweep())
        assert sum(swept) == 3_000
        assert query("SELECT count(*) FROM idempotency_keys") == [(23,)]

    async def test_comes_by_itself_and_outlives_a_failure(self, database: Database, query: Query) -> None:
        query("ALTER TABLE idempotency_keys RENAME TO away")
        async with IdempotencyKeys(database).kept_swept(pause=0.01):
            with capture_logs() as logs:
                await until(lambda: logs, "a sweep has failed")
            query("ALTER TABLE away RENAME TO idempotency_keys")
            query(self.FILL, (30,))
            await until(lambda: query("SELECT count(*) FROM idempotency_keys") == [(23,)], "what has expired is swept")
