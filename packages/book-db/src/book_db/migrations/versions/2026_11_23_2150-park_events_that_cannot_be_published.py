"""Park events that cannot be published.

Revision: 0007, after 0006
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0007"
down_revision: str | Sequence[str] | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "parked_events",
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("parked_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("actor", sa.Uuid(), nullable=False),
        sa.Column("occurred_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("traceparent", sa.Text(), nullable=True),
        sa.Column("book_id", sa.BigInteger(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("publication_date", sa.Date(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("updated_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("parked_events_pkey")),
    )
    op.create_index(op.f("parked_events_parked_at_idx"), "parked_events", ["parked_at"])


def downgrade() -> None:
    # Rather than forget them: the release before tries them again.
    op.execute(
        """
        INSERT INTO outbox (
            event_id, kind, actor, occurred_at, traceparent,
            book_id, title, author, publication_date, version, created_at, updated_at
        )
        SELECT
            event_id, kind, actor, occurred_at, traceparent,
            book_id, title, author, publication_date, version, created_at, updated_at
        FROM parked_events ORDER BY occurred_at, book_id, version
        """
    )
    op.drop_table("parked_events")
