"""The stores, opened and closed together as a process does it, and the settings they are opened with."""

import asyncio
from uuid import UUID

import pytest
from book_db.book import BookPatch
from book_db.errors import BookNotFound
from book_db.settings import StoreSettings
from book_db.store import open_store
from book_runtime.settings import SettingsError, load
from book_runtime.tokens import TokenVerifier
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from redis.asyncio import Redis
from support.data_layer import Query, a_draft
from support.waiting import until


@pytest.fixture
def verifier() -> TokenVerifier:
    key = Ed25519PrivateKey.generate().public_key()
    return TokenVerifier(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


class TestOpenStore:
    async def test_writes_and_reads_with_a_cache(
        self, database_url: str, redis_url: str, verifier: TokenVerifier, actor: UUID
    ) -> None:
        settings = load(StoreSettings, database_url=database_url, redis_url=redis_url)
        async with Redis.from_url(redis_url) as client, open_store(settings, verifier, name="a-test") as store:
            book = await store.catalogue.add(a_draft(), actor)

            async def is_cached() -> bool:
                assert await store.catalogue.get(book.id) == book
                return bool(await client.exists(f"colophon:book:{book.id}"))

            await until(is_cached, "what was read is in Redis")

    async def test_closes_when_the_last_write_is_done(
        self, database_url: str, verifier: TokenVerifier, actor: UUID, query: Query
    ) -> None:
        """A caller gave up, and the process is told to stop."""
        settings = load(StoreSettings, database_url=database_url)
        async with open_store(settings, verifier, name="a-test") as store:
            book = await store.catalogue.add(a_draft(), actor)
            query("BEGIN")
            query("SELECT * FROM books FOR UPDATE")
            change = asyncio.create_task(store.catalogue.change(book.id, BookPatch.only(title="Emma"), actor))
            await until(lambda: query("SELECT 1 FROM pg_locks WHERE NOT granted"), "it waits for its lock")
            change.cancel()
            asyncio.get_running_loop().call_later(0.1, query, "COMMIT")
        assert query("SELECT title FROM books") == [("Emma",)]

    async def test_leaves_no_connection_and_no_task(
        self, database_url: str, redis_url: str, verifier: TokenVerifier, query: Query
    ) -> None:
        before = asyncio.all_tasks()
        settings = load(StoreSettings, database_url=database_url, redis_url=redis_url)
        async with open_store(settings, verifier, name="a-test") as store:
            with pytest.raises(BookNotFound):
                await store.catalogue.get(1)
        assert asyncio.all_tasks() == before
        others = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        await until(lambda: not query(others), "every connection is closed")


class TestSettings:
    @pytest.fixture(autouse=True)
    def _clean(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for variable in ("DATABASE_URL", "REDIS_URL", "DATABASE_POOL_SIZE", "CACHE_SECONDS"):
            monkeypatch.delenv(variable, raising=False)

    def test_without_more_than_a_database_there_is_no_cache(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DATABASE_URL", "postgresql://localhost/books")
        settings = load(StoreSettings)
        assert (settings.redis_url, settings.database_pool_size, settings.cache_seconds) == (None, 10, 300)

    def test_that_are_wrong_are_all_told_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for variable, value in {"REDIS_URL": "localhost", "DATABASE_POOL_SIZE": "0", "CACHE_SECONDS": "9"}.items():
            monkeypatch.setenv(variable, value)
        with pytest.raises(SettingsError) as told:
            load(StoreSettings)
        assert {problem.variable for problem in told.value.problems} == {
            "DATABASE_URL",
            "REDIS_URL",
            "DATABASE_POOL_SIZE",
            "CACHE_SECONDS",
        }
