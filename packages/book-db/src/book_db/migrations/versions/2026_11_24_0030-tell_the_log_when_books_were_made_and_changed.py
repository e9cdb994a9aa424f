"""Tell the log when books were made and changed, and find a book's events in their order.

Revision: 0008, after 0007
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0008"
down_revision: str | Sequence[str] | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    # The release before goes on recording without them; those who read do without them too.
    op.add_column("event_log", sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=True))
    op.add_column("event_log", sa.Column("updated_at", postgresql.TIMESTAMP(timezone=True), nullable=True))
    op.drop_index("event_log_book_id_version_idx", "event_log")
    op.create_index("event_log_book_id_position_idx", "event_log", ["book_id", "position"])


def downgrade() -> None:
    op.drop_index("event_log_book_id_position_idx", "event_log")
    op.create_index("event_log_book_id_version_idx", "event_log", ["book_id", "version"])
    op.drop_column("event_log", "updated_at")
    op.drop_column("event_log", "created_at")
