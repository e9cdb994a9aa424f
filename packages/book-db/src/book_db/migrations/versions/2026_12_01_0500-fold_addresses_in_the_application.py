"""Fold addresses in the application.

Revision: 0009, after 0008
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0009"
down_revision: str | Sequence[str] | None = "0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# The release before writes addresses and knows nothing of the column. One that is written with another folding than
# before was written by who knows of it.
_FOLD = """
    CREATE FUNCTION fold_email() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'INSERT' THEN
            NEW.email_folded := coalesce(NEW.email_folded, lower(NEW.email));
        ELSIF NEW.email_folded = OLD.email_folded AND lower(NEW.email) <> lower(OLD.email) THEN
            NEW.email_folded := lower(NEW.email);
        END IF;
        RETURN NEW;
    END
    $$
"""


def upgrade() -> None:
    op.add_column("users", sa.Column("email_folded", sa.Text(), nullable=True))
    # What the unique index has told apart so far; the application folds it anew where it differs.
    op.execute("UPDATE users SET email_folded = lower(email)")
    op.alter_column("users", "email_folded", nullable=False)
    op.create_index("users_email_folded_key", "users", ["email_folded"], unique=True)
    op.drop_index("users_email_key", "users")
    op.create_index("users_email_idx", "users", [sa.text("lower(email)")])
    op.execute(_FOLD)
    op.execute(
        "CREATE TRIGGER users_fold_email BEFORE INSERT OR UPDATE OF email ON users"
        " FOR EACH ROW EXECUTE FUNCTION fold_email()"
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER users_fold_email ON users")
    op.execute("DROP FUNCTION fold_email()")
    op.drop_index("users_email_idx", "users")
    op.create_index("users_email_key", "users", [sa.text("lower(email)")], unique=True)
    op.drop_index("users_email_folded_key", "users")
    op.drop_column("users", "email_folded")
