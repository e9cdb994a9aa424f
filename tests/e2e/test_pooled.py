"""The system as an operator runs it behind PgBouncer, which keeps sessions."""

import json
from collections.abc import Callable, Iterator

import httpx
import psycopg
import pytest
from support.people import Person
from support.pgbouncer import PgBouncer
from support.postgresql import PostgreSQLServer
from support.services import Colophon
from support.waiting import PATIENCE, until
from support.workspace import Workspace

A_BOOK = {"title": "Middlemarch", "author": "George Eliot", "publication_date": "1871-12-01"}


@pytest.fixture
def name(postgresql: PostgreSQLServer, migrated_template: str) -> Iterator[str]:
    """A database in Tokyo, which writes dates as nobody else does."""
    name = postgresql.create_database(template=migrated_template)
    with psycopg.connect(postgresql.url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} SET timezone = 'Asia/Tokyo'".encode())
        connection.execute(f"ALTER DATABASE {name} SET datestyle = 'SQL, DMY'".encode())
    yield name
    postgresql.drop_database(name)


async def test_behind_pgbouncer_it_does_what_it_does_without(
    workspace: Workspace, pgbouncer: Callable[..., PgBouncer], name: str
) -> None:
    url = pgbouncer(pool_mode="session", ignore_startup_parameters="options,extra_float_digits").url_of(name)
    with Colophon(workspace, {"DATABASE_URL": url, "NOTICE_SECONDS": "0"}) as colophon:
        async with httpx.AsyncClient(base_url=colophon.url, timeout=PATIENCE) as client:
            person = await Person.register(client)
            await person.sign_in()
            book = (await person.call("POST", "/books", json=A_BOOK)).json()
            assert book["created_at"].endswith("Z")
            assert (await person.call("GET", f"/books/{book['id']}")).json() == book
            exported = await person.call("GET", "/books/export", headers={"Accept": "application/x-ndjson"})
            assert json.loads(exported.text) == book
            await until(lambda: f"book.created  book {book['id']} v1" in colophon.output, "the event is told")
            assert (await person.call("POST", "/auth/logout")).status_code in (200, 204)
            assert (await person.call("GET", "/books")).status_code == 401
        assert "Traceback" not in colophon.output
        assert colophon.terminate() == 0
