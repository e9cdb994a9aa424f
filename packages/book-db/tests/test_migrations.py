"""The schema's history: up and down through each migration, with rows in the tables, by several at once."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from alembic.script import ScriptDirectory
from book_db import migrations
from book_db.book import Draft
from book_db.books.cache import NoCache
from book_db.books.catalogue import Catalogue
from book_db.events.outbox import OutboxNotifier
from book_db.migrations import _config, engine_of
from book_db.postgres.database import Database
from book_db.tables import Base
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from support.postgresql import PostgreSQLServer
from support.waiting import PATIENCE

REVISIONS = [script.revision for script in ScriptDirectory.from_config(_config("postgresql://")).walk_revisions()][::-1]

# Everything a schema is made of, in words that do not depend on the order in which it was made.
STRUCTURE = """
    SELECT table_name, column_name, data_type, is_nullable, column_default, identity_generation
    FROM information_schema.columns WHERE table_schema = 'public'
    UNION ALL
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), NULL, NULL, NULL
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL
    SELECT tablename, indexname, indexdef, NULL, NULL, NULL FROM pg_indexes WHERE schemaname = 'public'
    ORDER BY 1, 2, 3
"""

# Of which the models know nothing.
FUNCTIONS = r"""
    SELECT proname, regexp_replace(prosrc, '\s+', ' ', 'g') FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    ORDER BY 1
