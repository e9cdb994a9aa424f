"""Let a new address wait to be confirmed.

Revision: 0010, after 0009
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0010"
down_revision: str | Sequence[str] | None = "0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    # The release before puts a new address in force at once; one that waits then belongs to an address that is gone,
    # and what confirms it is decided on both.
    op.add_column("users", sa.Column("new_email", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("users", "new_email")
