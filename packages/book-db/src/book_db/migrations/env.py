"""What Alembic runs for each command: one connection, one transaction, one migration at a time."""

from alembic import context
from sqlalchemy import text

from book_db.tables import Base

# Two that start at once: the second waits here, then finds nothing left to do. The number only has to be ours.
_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(7214508361)")

# Whoever waits for a table lock holds up all who come after, readers too: better to give up, and try again.
_NOT_FOR_LONG = text("SET LOCAL lock_timeout = '5s'")


def run() -> None:
    engine = context.config.attributes["engine"]()
    with engine.connect() as connection:
        context.configure(connection=connection, target_metadata=Base.metadata, compare_server_default=True)
        with context.begin_transaction():
            connection.execute(_ONE_AT_A_TIME)
            connection.execute(_NOT_FOR_LONG)
            context.run_migrations()
    engine.dispose()


run()
