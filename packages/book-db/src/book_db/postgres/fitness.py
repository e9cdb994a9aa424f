"""Checks at the start of a process whether its database can work for it.

docs/decisions/0042 says what is checked, and what is certain.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Final

import psycopg
import structlog
from book_runtime import process
from book_runtime.tasks import end

from book_db.errors import DatabaseUnavailable, NotCommitted, UnfitDatabase
from book_db.postgres.connector import Connector, is_behind_a_pooler
from book_db.postgres.failures import translate_errors
from book_db.postgres.grants import rights_of

_log = structlog.get_logger(__name__)

_FIRST_ANSWER_SECONDS: Final = 2.0
"""A start waits so long for a database, which may be away."""

_RETRY_SECONDS: Final = 1.0
"""While the database is away."""

_SECOND_CONNECTIONS: Final = 4
"""Behind one port there may be several poolers, and the first of these may be given to another one."""

_ROUNDS: Final = 3
"""Others may take the sessions in between."""

_TRANSACTION_POOLING: Final = (
    "a pooler in front of it gives each transaction another session (pool_mode = transaction or statement), and then"
    " locks and notifications are lost: let it keep sessions (pool_mode = session), or go past it"
)

# Columns and tables of a schema that is not there yet are passed over.
_MISSING: Final = """
    SELECT privilege || ' on ' || coalesce(table_name || ' (' || column_name || ')', table_name)
    FROM unnest(CAST(%(tables)s AS text[]), CAST(%(columns)s AS text[]), CAST(%(privileges)s AS text[]))
        WITH ORDINALITY AS needed (table_name, column_name, privilege, place)
    LEFT JOIN pg_attribute ON attrelid = to_regclass(table_name) AND attname = column_name AND NOT attisdropped
    WHERE to_regclass(table_name) IS NOT NULL AND NOT CASE
        WHEN column_name IS NULL THEN has_table_privilege(to_regclass(table_name), privilege)
        WHEN attnum IS NULL THEN true
        ELSE has_column_privilege(to_regclass(table_name), attnum, privilege)
    END
    ORDER BY place LIMIT 1
"""


async def check(url: str, *, services: Collection[str] = ()) -> None:
    """Whether the database does for what the services do there, those of `grants.PRIVILEGES`.

    Raises UnfitDatabase, and DatabaseUnavailable when it cannot be asked.
    """
    connector = Connector(url, "colophon-check", statement_timeout=10)
    with translate_errors(on_lost=NotCommitted):
        async with await connector.connect(psycopg.AsyncConnection, autocommit=True) as connection:
            if is_behind_a_pooler(connection, await _backend_of(connection)):
                await _refuse_a_pooler_of_transactions(connector, connection)
            await _refuse_missing_rights(connection, services)


def check_now(url: str) -> None:
    """As ``check``, for what does not wait in an event loop. It may be called from within one: hence the thread."""
    with ThreadPoolExecutor(1) as beside:
        beside.submit(process.run, check(url)).result()


@asynccontextmanager
async def checked(url: str, *, services: Collection[str] = ()) -> AsyncIterator[None]:
    """Runs the block, unless the database is unfit; cancels it when that is found out later, because the database was
    away at first.

    Raises UnfitDatabase.
    """
    asked = asyncio.Event()
    checking = asyncio.create_task(_check_until_it_can_be_asked(url, services, asked))
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_ANSWER_SECONDS):
                await asked.wait()
        if checking.done():
            checking.result()
            yield
        else:
            async with _cancelled_by(checking):
                yield
    finally:
        if not checking.done():
            await end(checking)


async def _check_until_it_can_be_asked(url: str, services: Collection[str], asked: asyncio.Event) -> None:
    while True:
        try:
            return await check(url, services=services)
        except UnfitDatabase:
            raise
        except DatabaseUnavailable as error:
            if not asked.is_set():
                _log.warning("waiting for the database", cause=error.reason)
        finally:
            asked.set()
        await asyncio.sleep(_RETRY_SECONDS)


@asynccontextmanager
async def _cancelled_by(checking: asyncio.Task[None]) -> AsyncIterator[None]:
    """The block, which ends with the UnfitDatabase that the task may come to."""
    block = asyncio.current_task()
    assert block is not None

    def cancel(checked: asyncio.Task[None]) -> None:
        if not checked.cancelled() and checked.exception():
            block.cancel()

    checking.add_done_callback(cancel)
    try:
        yield
    except asyncio.CancelledError:
        unfit = checking.exception() if checking.done() and not checking.cancelled() else None
        # Somebody else may have cancelled it as well.
        if unfit is not None and block.uncancel() == 0:
            raise unfit from None
        raise
    finally:
        checking.remove_done_callback(cancel)


async def _refuse_a_pooler_of_transactions(connector: Connector, one: psycopg.AsyncConnection) -> None:
    """Raises UnfitDatabase when two connections that are open at once are ever answered by the same process, or one of
    them by two: so it is where transactions are pooled, and never where sessions are.
    """
    for _ in range(_SECOND_CONNECTIONS):
        async with await connector.connect(psycopg.AsyncConnection, autocommit=True) as other:
            of_one, of_other = set[int](), set[int]()
            # In this order: of two sessions in turn, each connection would be given the same one every time.
            for each, backends in ((one, of_one), (other, of_other), (other, of_other), (one, of_one)) * _ROUNDS:
                backends.add(await _backend_of(each))
            if of_one & of_other or max(len(of_one), len(of_other)) > 1:
                raise UnfitDatabase(_TRANSACTION_POOLING)


async def _backend_of(connection: psycopg.AsyncConnection) -> int:
    # A statement that was prepared would be known to one session alone.
    cursor = await connection.execute("SELECT pg_backend_pid()", prepare=False)
    [backend] = await cursor.fetchone() or ()
    return int(backend)


async def _refuse_missing_rights(connection: psycopg.AsyncConnection, services: Collection[str]) -> None:
    tables, columns, privileges = _transposed(services)
    needed = {"tables": tables, "columns": columns, "privileges": privileges}
    cursor = await connection.execute(_MISSING, needed)
    if missing := await cursor.fetchone():
        raise UnfitDatabase(
            f"the role {connection.info.user} lacks {missing[0]}: `rest-api setup` gives services their rights, to the"
            " roles in REST_ROLE, RELAY_ROLE and GRPC_ROLE"
        )


def _transposed(services: Collection[str]) -> Iterator[list[str | None]]:
    rights = [right for service in services for right in rights_of(service)]
    return ([right[place] for right in rights] for place in range(3))