"""

A_ROW_OF_EACH = {
    "0001": """
        INSERT INTO books (title, author, publication_date) VALUES ('Emma', 'Jane Austen', '1815-12-23');
        INSERT INTO outbox (
            kind, actor, occurred_at, book_id, title, author, publication_date, version, created_at, updated_at
        )
        SELECT
            'created', gen_random_uuid(), created_at, id, title, author, publication_date, version,
            created_at, updated_at
        FROM books;
        INSERT INTO event_log (event_id, kind, actor, occurred_at, book_id, version, title, author, publication_date)
        SELECT event_id, kind, actor, occurred_at, book_id, version, title, author, publication_date FROM outbox
    """,
    "0002": """
        INSERT INTO users (id, email, hashed_password) VALUES (gen_random_uuid(), 'ada@example.org', 'x');
        INSERT INTO sessions (id, user_id, expires_at) SELECT gen_random_uuid(), id, now() FROM users
    """,
    "0003": "",
    "0004": """
        INSERT INTO idempotency_keys (user_id, key, fingerprint, book_ids) VALUES (gen_random_uuid(), 'k', 'f', '{1}')
    """,
    "0005": """
        INSERT INTO refresh_tokens (hash, session_id) SELECT 'h', id FROM sessions;
        INSERT INTO api_tokens (id, user_id, name, hash, scopes, expires_at)
        SELECT gen_random_uuid(), id, 'backup', 'h', '{books:read}', now() FROM users
    """,
    "0006": """
        INSERT INTO oauth_accounts (id, user_id, provider, account_id, account_email)
        SELECT gen_random_uuid(), id, 'github', '1', email FROM users
    """,
    "0007": """
        INSERT INTO parked_events (
            event_id, reason, kind, actor, occurred_at, book_id, title, author, publication_date, version,
            created_at, updated_at
        )
        SELECT
            event_id, 'too long', kind, actor, occurred_at, book_id, title, author, publication_date, version,
            created_at, updated_at
        FROM outbox
    """,
    "0008": "",
    "0009": "",
    "0010": "",
    "0011": "",
    "0012": "INSERT INTO account_events (kind, outcome) VALUES ('signed-in', 'done')",
    "0013": "INSERT INTO event_log_sweeps VALUES (1)",
    "0014": "",
    "0015": "",
}
"""For each revision, a row in every table that it made."""

MADE_BY_THE_CLIMB = {"title_words", "author_words", "words_version"}
"""Columns that are filled in where a release before has left them empty."""


def rows_of(url: str, statement: str) -> list[tuple[Any, ...]]:
    engine = engine_of(url)
    try:
        with engine.begin() as connection:
            result = connection.execute(text(statement))
            return [tuple(row) for row in result] if result.returns_rows else []
    finally:
        engine.dispose()


def structure_of(url: str) -> list[tuple[object, ...]]:
    return [row for row in rows_of(url, STRUCTURE) if row[0] != "alembic_version"]


def everything_in(url: str) -> list[tuple[object, ...]]:
    return structure_of(url) + rows_of(url, FUNCTIONS)


def contents_of(url: str) -> dict[str, list[tuple[Any, ...]]]:
    tables = rows_of(
        url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
    )
    return {str(table): rows_of(url, f"SELECT to_jsonb(t) FROM {table} t") for [table] in tables}  # noqa: S608 - names of our tables


class TestUpAndDown:
    def test_each_migration_climbs_and_leaves_no_trace_when_it_is_taken_back(self, empty_database_url: str) -> None:
        structure = everything_in(empty_database_url)
        for before, revision in zip(["base", *REVISIONS], REVISIONS, strict=False):
            migrations.upgrade(empty_database_url, revision)
            climbed = everything_in(empty_database_url)
            assert climbed != structure
            migrations.downgrade(empty_database_url, before)
            assert everything_in(empty_database_url) == structure
            migrations.upgrade(empty_database_url, revision)
            assert everything_in(empty_database_url) == climbed
            structure = climbed

    def test_all_the_way_down_nothing_is_left(self, empty_database_url: str) -> None:
        migrations.upgrade(empty_database_url)
        migrations.downgrade(empty_database_url, "base")
        assert structure_of(empty_database_url) == []

    def test_up_again_when_there_already_changes_nothing(self, database_url: str) -> None:
        structure = structure_of(database_url)
        migrations.upgrade(database_url)
        assert structure_of(database_url) == structure

    def test_there_is_one_line_of_history(self) -> None:
        assert len(ScriptDirectory.from_config(_config("postgresql://")).get_heads()) == 1


class TestRows:
    def test_every_revision_has_rows_to_be_tried_with(self) -> None:
        """Whoever adds a migration says here what a database of that revision may hold."""
        assert list(A_ROW_OF_EACH) == REVISIONS

    @pytest.mark.parametrize("revision", REVISIONS)
    def test_that_were_there_before_a_climb_are_there_after_it(self, empty_database_url: str, revision: str) -> None:
        migrations.upgrade(empty_database_url, revision)
        for each in REVISIONS[: REVISIONS.index(revision) + 1]:
            if A_ROW_OF_EACH[each]:
                rows_of(empty_database_url, A_ROW_OF_EACH[each])
        before = contents_of(empty_database_url)
        assert all(len(rows) == 1 for rows in before.values())
        migrations.upgrade(empty_database_url)
        after = contents_of(empty_database_url)
        for table, [[row]] in before.items():
            [[row_now]] = after[table]
            for column in row.keys() - MADE_BY_THE_CLIMB:
                assert row_now[column] == row[column], (table, column)

    async def test_that_were_there_before_a_climb_can_be_read_and_changed_after_it(
        self, empty_database_url: str, actor: UUID
    ) -> None:
        migrations.upgrade(empty_database_url, "0001")
        rows_of(empty_database_url, A_ROW_OF_EACH["0001"])
        migrations.upgrade(empty_database_url)
        database = Database.open(empty_database_url)
        notifier = OutboxNotifier(database)
        catalogue = Catalogue(database, NoCache(), notifier)
        [book] = (await catalogue.page()).books
        draft = Draft("Persuasion", book.author, book.publication_date)
        assert (await catalogue.replace(book.id, draft, actor)).version == 2
        await notifier.close()
        await database.close()


class TestAddresses:
    """Those that the release before writes, which knows nothing of what they are looked for by."""

    ANN = "INSERT INTO users (id, email, hashed_password) VALUES (gen_random_uuid(), 'Ann@example.org', 'x')"
    FOLDED = "SELECT email_folded FROM users"

    def test_are_folded_when_they_were_there_before(self, empty_database_url: str) -> None:
        migrations.upgrade(empty_database_url, "0008")
        rows_of(empty_database_url, self.ANN.replace("Ann", "İnes"))
        migrations.upgrade(empty_database_url)
        assert rows_of(empty_database_url, self.FOLDED) == [("i\u0307nes@example.org",)]

    def test_are_folded_when_they_are_added_and_changed(self, database_url: str) -> None:
        rows_of(database_url, self.ANN)
        assert rows_of(database_url, self.FOLDED) == [("ann@example.org",)]
        for email in ("ANN@example.org", "Bea@example.org"):
            rows_of(database_url, f"UPDATE users SET email = '{email}'")  # noqa: S608 - of constants
            assert rows_of(database_url, self.FOLDED) == [(email.lower(),)]

    def test_are_folded_alike_where_the_small_letters_are_turkish(self, database_url: str) -> None:
        """By a function in place of PostgreSQL's, for which a Turkish locale would have to be on this machine."""
        turkish = """
            CREATE SCHEMA turkish;
            CREATE FUNCTION turkish.lower(text) RETURNS text LANGUAGE sql IMMUTABLE
            AS $$ SELECT pg_catalog.lower(translate($1, 'Iİ', 'ıi')) $$;
            SET search_path = turkish, pg_catalog, public;
        """
        rows_of(database_url, turkish + self.ANN.replace("Ann", "info"))
        for email in ("INFO@example.org", "Bilgi@example.org", "BILGI@EXAMPLE.ORG"):
            in_turkish = "SET search_path = turkish, pg_catalog, public;"
            rows_of(database_url, f"{in_turkish} UPDATE users SET email = '{email}'")  # noqa: S608 - of constants
            assert rows_of(database_url, self.FOLDED) == [(email.lower(),)]

    def test_belong_to_one_user_whoever_writes_them(self, database_url: str) -> None:
        rows_of(database_url, self.ANN)
        with pytest.raises(IntegrityError, match="users_email_folded_key"):
            rows_of(database_url, self.ANN.replace("Ann", "aNN"))

    def test_are_folded_as_the_application_does_it_at_the_next_climb(self, database_url: str) -> None:
        rows_of(database_url, self.ANN.replace("Ann", "İnes"))
        migrations.upgrade(database_url)
        assert rows_of(database_url, self.FOLDED) == [("i\u0307nes@example.org",)]

    def test_stay_as_they_are_where_another_user_has_the_same_then(
        self, database_url: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """To PostgreSQL the last letters differ, to Unicode they are one."""
        for name in ("ΝΙΚΟΣ", "νικος"):
            rows_of(database_url, self.ANN.replace("Ann", name))
        before = rows_of(database_url, self.FOLDED)
        assert len({*before}) == 2
        migrations.upgrade(database_url)
        assert rows_of(database_url, self.FOLDED) == before
        assert "an address is that of another user" in capsys.readouterr().out


class TestDrift:
    def test_models_and_migrations_say_the_same(self, database_url: str) -> None:
        migrations.check(database_url)

    def test_to_the_last_constraint(self, database_url: str, empty_database_url: str) -> None:
        """Alembic's own check does not look at CHECK constraints, identities and names."""
        engine = engine_of(empty_database_url)
        Base.metadata.create_all(engine)
        engine.dispose()
        assert structure_of(database_url) == structure_of(empty_database_url)


class TestSeveralAtOnce:
    def test_one_climbs_and_the_others_find_nothing_left_to_do(
        self, empty_database_url: str, migrated_template: str, postgresql: PostgreSQLServer
    ) -> None:
        command = [sys.executable, "-m", "book_db.cli", "upgrade"]
        environment = {**os.environ, "DATABASE_URL": empty_database_url}

        def climb(_: int) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
            )

        with ThreadPoolExecutor(3) as climbers:
            climbed = list(climbers.map(climb, range(3)))
        assert [each.returncode for each in climbed] == [0, 0, 0], [each.stderr for each in climbed]
        assert structure_of(empty_database_url) == structure_of(postgresql.url_of(migrated_template))
